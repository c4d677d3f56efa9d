/** Creates objects, each only if its key is free. */
import { crc32 } from 'node:zlib'
import { PutObjectCommand } from '@aws-sdk/client-s3'
import { ChecksumMismatchError, DestinationUnreachableError } from '../../src/errors/errors.ts'
import type { Capability } from './capabilities.ts'
import { isMissing, isTaken, S3AnswerError, WRITTEN_HINT } from './errors.ts'
import { attributesOf, checksumOf, duplicate, lockOf, lookAt, metadataOf, remove } from './objects.ts'
import { readObject } from './read.ts'
import type { S3RequestOptions, S3Session } from './session.ts'

export interface S3CreateOptions {
  readonly key: string
  /** Names the upload, in the metadata of the object. */
  readonly nonce: string
  readonly signal?: AbortSignal | undefined
}

/** Writes a small object that must not exist yet. Rejects with `duplicate_backup_id` when another upload wrote the key. */
export async function createSmall(session: S3Session, content: Uint8Array, options: S3CreateOptions & Pick<S3RequestOptions, 'onUnanswered'>): Promise<void> {
  const pieces = piecesOf(content)
  const lock = lockOf(session.config.objectLock)
  await createOnce(session, { ...options, pieces, condition: 'conditionalPut' }, async (onUnanswered) => {
    return await putSmall(session, content, { ...options, onUnanswered, lock, isNew: true })
  })
}

/** Removes a small object if this upload wrote it: by the nonce, or by its bytes where the store keeps no metadata. */
export async function removeSmall(session: S3Session, content: Uint8Array, { key, nonce }: S3CreateOptions): Promise<void> {
  const found = await lookAt(session, key)
  if (found !== undefined && (await isWritten(session, found, { key, nonce, pieces: piecesOf(content) }))) await remove(session, key)
}

function piecesOf(content: Uint8Array): S3Pieces {
  return [{ bytes: content.byteLength, crc32: crc32(content) }]
}

export interface S3PutOptions extends S3CreateOptions, Pick<S3RequestOptions, 'onUnanswered'> {
  /** Asks the store to refuse a key that is taken. */
  readonly isNew?: boolean | undefined
  readonly lock?: ReturnType<typeof lockOf> | undefined
}

/** Writes a small object. Resolves with its ETag. */
export async function putSmall(session: S3Session, content: Uint8Array, options: S3PutOptions): Promise<string> {
  const { key, nonce, signal, onUnanswered, isNew = false, lock } = options
  const optional: readonly Capability[] = isNew ? ['checksums', 'conditionalPut'] : ['checksums']
  return await session.send({ operation: 'write', key, bodyBytes: content.byteLength, signal, optional, onUnanswered }, async (client, abortSignal) => {
    const command = new PutObjectCommand({
      Bucket: session.config.bucket,
      Key: key,
      Body: content,
      ContentLength: content.byteLength,
      Metadata: metadataOf(nonce, content),
      ...attributesOf(session.config),
      ...checksumOf(session, content, crc32(content)),
      ...(isNew && session.store.has('conditionalPut') && { IfNoneMatch: '*' }),
      ...lock,
    })
    const { ETag } = await client.send(command, { abortSignal })
    // Something else than a store may answer 200 to everything.
    if (ETag === undefined) throw new S3AnswerError('EBADANSWER', 'The answer has no ETag')
    return ETag
  })
}

/** The bytes of an object as they were sent: in order, each piece with its CRC-32. */
export type S3Pieces = readonly { readonly bytes: number; readonly crc32: number }[]

export interface S3CreateOnceOptions extends S3CreateOptions, Pick<S3RequestOptions, 'onUnanswered'> {
  readonly pieces: S3Pieces
  /** What the write asks for, so that it fails when the key is taken. */
  readonly condition: Capability
}

/**
 * Runs a write that must create its key, and resolves with the ETag.
 *
 * When the answer is lost, or the repetition of a successful write is refused, the stored object decides:
 * one with our nonce is our write; where the store keeps no metadata, one with our ETag or our bytes. Rejects with `checksum_mismatch` when
 * our object is cut short.
 *
 * On a store that may not honour the condition, the key is also looked at before the write; if the store is known not to, after it too.
 * Two writers may still miss each other there.
 */
export async function createOnce(
  session: S3Session,
  options: S3CreateOnceOptions,
  write: (onUnanswered: () => void) => Promise<string>,
): Promise<void> {
  const { condition, signal } = options
  if (session.store.of(condition) !== 'honoured' && (await isOwn(session, options))) return
  const endMs = performance.now() + session.config.totalTimeoutMs
  let isUnsure = false
  let etag: string | undefined
  try {
    etag = await write(() => {
      isUnsure = true
      options.onUnanswered?.()
    })
  } catch (error) {
    signal?.throwIfAborted()
    // The condition was refused, or the parts are gone because an earlier try is being carried out: the store may show the object later.
    const isLate = isTaken(error) || (isUnsure && isMissing(error))
    for (let tries = 1; !(await isOwn(session, options)); tries++) {
      if (!isLate) throw error
      if (performance.now() >= endMs) throw isMissing(error) ? tooSlow(session, options.key, error) : error
      await session.backOff(tries, signal)
    }
  }
  if (session.store.lacks(condition)) await isOwn(session, options, etag)
}

/** The error for a write that was begun, and whose object did not come in time: what the repetition was answered explains nothing. */
function tooSlow({ config: { bucket, totalTimeoutMs } }: S3Session, key: string, cause: unknown): DestinationUnreachableError {
  return new DestinationUnreachableError(`Cannot write "s3://${bucket}/${key}": the store did not complete it within ${totalTimeoutMs} ms`, {
    cause,
    hint: 'Give the store more time (request-timeout-ms=, total-timeout-ms=), or use fewer parts (part-bytes=)',
    details: { operation: 'write', bucket, key, reason: 'too_slow' },
  })
}

/** Whether our object is there. Throws `duplicate_backup_id` when another one is. */
async function isOwn(session: S3Session, options: S3CreateOnceOptions, etag?: string): Promise<boolean> {
  const found = await lookAt(session, options.key, options.signal)
  if (found === undefined) return false
  if (!(await isWritten(session, found, options, etag))) throw duplicate(session, options.key)
  const bytes = bytesOf(options.pieces)
  if (found.bytes === bytes) return true
  const place = `s3://${session.config.bucket}/${options.key}`
  throw new ChecksumMismatchError(`Cannot write "${place}": the store has ${found.bytes} bytes of it instead of ${bytes}`, { hint: WRITTEN_HINT })
}

function bytesOf(pieces: S3Pieces): number {
  return pieces.reduce((sum, { bytes }) => sum + bytes, 0)
}

/** Whether what was found is what this upload wrote. */
async function isWritten(
  session: S3Session,
  found: NonNullable<Awaited<ReturnType<typeof lookAt>>>,
  { key, nonce, pieces, signal }: Pick<S3CreateOnceOptions, 'key' | 'nonce' | 'pieces' | 'signal'>,
  etag?: string,
): Promise<boolean> {
  if (found.nonce === nonce || (etag !== undefined && found.etag === etag)) return true
  return found.nonce === undefined && found.bytes === bytesOf(pieces) && (await hasBytes(session, { key, pieces, signal }))
}

/** Whether an object has these bytes. */
async function hasBytes(session: S3Session, { key, pieces, signal }: Pick<S3CreateOnceOptions, 'key' | 'pieces' | 'signal'>): Promise<boolean> {
  let index = 0
  let read = { bytes: 0, crc32: 0 }
  const isNext = (): boolean => read.bytes === pieces[index]?.bytes && read.crc32 === pieces[index++]?.crc32
  for await (const chunk of readObject(session, { key, startByte: 0, signal })) {
    for (let rest = chunk; rest.byteLength > 0; ) {
      const taken = rest.subarray(0, (pieces[index]?.bytes ?? 0) - read.bytes)
      rest = rest.subarray(taken.byteLength)
      read = { bytes: read.bytes + taken.byteLength, crc32: crc32(taken, read.crc32) }
      if (read.bytes < (pieces[index]?.bytes ?? 0)) continue
      if (!isNext()) return false
      read = { bytes: 0, crc32: 0 }
    }
  }
  return index === pieces.length || isNext()
}
