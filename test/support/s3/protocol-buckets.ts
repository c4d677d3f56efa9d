/** Buckets and their settings. */
import {
  DeleteObjectCommand,
  GetBucketLifecycleConfigurationCommand,
  GetBucketLocationCommand,
  GetObjectCommand,
  GetObjectLockConfigurationCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutBucketLifecycleConfigurationCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3'
import { describe, expect, it } from 'vitest'
import type { ProtocolContext } from './protocol-context.ts'

const HOUR_MS = 60 * 60 * 1000

export function testBuckets(context: ProtocolContext): void {
  const { supports } = context
  const absent = 'holdfast-test-no-such-bucket'

  describe('buckets', () => {
    it('says that there is none of a name', async () => {
      await expect(context.client.send(new HeadBucketCommand({ Bucket: absent }))).rejects.toMatchObject({ $metadata: { httpStatusCode: 404 } })
      const gone = { name: 'NoSuchBucket', $metadata: { httpStatusCode: 404 } }
      await expect(context.client.send(new ListObjectsV2Command({ Bucket: absent }))).rejects.toMatchObject(gone)
      await expect(context.client.send(new PutObjectCommand({ Bucket: absent, Key: 'a', Body: 'b' }))).rejects.toMatchObject(gone)
      await expect(context.client.send(new GetObjectCommand({ Bucket: absent, Key: 'a' }))).rejects.toMatchObject(gone)
    })

    it('says where one is', async () => {
      const { LocationConstraint } = await context.client.send(new GetBucketLocationCommand({ Bucket: context.bucket }))
      expect(LocationConstraint ?? 'us-east-1').toBe(context.access.region)
    })

    it.skipIf(!supports.lifecycle)('keeps lifecycle rules', async () => {
      const Bucket = await context.makeBucket()
      const get = new GetBucketLifecycleConfigurationCommand({ Bucket })
      await expect(context.client.send(get)).rejects.toMatchObject({ name: 'NoSuchLifecycleConfiguration', $metadata: { httpStatusCode: 404 } })
      const rule = { ID: 'abort', Status: 'Enabled', Filter: { Prefix: '' }, AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 } } as const
      await context.client.send(new PutBucketLifecycleConfigurationCommand({ Bucket, LifecycleConfiguration: { Rules: [rule] } }))
      const { Rules = [] } = await context.client.send(get)
      expect(Rules).toHaveLength(1)
      expect(Rules[0]).toMatchObject({ ID: 'abort', Status: 'Enabled', AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 } })
    })
  })

  describe.skipIf(!supports.objectLock)('Object Lock', () => {
    const lock = (): { ObjectLockMode: 'GOVERNANCE', ObjectLockRetainUntilDate: Date } => ({
      ObjectLockMode: 'GOVERNANCE',
      ObjectLockRetainUntilDate: new Date(Math.ceil(Date.now() / 1000) * 1000 + HOUR_MS),
    })

    it('says whether a bucket has it', async () => {
      const without = context.client.send(new GetObjectLockConfigurationCommand({ Bucket: context.bucket }))
      await expect(without).rejects.toMatchObject({ name: 'ObjectLockConfigurationNotFoundError', $metadata: { httpStatusCode: 404 } })
      const Bucket = await context.makeBucket({ objectLock: true })
      const { ObjectLockConfiguration } = await context.client.send(new GetObjectLockConfigurationCommand({ Bucket }))
      expect(ObjectLockConfiguration?.ObjectLockEnabled).toBe('Enabled')
    })

    it('is refused by a bucket without it', async () => {
      const put = context.client.send(new PutObjectCommand({ Bucket: context.bucket, Key: 'locked', Body: 'a', ...lock() }))
      await expect(put).rejects.toMatchObject({ name: 'InvalidRequest', $metadata: { httpStatusCode: 400 } })
    })

    it('keeps a version that is retained, behind a delete marker too', async () => {
      const object = { Bucket: await context.makeBucket({ objectLock: true }), Key: 'locked' }
      const retained = lock()
      const { VersionId } = await context.client.send(new PutObjectCommand({ ...object, Body: 'kept', ...retained }))
      expect(VersionId).toMatch(/./)
      const head = await context.client.send(new HeadObjectCommand(object))
      expect([head.ObjectLockMode, head.ObjectLockRetainUntilDate?.getTime(), head.VersionId]).toEqual(['GOVERNANCE', retained.ObjectLockRetainUntilDate.getTime(), VersionId])
      await expect(context.client.send(new DeleteObjectCommand({ ...object, VersionId }))).rejects.toMatchObject({ name: 'AccessDenied', $metadata: { httpStatusCode: 403 } })
      const { DeleteMarker } = await context.client.send(new DeleteObjectCommand(object))
      expect(DeleteMarker).toBe(true)
      await expect(context.client.send(new GetObjectCommand(object))).rejects.toMatchObject({ name: 'NoSuchKey' })
      const { Body } = await context.client.send(new GetObjectCommand({ ...object, VersionId }))
      expect(await Body?.transformToString()).toBe('kept')
    })
  })
}
