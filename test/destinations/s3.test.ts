import { afterAll, describe, test } from 'vitest'
import { testDestination } from '../conformance/destination.ts'
import { startS3Server } from '../support/s3/server.ts'
import { s3Fixture } from './s3-setup.ts'

const own = await startS3Server()
afterAll(() => own.close())

testDestination({ name: 's3 at the tests’ own server', runner: { describe, test }, factory: () => s3Fixture(own) })
