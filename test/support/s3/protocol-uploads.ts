/** Multipart uploads. */
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  type CompleteMultipartUploadCommandInput,
  CreateMultipartUploadCommand,
  type CreateMultipartUploadCommandInput,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
  type UploadPartCommandInput,
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { createHash, randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import type { ProtocolContext } from './protocol-context.ts'
import { readObject } from './protocol-objects.ts'
import { checksumOf, compositeChecksum } from './server-checksums.ts'

const PART_BYTES = 5 * 1024 ** 2
const FIRST = randomBytes(PART_BYTES)
const LAST = Buffer.from('the end')

/** One upload by hand. */
class ManualUpload {
  readonly #context: ProtocolContext
  readonly key: string
  readonly id: string

  private constructor(context: ProtocolContext, key: string, id: string) {
    this.#context = context
    this.key = key
    this.id = id
  }

  static async start(context: ProtocolContext, key: string, input: Partial<CreateMultipartUploadCommandInput> = {}): Promise<ManualUpload> {
    const { UploadId = '' } = await context.client.send(new CreateMultipartUploadCommand({ Bucket: context.bucket, Key: key, ChecksumAlgorithm: 'CRC32', ...input }))
    return new ManualUpload(context, key, UploadId)
  }

  get #target(): { Bucket: string, Key: string, UploadId: string } {
    return { Bucket: this.#context.bucket, Key: this.key, UploadId: this.id }
  }

  async part(number: number, Body: Uint8Array, input: Partial<UploadPartCommandInput> = {}): Promise<CompletedPart> {
    const { ETag, ChecksumCRC32 } = await this.#context.client.send(new UploadPartCommand({ ...this.#target, PartNumber: number, Body, ...input }))
    return { PartNumber: number, ETag, ...(ChecksumCRC32 === undefined ? {} : { ChecksumCRC32 }) }
  }

  async complete(Parts: CompletedPart[], input: Partial<CompleteMultipartUploadCommandInput> = {}) {
    return await this.#context.client.send(new CompleteMultipartUploadCommand({ ...this.#target, MultipartUpload: { Parts }, ...input }))
  }

  async abort(): Promise<void> {
    await this.#context.client.send(new AbortMultipartUploadCommand(this.#target))
  }

  async parts(MaxParts?: number, PartNumberMarker?: string) {
    return await this.#context.client.send(new ListPartsCommand({ ...this.#target, MaxParts, PartNumberMarker }))
  }
}

export function testUploads(context: ProtocolContext): void {
  const { supports } = context

  describe('multipart uploads', () => {
    it('makes an object of its parts, whatever order they came in', async () => {
      const upload = await ManualUpload.start(context, 'multi/whole', { Metadata: { nonce: 'xyz' }, ContentType: 'text/plain' })
      const last = await upload.part(7, LAST)
      const first = await upload.part(2, FIRST)
      await expect(readObject(context, 'multi/whole')).rejects.toMatchObject({ name: 'NoSuchKey' })
      const { ETag } = await upload.complete([first, last])
      const md5 = (bytes: Uint8Array): Buffer => createHash('md5').update(bytes).digest()
      expect(ETag).toBe(`"${md5(Buffer.concat([md5(FIRST), md5(LAST)])).toString('hex')}-2"`)
      const head = await context.client.send(new HeadObjectCommand({ Bucket: context.bucket, Key: 'multi/whole' }))
      expect(head).toMatchObject({ ContentLength: PART_BYTES + LAST.byteLength, ContentType: 'text/plain', Metadata: { nonce: 'xyz' }, ETag })
      expect((await readObject(context, 'multi/whole')).equals(Buffer.concat([FIRST, LAST]))).toBe(true)
      expect((await readObject(context, 'multi/whole', { Range: `bytes=${PART_BYTES - 2}-${PART_BYTES + 2}` })).toString('hex')).toBe(
        Buffer.concat([FIRST.subarray(-2), LAST.subarray(0, 3)]).toString('hex'),
      )
    })

    it('takes the newest of parts with one number, and leaves out parts that are not listed', async () => {
      const upload = await ManualUpload.start(context, 'multi/chosen')
      await upload.part(1, Buffer.from('old'))
      const part = await upload.part(1, Buffer.from('new'))
      await upload.part(2, Buffer.from('left out'))
      await upload.complete([part])
      expect((await readObject(context, 'multi/chosen')).toString()).toBe('new')
    })

    it('refuses small parts before the last', async ({ skip }) => {
      skip(!supports.minimumPart)
      const upload = await ManualUpload.start(context, 'multi/small')
      const parts = [await upload.part(1, Buffer.from('small')), await upload.part(2, LAST)]
      await expect(upload.complete(parts)).rejects.toMatchObject({ name: 'EntityTooSmall', $metadata: { httpStatusCode: 400 } })
      await upload.abort()
    })

    it('refuses parts that it does not have', async () => {
      const upload = await ManualUpload.start(context, 'multi/absent')
      const part = await upload.part(1, FIRST)
      await expect(upload.complete([{ ...part, ETag: '"00000000000000000000000000000000"' }])).rejects.toMatchObject({ name: 'InvalidPart' })
      await expect(upload.complete([part, { ...part, PartNumber: 2 }])).rejects.toMatchObject({ name: 'InvalidPart' })
      await upload.abort()
    })

    it.skipIf(!supports.partOrder)('refuses parts in a wrong order', async () => {
      const upload = await ManualUpload.start(context, 'multi/order')
      const parts = [await upload.part(1, FIRST), await upload.part(2, FIRST)]
      await expect(upload.complete(parts.toReversed())).rejects.toMatchObject({ name: 'InvalidPartOrder' })
      await upload.abort()
    })

    it.skipIf(!supports.forgetsAborted)('knows no upload that was aborted', async () => {
      const upload = await ManualUpload.start(context, 'multi/aborted')
      const part = await upload.part(1, LAST)
      await upload.abort()
      const gone = { name: 'NoSuchUpload', $metadata: { httpStatusCode: 404 } }
      await expect(upload.part(2, LAST)).rejects.toMatchObject(gone)
      await expect(upload.complete([part])).rejects.toMatchObject(gone)
      await expect(upload.parts()).rejects.toMatchObject(gone)
      await expect(upload.abort()).rejects.toMatchObject(gone)
    })

    it(`answers a repeated completion with ${supports.repeatedCompletion}`, async () => {
      const upload = await ManualUpload.start(context, 'multi/repeated')
      const part = await upload.part(1, LAST)
      const { ETag } = await upload.complete([part])
      if (supports.repeatedCompletion === 'the same') await expect(upload.complete([part])).resolves.toMatchObject({ ETag })
      else await expect(upload.complete([part])).rejects.toMatchObject({ name: 'NoSuchUpload' })
      expect((await readObject(context, 'multi/repeated')).equals(LAST)).toBe(true)
    })

    it.skipIf(!supports.conditionalComplete)('completes on condition that there is no such object', async () => {
      const upload = await ManualUpload.start(context, 'multi/condition')
      const part = await upload.part(1, LAST)
      await context.client.send(new PutObjectCommand({ Bucket: context.bucket, Key: 'multi/condition', Body: 'first' }))
      await expect(upload.complete([part], { IfNoneMatch: '*' })).rejects.toMatchObject({ name: 'PreconditionFailed', $metadata: { httpStatusCode: 412 } })
      expect((await readObject(context, 'multi/condition')).toString()).toBe('first')
    })

    it('lists the parts it has', async () => {
      const upload = await ManualUpload.start(context, 'multi/parts')
      for (const number of [3, 1, 5]) await upload.part(number, Buffer.from(`part ${number}`))
      const { Parts = [], IsTruncated } = await upload.parts()
      expect([Parts.map(({ PartNumber, Size }) => [PartNumber, Size]), IsTruncated]).toEqual([[[1, 6], [3, 6], [5, 6]], false])
      if (supports.partPages) {
        const first = await upload.parts(2)
        expect([first.Parts?.map(({ PartNumber }) => PartNumber), first.IsTruncated]).toEqual([[1, 3], true])
        const second = await upload.parts(2, first.NextPartNumberMarker)
        expect([second.Parts?.map(({ PartNumber }) => PartNumber), second.IsTruncated]).toEqual([[5], false])
      }
      await upload.abort()
    })

    it('lists the uploads under a prefix, with their time, in pages', async () => {
      const keys = ['uploads/a', 'uploads/b', 'uploads/b', 'uploads/c/d', 'uploads/e']
      const uploads = await Promise.all(keys.map((key) => ManualUpload.start(context, key)))
      const other = await ManualUpload.start(context, 'elsewhere/a')
      for (const MaxUploads of supports.uploadPages ? [1, 2, 1000] : [1000]) {
        const listed = await listUploads(context, 'uploads/', MaxUploads)
        const listedKeys = listed.map(({ Key = '' }) => Key)
        expect(supports.uploadPages ? listedKeys : listedKeys.toSorted()).toEqual(keys)
        expect(new Set(listed.map(({ UploadId }) => UploadId))).toEqual(new Set(uploads.map(({ id }) => id)))
        if (supports.uploadTimes) expect(listed.every(({ Initiated }) => Math.abs(Date.now() - (Initiated?.getTime() ?? 0)) < 60_000)).toBe(true)
      }
      for (const upload of [...uploads, other]) await upload.abort()
      expect(await listUploads(context, 'uploads/', 1000)).toEqual([])
    })

    it('refuses a part that is not of its checksum', async ({ skip }) => {
      skip(!supports.verifiesChecksums)
      const upload = await ManualUpload.start(context, 'multi/sum')
      await expect(upload.part(1, LAST, { ChecksumCRC32: checksumOf('CRC32', [FIRST]) })).rejects.toMatchObject({ name: 'BadDigest' })
      await upload.abort()
    })

    it.skipIf(!supports.compositeChecksums)('gives the checksum of the checksums of the parts', async () => {
      const upload = await ManualUpload.start(context, 'multi/composite')
      const { ChecksumCRC32 } = await upload.complete([await upload.part(1, FIRST), await upload.part(2, LAST)])
      const expected = compositeChecksum('CRC32', [FIRST, LAST].map((part) => checksumOf('CRC32', [part]))).value
      expect(ChecksumCRC32).toBe(expected)
      const head = await context.client.send(new HeadObjectCommand({ Bucket: context.bucket, Key: 'multi/composite', ChecksumMode: 'ENABLED' }))
      expect(head.ChecksumCRC32).toBe(expected)
    })

    it('takes what the SDK uploads of a stream of unknown length', async () => {
      const body = randomBytes(2 * PART_BYTES + 1234)
      const params = { Bucket: context.bucket, Key: 'multi/stream', Body: Readable.from([body.subarray(0, 100), body.subarray(100)]) }
      await new Upload({ client: context.client, params, partSize: PART_BYTES, queueSize: 2 }).done()
      expect((await readObject(context, 'multi/stream')).equals(body)).toBe(true)
    })
  })
}

async function listUploads({ client, bucket }: ProtocolContext, Prefix: string, MaxUploads: number) {
  const uploads: { Key?: string | undefined, UploadId?: string | undefined, Initiated?: Date | undefined }[] = []
  let marker: { KeyMarker?: string | undefined, UploadIdMarker?: string | undefined } = {}
  for (;;) {
    const page = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix, MaxUploads, ...marker }))
    uploads.push(...(page.Uploads ?? []))
    expect(page.Uploads?.length ?? 0).toBeLessThanOrEqual(MaxUploads)
    if (page.IsTruncated !== true) return uploads
    marker = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker }
  }
}
