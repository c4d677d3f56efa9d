/** S3 destinations at a server of any kind, and small backups in them; needs no test runner. */
import { s3Destination, type S3DestinationOptions } from '../../../destinations/s3/index.ts'
import { newUlid } from '../../../src/util/ulid.ts'
import type { Destination } from '../../../src/contracts/destination.ts'
import type { S3Access } from '../../support/s3/client.ts'

export const BUCKET = 'backups'
export const PREFIX = 'some/prefix/'
export const MANIFEST: Uint8Array = new TextEncoder().encode('{"manifestVersion":1}')
export const MIB: number = 1024 * 1024
/** The smallest that S3 allows. */
export const PART_BYTES: number = 5 * MIB

export function openAt({ endpoint, region, accessKeyId, secretAccessKey }: S3Access, options: Partial<S3DestinationOptions> = {}): Destination {
  return s3Destination({
    bucket: BUCKET,
    prefix: PREFIX,
    region,
    endpoint,
    credentials: { accessKeyId, secretAccessKey },
    partBytes: PART_BYTES,
    wait: async () => undefined,
    ...options,
  })
}

/** Publishes a backup of these bytes. */
export async function publish(destination: Destination, payload: Uint8Array = bytesOf(1000), backupId: string = newUlid()): Promise<string> {
  const upload = await destination.put(backupId)
  await upload.write('payload', payload)
  await upload.write('payload-ids', new TextEncoder().encode('a\nb\n'))
  await upload.publish(MANIFEST)
  return backupId
}

/** Bytes that are other ones at each place. */
export function bytesOf(length: number): Uint8Array {
  const bytes = Buffer.alloc(length)
  for (let offset = 0; offset + 4 <= length; offset += 4) bytes.writeUInt32LE((offset * 2_654_435_761) >>> 0, offset)
  return bytes
}
