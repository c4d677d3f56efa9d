/** Uploads one object of unknown length: in parts, several at once, and created by one last request. */
import type { IncomingMessage } from 'node:http'
import { crc32 } from 'node:zlib'
import { AbortMultipartUploadCommand, CompleteMultipartUploadCommand, CreateMultipartUploadCommand, UploadPartCommand } from '@aws-sdk/client-s3'
import { ChecksumMismatchError, DestinationNoSpaceError } from '../../src/errors/errors.ts'
import { MAX_PART_BYTES } from './config.ts'
import { createOnce, createSmall, type S3Pieces, type S3PutOptions } from './create.ts'
import { isMissing, S3AnswerError, s3CodeOf, WRITTEN_HINT } from './errors.ts'
import { attributesOf, checksumOf, crc32Base64, lockOf, metadataOf, removeOwn } from './objects.ts'
import type { S3RequestOptions, S3Session } from './session.ts'

export interface S3WriterOptions {
  readonly key: string
  /** Names the upload in the metadata of the object. */
  readonly nonce: string
  readonly signal?: AbortSignal | undefined
}

type Part = S3Pieces[number] & { etag?: string }

/** The limit of S3. */
const MAX_PARTS = 10_000
/** Parts grow when more than this many have been written. */
const PARTS_OF_A_SIZE = 800
/** Bytes that each part counts for in the time limit of completing. */
const BYTES_FOR_A_PART = 1024
const MIB = 1024 * 1024

/** The size of all parts of an upload that may be twice as large as the largest stream so far. */
export function equalPartBytes(largestBytes: number, partBytes: number): number {
  return Math.max(partBytes, Math.min(MAX_PART_BYTES, Math.ceil((2 * largestBytes) / MAX_PARTS / MIB) * MIB))
}

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
  readonly #parts: Part[] = []
  /** Buffers to use again: freed memory returns to the system late. */
  readonly #free: Buffer[] = []
  #buffer: Buffer | undefined
  #filled = 0
  /** Bytes of the parts that were begun. */
  #sent = 0
  /** The size of all parts; 0 where they grow. Chosen with the first. */
  #equalBytes: number | undefined
  #upload: S3Begun | undefined
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
    this.#upload = await beginUpload(this.#session, { key, nonce, signal: this.#ending.signal, lock: lockOf(this.#session.config.objectLock) })
  }

  /** Takes bytes. Waits while too many parts are under way. */
  async write(chunk: Uint8Array): Promise<void> {
    for (let offset = 0; offset < chunk.byteLength; ) {
      this.#throwFailure()
      const buffer = (this.#buffer ??= this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#nextBytes()))
      const taken = chunk.subarray(offset, offset + buffer.byteLength - this.#filled)
      buffer.set(taken, this.#filled)
      this.#filled += taken.byteLength
      offset += taken.byteLength
      if (this.#filled === buffer.byteLength) await this.#sendPart()
    }
  }

  /** Sends the last part and frees memory. Call it after the last write. An object whose upload was not begun stays in memory. */
  async flush(): Promise<void> {
    if (this.#upload === undefined) return
    if (this.#filled > 0 || this.#parts.length === 0) await this.#sendPart()
    await Promise.all(this.#inFlight)
    this.#free.length = 0
  }

  /** Creates the object. Rejects with `duplicate_backup_id` when another upload has created it. */
  async complete(): Promise<void> {
    const { key, nonce, signal } = this.#options
    this.#throwFailure()
    if (this.#upload === undefined) {
      this.#mayExist = true
      await createSmall(this.#session, (this.#buffer ?? Buffer.alloc(0)).subarray(0, this.#filled), { key, nonce, signal })
    } else {
      await this.flush()
      this.#throwFailure()
      this.#mayExist = true
      let stored: string | undefined
      await createOnce(this.#session, { key, nonce, signal, pieces: this.#parts, condition: 'conditionalComplete' }, async (onUnanswered) => {
        const { etag, checksum } = await this.#completeParts(onUnanswered)
        stored = checksum
        return etag
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
    if (this.#upload !== undefined) await abortUpload(this.#session, { key, uploadId: this.#upload.uploadId })
    this.#upload = undefined
    if (this.#mayExist) await removeOwn(this.#session, key, nonce)
    this.#mayExist = false
  }

  async #sendPart(): Promise<void> {
    if (this.#upload === undefined) await this.begin()
    const buffer = this.#buffer ?? Buffer.alloc(0)
    const content = buffer.subarray(0, this.#filled)
    const { partBytes, partsInFlight } = this.#session.config
    // Fewer parts at once when they have grown, so that memory does not grow; but at least one.
    const most = Math.max(1, Math.floor((partBytes * partsInFlight) / Math.max(partBytes, content.byteLength)))
    while (this.#inFlight.size >= most) await Promise.race(this.#inFlight)
    this.#throwFailure()
    const partNumber = this.#parts.length + 1
    if (partNumber > MAX_PARTS) {
      const limit = `an object has at most ${MAX_PARTS} parts, here of ${buffer.byteLength} bytes`
      throw new DestinationNoSpaceError(`Cannot write more to "${this.#options.key}": ${limit}`, {
        hint: 'Make the parts larger (part-bytes=), or let them grow if the store allows it (equal-parts=false)',
      })
    }
    const part = { bytes: content.byteLength, crc32: crc32(content) }
    this.#parts.push(part)
    this.#sent += content.byteLength
    this.#buffer = undefined
    this.#filled = 0
    const sending = this.#uploadPart(partNumber, part, content).then(
      () => this.#recycle(buffer),
      (reason: unknown) => this.#fail(reason),
    )
    this.#inFlight.add(sending)
    void sending.finally(() => this.#inFlight.delete(sending))
  }

  async #uploadPart(partNumber: number, part: Part, content: Buffer): Promise<void> {
    const { key } = this.#options
    const request: S3RequestOptions = { operation: 'write', key, bodyBytes: content.byteLength, signal: this.#ending.signal, optional: ['checksums'] }
    part.etag = await this.#session.send(request, async (client, abortSignal) => {
      const { ETag, ChecksumCRC32 } = await client.send(
        new UploadPartCommand({
          Bucket: this.#session.config.bucket,
          Key: key,
          UploadId: this.#upload?.uploadId,
          PartNumber: partNumber,
          Body: content,
          ContentLength: content.byteLength,
          ...checksumOf(this.#session, content, part.crc32),
        }),
        { abortSignal },
      )
      if (ETag === undefined) throw new S3AnswerError('EBADANSWER', 'The answer has no ETag')
      if (ChecksumCRC32 !== undefined && ChecksumCRC32 !== crc32Base64(part.crc32)) throw new S3AnswerError('EDAMAGED', 'The store computed another checksum')
      return ETag
    })
  }

  async #completeParts(onUnanswered: () => void): ReturnType<typeof completeUpload> {
    const { key, signal } = this.#options
    // A store needs time to put parts together.
    const bodyBytes = this.#parts.length * BYTES_FOR_A_PART
    const parts = this.#parts.map(({ etag, crc32 }, index) => ({ PartNumber: index + 1, ETag: etag, crc32 }))
    try {
      return await completeUpload(this.#session, { uploadId: '', hasChecksums: false, ...this.#upload, key, parts, signal, bodyBytes, onUnanswered })
    } catch (error) {
      // From now on of equal size.
      if (s3CodeOf(error) === 'InvalidPart') this.#session.store.learn('growingParts', 'refused')
      throw error
    }
  }

  #checkStored(stored: string | undefined): void {
    const expected = checksumOfParts(this.#parts)
    // Some stores answer with the checksum of the whole object, which has no "-".
    if (stored?.includes('-') === true && stored !== expected) {
      throw new ChecksumMismatchError(
        `Cannot write "s3://${this.#session.config.bucket}/${this.#options.key}": the store's checksum is not that of the parts sent`,
        { hint: WRITTEN_HINT, details: { expected, actual: stored } },
      )
    }
  }

  #recycle(buffer: Buffer): void {
    // Drop buffers that are too small since parts have grown.
    if (buffer.byteLength >= this.#nextBytes()) this.#free.push(buffer)
  }

  #nextBytes(): number {
    const { config, store, largestBytes } = this.#session
    this.#equalBytes ??= store.has('growingParts') ? 0 : equalPartBytes(largestBytes, config.partBytes)
    return this.#equalBytes || nextPartBytes(this.#sent, config.partBytes)
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

/** A multipart upload that was begun. */
export interface S3Begun {
  readonly uploadId: string
  /** Whether the store was told that its parts have checksums: then it must be told them when it puts the parts together. */
  readonly hasChecksums: boolean
}

/** Begins a multipart upload. */
export async function beginUpload(session: S3Session, { key, nonce, signal, lock }: S3PutOptions): Promise<S3Begun> {
  return await session.send({ operation: 'write', key, signal, optional: ['checksums'] }, async (client, abortSignal) => {
    const hasChecksums = session.store.has('checksums')
    const { UploadId } = await client.send(
      new CreateMultipartUploadCommand({
        Bucket: session.config.bucket,
        Key: key,
        Metadata: metadataOf(nonce),
        ...(hasChecksums && { ChecksumAlgorithm: 'CRC32' }),
        ...attributesOf(session.config),
        ...lock,
      }),
      { abortSignal },
    )
    if (UploadId === undefined || UploadId === '') throw new S3AnswerError('EBADANSWER', 'The answer does not name an upload')
    return { uploadId: UploadId, hasChecksums }
  })
}

export interface S3CompleteOptions extends S3Begun, Omit<S3RequestOptions, 'operation' | 'key'> {
  readonly key: string
  readonly parts: readonly { readonly PartNumber: number; readonly ETag: string | undefined; readonly crc32: number }[]
}

/** Makes an object of the parts of an upload, if the key is free. Resolves with its ETag and the store's checksum. */
export async function completeUpload(
  session: S3Session,
  { key, uploadId, hasChecksums, parts, ...options }: S3CompleteOptions,
): Promise<{ readonly etag: string; readonly checksum: string | undefined }> {
  return await session.send({ operation: 'write', key, optional: ['conditionalComplete'], ...options }, async (client, abortSignal, extend) => {
    const Parts = parts.map(({ crc32, ...part }) => ({ ...part, ...(hasChecksums && { ChecksumCRC32: crc32Base64(crc32) }) }))
    const condition = session.store.has('conditionalComplete') && { IfNoneMatch: '*' }
    const { bucket } = session.config
    const command = new CompleteMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId: uploadId, MultipartUpload: { Parts }, ...condition })
    command.middlewareStack.add(
      (next) => async (args) => {
        const result = await next(args)
        // While it puts the parts together, S3 sends white space: each piece gives the try its time once more.
        const { body } = result.response as { readonly body?: Partial<IncomingMessage> }
        const { socket } = body ?? {}
        socket?.on('data', extend)
        body?.once?.('close', () => socket?.off('data', extend))
        return result
      },
      { step: 'deserialize', priority: 'low' },
    )
    const { ETag, ChecksumCRC32 } = await client.send(command, { abortSignal })
    // An error may follow a status of 200; a cut off answer would not show it.
    if (ETag === undefined) throw new S3AnswerError('EBADANSWER', 'The answer has no ETag')
    return { etag: ETag, checksum: ChecksumCRC32 }
  })
}

/** Ends a multipart upload, if it still exists. */
export async function abortUpload(
  session: S3Session,
  { key, uploadId, signal }: { readonly key: string; readonly uploadId: string; readonly signal?: AbortSignal | undefined },
): Promise<void> {
  try {
    await session.send({ operation: 'end the upload of', key, signal }, async (client, abortSignal) => {
      await client.send(new AbortMultipartUploadCommand({ Bucket: session.config.bucket, Key: key, UploadId: uploadId }), { abortSignal })
    })
  } catch (error) {
    if (!isMissing(error)) throw error
  }
}

/** S3's checksum of a multipart object: the CRC of the parts' CRCs, and the number of parts. */
function checksumOfParts(parts: S3Pieces): string {
  return `${crc32Base64(crc32(Buffer.concat(parts.map((part) => Buffer.from(crc32Base64(part.crc32), 'base64')))))}-${parts.length}`
}
