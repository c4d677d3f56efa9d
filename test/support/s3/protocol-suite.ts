/**
 * What the tests rely on of S3, asked of a server with the AWS SDK. The tests' own server and every real one must pass it alike; where they
 * differ, `supports` says so.
 */
import {
  AbortMultipartUploadCommand,
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectsCommand,
  ListMultipartUploadsCommand,
  ListObjectVersionsCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { s3Client } from './client.ts'
import { testBuckets } from './protocol-buckets.ts'
import type { ProtocolContext } from './protocol-context.ts'
import { testLists } from './protocol-lists.ts'
import { testObjects } from './protocol-objects.ts'
import { testUploads } from './protocol-uploads.ts'
import { testSignatures } from './protocol-signatures.ts'
import type { AvailableS3, RunningS3 } from './servers.ts'

/** Defines the suite for one server; skipped where it cannot be had. */
export function testProtocol({ name, supports, missing, start }: AvailableS3): void {
  if (missing !== undefined) {
    it.skip(`S3 protocol, ${name}: ${missing}`, () => undefined)
    return
  }
  describe(`S3 protocol, ${name}`, () => {
    let running: RunningS3
    let client: S3Client
    let bucket: string
    const buckets: string[] = []
    const context: ProtocolContext = {
      supports,
      get access() {
        return running
      },
      get client() {
        return client
      },
      get bucket() {
        return bucket
      },
      async makeBucket({ objectLock } = {}) {
        const made = `holdfast-test-${randomBytes(6).toString('hex')}`
        await client.send(new CreateBucketCommand({ Bucket: made, ...(objectLock === true ? { ObjectLockEnabledForBucket: true } : {}) }))
        buckets.push(made)
        return made
      },
    }

    beforeAll(async () => {
      running = await start()
      client = s3Client(running)
      bucket = await context.makeBucket()
    })

    afterAll(async () => {
      for (const made of buckets) await removeBucket(client, made)
      client.destroy()
      await running.stop()
    })

    testSignatures(context)
    testObjects(context)
    testLists(context)
    testUploads(context)
    testBuckets(context)
  })
}

async function removeBucket(client: S3Client, bucket: string): Promise<void> {
  const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }))
  for (const { Key, UploadId } of Uploads) await client.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key, UploadId }))
  for (;;) {
    const { Versions = [], DeleteMarkers = [] } = await client.send(new ListObjectVersionsCommand({ Bucket: bucket }))
    const objects = [...Versions, ...DeleteMarkers].map(({ Key, VersionId }) => ({ Key, VersionId }))
    if (objects.length === 0) break
    await client.send(new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects: objects }, BypassGovernanceRetention: true }))
  }
  await client.send(new DeleteBucketCommand({ Bucket: bucket }))
}
