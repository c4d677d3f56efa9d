/** Many backups in the tests' own S3 server, put there without requests. */
import { newUlid } from '../../../src/util/ulid.ts'
import type { S3Bucket } from './server.ts'
import { Bytes } from './server-state.ts'

/** Adds so many backups of three objects of one byte each under a prefix, which ends with a slash; resolves with their IDs. */
export function fillBucket(bucket: S3Bucket, prefix: string, count: number): string[] {
  const data = new Bytes([Buffer.from('x')])
  return Array.from({ length: count }, (_, index) => {
    const backupId = newUlid(1_600_000_000_000 + index)
    for (const name of ['manifest.json', 'payload', 'payload-ids']) {
      bucket.add({ key: `${prefix}${backupId}/${name}`, id: 'null', data, etag: '"x"', lastModified: new Date(), headers: {}, isDeleteMarker: false })
    }
    return backupId
  })
}
