/** S3 destinations for tests: at the tests' own server, which may misbehave, or at a real one. */
import { AbortMultipartUploadCommand, CreateBucketCommand, DeleteBucketCommand, DeleteObjectCommand, DeleteObjectsCommand, ListMultipartUploadsCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3'
import { rejects } from 'node:assert/strict'
import { onTestFinished } from 'vitest'
import type { S3DestinationOptions } from '../../../destinations/s3/index.ts'
import type { Destination } from '../../../src/contracts/destination.ts'
import type { DestinationFixture } from '../../conformance/destination.ts'
import { type S3Access, s3Client } from '../../support/s3/client.ts'
import { type S3Bucket, type S3Server, type S3ServerOptions, startS3Server } from '../../support/s3/server.ts'
import { newUlid } from '../../../src/util/ulid.ts'
import { BUCKET, bytesOf, MANIFEST, openAt, PREFIX, publish } from './plain.ts'

export { BUCKET, bytesOf, MANIFEST, MIB, openAt, PART_BYTES, PREFIX, publish } from './plain.ts'

export interface OwnServer {
  readonly server: S3Server
  readonly bucket: S3Bucket
  /** A destination there whose waits take no time. */
  readonly open: (options?: Partial<S3DestinationOptions>) => Destination
  /** The keys under the prefix, without it. */
  readonly keys: () => string[]
  /** The operations that were asked for since the last call. */
  readonly operations: () => string[]
}

/** Starts the tests' own server for the running test. */
export async function ownServer(options: S3ServerOptions = {}): Promise<OwnServer> {
  const server = await startS3Server({ buckets: [BUCKET], ...options })
  onTestFinished(() => server.close())
  return ownServerOf(server)
}

export function ownServerOf(server: S3Server, bucketName: string = BUCKET): OwnServer {
  const bucket = server.buckets.get(bucketName) ?? server.createBucket(bucketName)
  let seen = 0
  return {
    server,
    bucket,
    open: (options) => openAt(server, { bucket: bucketName, ...options }),
    keys: () => bucket.list().map(({ key }) => (key.startsWith(PREFIX) ? key.slice(PREFIX.length) : `/${key}`)),
    operations() {
      const operations = server.requests.slice(seen).map(({ operation }) => operation)
      seen = server.requests.length
      return operations
    },
  }
}

/** Publishes while another upload of the same ID is open, which is refused then. Resolves with the ID of the backup, whose payload is given. */
export async function publishBeforeLate(payload: Uint8Array, { late, first = late }: { readonly late: Destination; readonly first?: Destination }): Promise<string> {
  const backupId = newUlid()
  const upload = await late.put(backupId)
  await upload.write('payload', bytesOf(99))
  await publish(first, payload, backupId)
  await rejects(upload.publish(MANIFEST), { code: 'duplicate_backup_id' })
  await upload.abort()
  return backupId
}

let buckets = 0

/** A bucket of its own for each test of the conformance suite, at any server. */
export async function s3Fixture(account: S3Access, options: Partial<S3DestinationOptions> = {}): Promise<DestinationFixture> {
  const client = s3Client(account)
  const bucket = `holdfast-${process.pid}-${Date.now()}-${buckets++}`
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  const open = (): Destination => openAt(account, { bucket, ...options })
  const keys = async (): Promise<string[]> => ((await client.send(new ListObjectsV2Command({ Bucket: bucket }))).Contents ?? []).map(({ Key = '' }) => Key)
  const uploads = async (): Promise<{ Key: string; UploadId: string }[]> =>
    ((await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads ?? []).map(({ Key = '', UploadId = '' }) => ({ Key, UploadId }))
  return {
    destination: open(),
    reopen: open,
    names: async () => [...(await keys()), ...(await uploads()).map(({ Key }) => `${Key}.tmp`)].map((key) => key.replace(PREFIX, '')).toSorted(),
    plant: async (name, content) => void (await client.send(new PutObjectCommand({ Bucket: bucket, Key: PREFIX + name, Body: content }))),
    damage: async (backupId, object, content) => {
      const target = { Bucket: bucket, Key: `${PREFIX}${backupId}/${object}` }
      await (content === undefined ? client.send(new DeleteObjectCommand(target)) : client.send(new PutObjectCommand({ ...target, Body: content })))
    },
    cleanup: async () => {
      for (const upload of await uploads()) await client.send(new AbortMultipartUploadCommand({ Bucket: bucket, ...upload }))
      const Objects = (await keys()).map((Key) => ({ Key }))
      if (Objects.length > 0) await client.send(new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects } }))
      await client.send(new DeleteBucketCommand({ Bucket: bucket }))
      client.destroy()
    },
  }
}
