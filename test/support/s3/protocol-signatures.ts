/** Which requests the server lets in, by their signatures. */
import { HeadBucketCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3'
import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { s3Client } from './client.ts'
import type { ProtocolContext } from './protocol-context.ts'

export function testSignatures(context: ProtocolContext): void {
  const { supports } = context
  const list = async (client: ReturnType<typeof s3Client>): Promise<unknown> => await client.send(new ListObjectsV2Command({ Bucket: context.bucket }))

  describe('signatures', () => {
    it('takes those of a key that it knows', async () => {
      await expect(context.client.send(new HeadBucketCommand({ Bucket: context.bucket }))).resolves.toMatchObject({ $metadata: { httpStatusCode: 200 } })
    })

    it('refuses those of a wrong secret', async () => {
      const client = s3Client({ ...context.access, secretAccessKey: 'wrong' })
      await expect(list(client)).rejects.toMatchObject({ name: 'SignatureDoesNotMatch', $metadata: { httpStatusCode: 403 } })
      await expect(client.send(new HeadBucketCommand({ Bucket: context.bucket }))).rejects.toMatchObject({ $metadata: { httpStatusCode: 403 } })
    })

    it.skipIf(!supports.unknownKeys)('refuses those of an unknown key', async () => {
      await expect(list(s3Client({ ...context.access, accessKeyId: 'UNKNOWNKEY0000000001' }))).rejects.toMatchObject({
        name: 'InvalidAccessKeyId',
        $metadata: { httpStatusCode: 403 },
      })
    })

    it.skipIf(!supports.clockSkew)('refuses those of another time', async () => {
      const client = s3Client(context.access, { systemClockOffset: -3_600_000 })
      await expect(list(client)).rejects.toMatchObject({ name: 'RequestTimeTooSkewed', $metadata: { httpStatusCode: 403 } })
    })

    it.skipIf(!supports.regions)('refuses those for another region', async () => {
      const client = s3Client({ ...context.access, region: 'eu-west-3' })
      await expect(list(client)).rejects.toMatchObject({ name: 'AuthorizationHeaderMalformed', $metadata: { httpStatusCode: 400 } })
    })

    it('refuses a stream that a wrong secret signed, and stores nothing', async () => {
      const client = s3Client({ ...context.access, secretAccessKey: 'wrong' })
      const put = new PutObjectCommand({ Bucket: context.bucket, Key: 'signed/stream', Body: Readable.from([Buffer.from('abc')]), ContentLength: 3 })
      await expect(client.send(put)).rejects.toMatchObject({ $metadata: { httpStatusCode: 403 } })
      const { KeyCount } = await context.client.send(new ListObjectsV2Command({ Bucket: context.bucket, Prefix: 'signed/' }))
      expect(KeyCount).toBe(0)
    })
  })
}
