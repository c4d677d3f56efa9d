/** The tests' S3 server as a process of its own: says where it is in a line of JSON, and ends when its standard input does. */
import { pathToFileURL } from 'node:url'
import { type S3ServerOptions, startS3Server } from './server.ts'

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const server = await startS3Server(JSON.parse(process.argv[2] ?? '{}') as S3ServerOptions)
  const { endpoint, region, accessKeyId, secretAccessKey } = server
  console.log(JSON.stringify({ endpoint, region, accessKeyId, secretAccessKey }))
  process.stdin.resume().on('end', () => process.exit(0))
}
