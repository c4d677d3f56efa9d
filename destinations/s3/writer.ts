/** Uploads one object of unknown length: in parts, several at once, and created by one last request. */
import { crc32 } from 'node:zlib'
import { AbortMultipartUploadCommand, CompleteMultipartUploadCommand, type CompletedPart, CreateMultipartUploadCommand, UploadPartCommand } from '@aws-sdk/client-s3'
import { ChecksumMismatchError, DestinationNoSpaceError } from '../../src/errors/errors.ts'
import { MAX_PART_BYTES } from './config.ts'
import { S3AnswerError, s3CodeOf } from './errors.ts'
import { type Condition, crc32Base64, createOnce, createSmall, lockOf, metadataOf, removeOwn } from './objects.ts'
import type { S3Session } from './session.ts'

export interface S3WriterOptions {
  readonly key: string
  /** Names the upload in the metadata of the object. */
  readonly nonce: string
  readonly signal?: AbortSignal | undefined
}

/** The limit of S3. */
const MAX_PARTS = 10_000
/** Parts grow when more than this many have been written. */
const PARTS_OF_A_SIZE = 800
/** Bytes that each part counts for in the time limit of completing. */
const BYTES_FOR_A_PART = 1024
const MIB = 1024 * 1024

/** The size of the next part after `writtenBytes`. 10,000 parts are always more than the 5 TiB that an object may have. */
export function nextPartBytes(writtenBytes: number, partBytes: number): number {
  const grown = Math.ceil(writtenBytes / PARTS_OF_A_SIZE / MIB) * MIB
  return Math.max(partBytes, Math.min(MAX_PART_BYTES, grown))
}

export class S3ObjectWriter {
  readonly #session: S3Session
  readonly #options: S3WriterOptions
  /** Ends the parts under way when the caller's signal aborts, on the first failure, and in `abort`. */
  readonly #ending = new AbortController()
  readonly #onAbort = (): void => this.#ending.abort(this.#options.signal?.reason)
  readonly #inFlight = new Set<Promise<void>>()
  readonly #parts: CompletedPart[] = []
  /** Buffers to use again: freed memory returns to the system late. */
  readonly #free: Buffer[] = []
  #buffer: Buffer | undefined
  #filled = 0
  /** Bytes of the parts that were begun. */
  #sent = 0
  #uploadId: string | undefined
  #failure: { readonly reason: unknown } | undefined
  #mayExist = false

  constructor(session: S3Session, options: S3WriterOptions) {
    this.#session = session
    this.#options = options
    options.signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** Begins the multipart upload before the first write, which shows at once whether writing is allowed. */
  async begin(): Promise<void> {
    const { key, nonce } = this.#options
    const { bucket, objectLock } = this.#session.config
    this.#uploadId = await this.#session.send({ operation: 'write', key, signal: this.#ending.signal }, async (client, abortSignal) => {
      const { UploadId } = await client.send(
        new CreateMultipartUploadCommand({ Bucket: bucket, Key: key, ChecksumAlgorithm: 'CRC32', Metadata: metadataOf(nonce), ...lockOf(objectLock) }),
        { abortSignal },
      )
      if (UploadId === undefined || UploadId === '') throw new S3AnswerError('EBADANSWER', 'The answer does not name an upload')
      return UploadId
    })
  }

  /** Takes bytes. Waits while too many parts are under way. */
  async write(chunk: Uint8Array): Promise<void> {
    for (let offset = 0; offset < chunk.byteLength; ) {
      this.#throwFailure()
      const buffer = (this.#buffer ??= this.#free.pop() ?? Buffer.allocUnsafeSlow(nextPartBytes(this.#sent, this.#session.config.partBytes)))
      const taken = chunk.subarray(offset, offset + buffer.byteLength - this.#filled)
      buffer.set(taken, this.#filled)
      this.#filled += taken.byteLength
      offset += taken.byteLength
      if (this.#filled === buffer.byteLength) await this.#sendPart()
    }
  }

  /** Sends the last part and frees memory. Call it after the last write. An object whose upload was not begun stays in memory. */
  async flush(): Promise<void> {
    if (this.#uploadId === undefined) return
    if (this.#filled > 0 || this.#parts.length === 0) await this.#sendPart()
    await Promise.all(this.#inFlight)
    this.#free.length = 0
  }

  /** Creates the object. Rejects with `duplicate_backup_id` when another upload has created it. */
  async complete(): Promise<void> {
    const { key, nonce, signal } = this.#options
    this.#throwFailure()
    if (this.#uploadId === undefined) {
      this.#mayExist = true
      await createSmall(this.#session, (this.#buffer ?? Buffer.alloc(0)).subarray(0, this.#filled), { key, nonce, signal })
    } else {
      await this.flush()
      this.#throwFailure()
      this.#mayExist = true
      let stored: string | undefined
      await createOnce(this.#session, { key, nonce, signal, bytes: this.#sent }, async (condition) => {
        stored = await this.#completeParts(condition)
      })
      this.#checkStored(stored)
    }
    this.#release()
  }

  /** Removes what was uploaded. Idempotent. */
  async abort(): Promise<void> {
    const { key, nonce } = this.#options
    this.#ending.abort(new Error('The upload was ended'))
    await Promise.allSettled(this.#inFlight)
    this.#release()
    if (this.#uploadId !== undefined) await abortUpload(this.#session, { key, uploadId: this.#uploadId })
    this.#uploadId = undefined
    if (this.#mayExist) await removeOwn(this.#session, key, nonce)
    this.#mayExist = false
  }

  async #sendPart(): Promise<void> {
    if (this.#uploadId === undefined) await this.begin()
    const buffer = this.#buffer ?? Buffer.alloc(0)
    const content = buffer.subarray(0, this.#filled)
    const { partBytes, partsInFlight } = this.#session.config
    // Fewer parts at once when they have grown, so that memory does not grow; but at least one.
    const most = Math.max(1, Math.floor((partBytes * partsInFlight) / Math.max(partBytes, content.byteLength)))
    while (this.#inFlight.size >= most) await Promise.race(this.#inFlight)
    this.#throwFailure()
    const partNumber = this.#parts.length + 1
    if (partNumber > MAX_PARTS) throw new DestinationNoSpaceError(`Cannot write more to "${this.#options.key}": an object has at most ${MAX_PARTS} parts`)
    const part: CompletedPart = { PartNumber: partNumber, ChecksumCRC32: crc32Base64(crc32(content)) }
    this.#parts.push(part)
    this.#sent += content.byteLength
    this.#buffer = undefined
    this.#filled = 0
    const sending = this.#uploadPart(part, content).then(
      () => this.#recycle(buffer),
      (reason: unknown) => this.#fail(reason),
    )
    this.#inFlight.add(sending)
    void sending.finally(() => this.#inFlight.delete(sending))
  }

  async #uploadPart(part: CompletedPart, content: Buffer): Promise<void> {
    const { key } = this.#options
    const request = { operation: 'write', key, bodyBytes: content.byteLength, signal: this.#ending.signal } as const
    part.ETag = await this.#session.send(request, async (client, abortSignal) => {
      const { ETag, ChecksumCRC32 } = await client.send(
        new UploadPartCommand({
          Bucket: this.#session.config.bucket,
          Key: key,
          UploadId: this.#uploadId,
          PartNumber: part.PartNumber,
          Body: content,
          ContentLength: content.byteLength,
          ChecksumAlgorithm: 'CRC32',
          ChecksumCRC32: part.ChecksumCRC32,
        }),
        { abortSignal },
      )
      if (ETag === undefined) throw new S3AnswerError('EBADANSWER', 'The answer has no ETag')
      if (ChecksumCRC32 !== undefined && ChecksumCRC32 !== part.ChecksumCRC32) throw new S3AnswerError('EDAMAGED', 'The store computed another checksum')
      return ETag
    })
  }

  /** Completes the upload. Resolves with the store's checksum. */
  async #completeParts(condition: Condition): Promise<string | undefined> {
    const { key, signal } = this.#options
    const { bucket } = this.#session.config
    // A store needs time to put parts together.
    const request = { operation: 'write', key, signal, bodyBytes: this.#parts.length * BYTES_FOR_A_PART } as const
    return await this.#session.send(request, async (client, abortSignal) => {
      const { ETag, ChecksumCRC32 } = await client.send(
        new CompleteMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId: this.#uploadId, MultipartUpload: { Parts: this.#parts }, ...condition }),
        { abortSignal },
      )
      // An error may follow a status of 200; a cut off answer would not show it.
      if (ETag === undefined) throw new S3AnswerError('EBADANSWER', 'The answer has no ETag')
      return ChecksumCRC32
    })
  }

  #checkStored(stored: string | undefined): void {
    const expected = checksumOfParts(this.#parts)
    // Some stores answer with the checksum of the whole object, which has no "-".
    if (stored?.includes('-') === true && stored !== expected) {
      throw new ChecksumMismatchError(`Cannot write "s3://${this.#session.config.bucket}/${this.#options.key}": the store's checksum is not that of the parts sent`, { details: { expected, actual: stored } })
    }
  }

  #recycle(buffer: Buffer): void {
    // Drop buffers that are too small since parts have grown.
    if (buffer.byteLength >= nextPartBytes(this.#sent, this.#session.config.partBytes)) this.#free.push(buffer)
  }

  #fail(reason: unknown): void {
    this.#failure ??= { reason }
    this.#ending.abort(reason)
  }

  #throwFailure(): void {
    this.#options.signal?.throwIfAborted()
    if (this.#failure !== undefined) throw this.#failure.reason
  }

  #release(): void {
    this.#options.signal?.removeEventListener('abort', this.#onAbort)
    this.#free.length = 0
    this.#buffer = undefined
  }
}

/** Ends a multipart upload, if it still exists. */
export async function abortUpload(session: S3Session, { key, uploadId, signal }: { readonly key: string; readonly uploadId: string; readonly signal?: AbortSignal | undefined }): Promise<void> {
  try {
    await session.send({ operation: 'end the upload of', key, signal }, async (client, abortSignal) => {
      await client.send(new AbortMultipartUploadCommand({ Bucket: session.config.bucket, Key: key, UploadId: uploadId }), { abortSignal })
    })
  } catch (error) {
    if (s3CodeOf(error) !== 'NoSuchUpload') throw error
  }
}

/** S3's checksum of a multipart object: the CRC of the parts' CRCs, and the number of parts. */
function checksumOfParts(parts: readonly CompletedPart[]): string {
  return `${crc32Base64(crc32(Buffer.concat(parts.map(({ ChecksumCRC32 = '' }) => Buffer.from(ChecksumCRC32, 'base64')))))}-${parts.length}`
}
