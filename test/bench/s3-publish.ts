/** A backup of bytes from memory at the bench's S3 server. */
import { s3Destination } from '../../destinations/s3/index.ts'
import { newUlid } from '../../src/util/ulid.ts'
import type { Destination } from '../../src/contracts/destination.ts'
import type { S3Access } from '../support/s3/client.ts'
import { BENCH_BUCKET, BENCH_PREFIX } from './s3-server.ts'

/** As a server would use it: nothing but the defaults. */
export function benchDestination({ endpoint, region, accessKeyId, secretAccessKey }: S3Access): Destination {
  return s3Destination({ bucket: BENCH_BUCKET, prefix: BENCH_PREFIX, endpoint, region, credentials: { accessKeyId, secretAccessKey } })
}

/** Publishes a payload of the same chunk, so many times; resolves with the ID. */
export async function publishTo(destination: Destination, { chunk, times }: { readonly chunk: Uint8Array; readonly times: number }): Promise<string> {
  const backupId = newUlid()
  const upload = await destination.put(backupId)
  for (let time = 0; time < times; time++) await upload.write('payload', chunk)
  await upload.publish(new TextEncoder().encode('{}'))
  return backupId
}
