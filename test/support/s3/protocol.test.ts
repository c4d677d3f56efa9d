import { testProtocol } from './protocol-suite.ts'
import { s3Servers } from './servers.ts'

for (const server of s3Servers()) testProtocol(server)
