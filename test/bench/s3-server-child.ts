/**
 * The tests' own S3 server as a process of its own: prints how to reach it, then answers commands on standard input. `fill N` puts N backups
 * of three small objects each into the bucket, `count` prints how many requests there were since the last `count`, `empty` removes everything.
 */
import { createInterface } from 'node:readline'
import { fillBucket } from '../support/s3/fill-bucket.ts'
import { startS3Server } from '../support/s3/server.ts'
import { BENCH_BUCKET, BENCH_PREFIX } from './s3-server.ts'

const server = await startS3Server({ buckets: [BENCH_BUCKET] })
const { endpoint, region, accessKeyId, secretAccessKey } = server
console.log(JSON.stringify({ endpoint, region, accessKeyId, secretAccessKey }))

for await (const line of createInterface({ input: process.stdin })) {
  const [command, count = '0'] = line.split(' ')
  if (command === 'fill') fillBucket(server.createBucket(BENCH_BUCKET), `${BENCH_PREFIX}/`, Number(count))
  if (command === 'empty') server.createBucket(BENCH_BUCKET)
  console.log(command === 'count' ? server.requests.length : 'ok')
  if (command === 'count') server.requests.length = 0
}
await server.close()
