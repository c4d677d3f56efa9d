/** Looks at, reads, creates and deletes single objects. */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { DeleteObjectCommand, GetObjectCommand, HeadObjectCommand, type HeadObjectCommandOutput, type ObjectLockMode, PutObjectCommand, type S3Client, type S3ServiceException } from '@aws-sdk/client-s3'
import { DuplicateBackupIdError } from '../../src/errors/errors.ts'
import { S3AnswerError, s3CodeOf, s3StatusOf } from './errors.ts'
import type { S3RequestOptions, S3Session } from './session.ts'

/** Metadata that tells which upload wrote an object: when the answer to a write is lost, its repetition is refused. */
const NONCE = 'holdfast-nonce'
const SHA256 = 'holdfast-sha256'

export interface S3ObjectInfo {
  readonly bytes: number
  readonly nonce: string | undefined
  readonly modifiedAtMs: number
  /** The object's lock or legal hold, if there is one. */
  readonly hold: { readonly mode?: string | undefined; readonly retainUntil?: Date | undefined; readonly isLegalHold: boolean } | undefined
}

export interface S3CreateOptions {
  readonly key: string
  /** Names the upload, in the metadata of the object. */
  readonly nonce: string
  readonly signal?: AbortSignal | undefined
}

/** The object under a key, or `undefined`. A missing bucket looks like a missing key. */
export async function lookAt(session: S3Session, key: string, signal?: AbortSignal): Promise<S3ObjectInfo | undefined> {
  try {
    return await session.send({ operation: 'look at', key, signal }, async (client, abortSignal) => {
      const { ContentLength, Metadata, LastModified, ...held } = await head(client, { Bucket: session.config.bucket, Key: key }, abortSignal)
      if (ContentLength === undefined) throw new S3AnswerError('EBADANSWER', 'The answer does not name a length')
      return { bytes: ContentLength, nonce: Metadata?.[NONCE], modifiedAtMs: LastModified?.getTime() ?? Number.NaN, hold: holdOf(held) }
    })
  } catch (error) {
    if (s3StatusOf(error) === 404) return undefined
    throw error
  }
}

type SmallBody = AsyncIterable<Uint8Array> & { destroy?(): void }

/** Sends a HEAD, and after a failure a GET: only its answer has a body that says what is wrong. */
async function head(client: S3Client, target: { readonly Bucket: string; readonly Key: string }, abortSignal: AbortSignal): Promise<HeadObjectCommandOutput> {
  try {
    return await client.send(new HeadObjectCommand(target), { abortSignal })
  } catch (error) {
    const status = (error as S3ServiceException).$metadata?.httpStatusCode ?? 0
    if (status >= 300 && status < 500 && status !== 404) {
      const { Body } = await client.send(new GetObjectCommand({ ...target, Range: 'bytes=0-0' }), { abortSignal })
      ;(Body as SmallBody | undefined)?.destroy?.()
    }
    throw error
  }
}

/** Reads an object of at most `maxBytes`, checked against its checksums; `undefined` for a larger one. */
export async function readSmall(session: S3Session, { key, maxBytes, signal }: { readonly key: string; readonly maxBytes: number; readonly signal?: AbortSignal | undefined }): Promise<Uint8Array | undefined> {
  return await session.send({ operation: 'read', key, bodyBytes: maxBytes, signal }, async (client, abortSignal) => {
    const { Body, ContentLength, Metadata } = await client.send(
      new GetObjectCommand({ Bucket: session.config.bucket, Key: key, ChecksumMode: 'ENABLED' }),
      { abortSignal },
    )
    const stream = Body as SmallBody | undefined
    if (stream === undefined || ContentLength === undefined) throw new S3AnswerError('EBADANSWER', 'The answer has no body, or does not name a length')
    if (ContentLength > maxBytes) {
      stream.destroy?.()
      return undefined
    }
    const chunks: Uint8Array[] = []
    let bytes = 0
    for await (const chunk of stream) {
      chunks.push(chunk)
      bytes += chunk.byteLength
      if (bytes > ContentLength) break
    }
    if (bytes !== ContentLength) throw new S3AnswerError('ETRUNCATED', `The body has ${bytes} bytes instead of ${ContentLength}`)
    const content = Buffer.concat(chunks)
    const expected = Metadata?.[SHA256]
    if (expected !== undefined && expected !== sha256Of(content)) throw new S3AnswerError('EDAMAGED', 'The body does not match its SHA-256')
    return content
  })
}

/** Writes a small object that must not exist yet. Rejects with `duplicate_backup_id` when another upload wrote the key. */
export async function createSmall(session: S3Session, content: Uint8Array, options: S3CreateOptions & Pick<S3RequestOptions, 'onUnanswered'>): Promise<void> {
  const { key, nonce, signal, onUnanswered } = options
  const { bucket, objectLock } = session.config
  const command = (condition: Condition): PutObjectCommand =>
    new PutObjectCommand({
      Bucket: bucket,
      Key: key,
      Body: content,
      ContentLength: content.byteLength,
      Metadata: { [NONCE]: nonce, [SHA256]: sha256Of(content) },
      ...checksumOf(content),
      ...lockOf(objectLock),
      ...condition,
    })
  await createOnce(session, { ...options, bytes: content.byteLength }, async (condition) => {
    await session.send({ operation: 'write', key, bodyBytes: content.byteLength, signal, onUnanswered }, async (client, abortSignal) => {
      await client.send(command(condition), { abortSignal })
    })
  })
}

export type Condition = { readonly IfNoneMatch?: '*' }

/**
 * Runs a write that must create its key.
 *
 * When the answer is lost, or the repetition of a successful write is refused, the stored object decides:
 * one with our nonce and length is our write.
 *
 * On a store that may not honour the condition, the key is also looked at before the write; if the store is known not to, after it too.
 * Two writers may still miss each other there.
 */
export async function createOnce(session: S3Session, options: S3CreateOptions & { readonly bytes: number }, write: (condition: Condition) => Promise<void>): Promise<void> {
  if (session.conditions !== 'honoured' && (await isOwn(session, options))) return
  try {
    await write(session.conditions === 'refused' ? {} : { IfNoneMatch: '*' })
  } catch (error) {
    options.signal?.throwIfAborted()
    if (session.conditions === 'unknown' && s3CodeOf(error) === 'NotImplemented') {
      session.conditions = 'refused'
      return await createOnce(session, options, write)
    }
    if (!(await isOwnAfter(session, options, error))) throw error
  }
  if (session.conditions === 'ignored' || session.conditions === 'refused') await isOwn(session, options)
}

/** Whether a write succeeded although it was answered with this error. */
async function isOwnAfter(session: S3Session, options: S3CreateOptions & { readonly bytes: number }, error: unknown): Promise<boolean> {
  for (let tries = 1; ; tries++) {
    if (await isOwn(session, options)) return true
    // The store refused the condition: an object is there, though the store may not show it yet.
    if (s3StatusOf(error) !== 412 || tries >= session.config.attempts) return false
    await session.backOff(tries, options.signal)
  }
}

/** Whether our object is there. Throws `duplicate_backup_id` when another one is. */
async function isOwn(session: S3Session, { key, nonce, bytes, signal }: S3CreateOptions & { readonly bytes: number }): Promise<boolean> {
  const found = await lookAt(session, key, signal)
  if (found === undefined) return false
  if (found.nonce === nonce && found.bytes === bytes) return true
  throw duplicate(session, key)
}

/** Removes an object, if it exists. */
export async function remove(session: S3Session, key: string, signal?: AbortSignal): Promise<void> {
  try {
    await session.send({ operation: 'delete', key, signal }, async (client, abortSignal) => {
      await client.send(new DeleteObjectCommand({ Bucket: session.config.bucket, Key: key }), { abortSignal })
    })
  } catch (error) {
    // S3 does not report a missing object; some stores do, when another deletion was faster.
    if (s3CodeOf(error) !== 'NoSuchKey') throw error
  }
}

/** Removes an object if this upload wrote it. */
export async function removeOwn(session: S3Session, key: string, nonce: string): Promise<void> {
  if ((await lookAt(session, key))?.nonce === nonce) await remove(session, key)
}

/** The error for a key that another upload has written. */
export function duplicate(session: S3Session, key: string): DuplicateBackupIdError {
  const { bucket } = session.config
  return new DuplicateBackupIdError(`Cannot publish: "s3://${bucket}/${key}" already exists`, { details: { bucket, key } })
}

/** A checksum for the server to compare. The server ignores it without the name of its algorithm. */
export function checksumOf(content: Uint8Array): { readonly ChecksumAlgorithm: 'CRC32'; readonly ChecksumCRC32: string } {
  return { ChecksumAlgorithm: 'CRC32', ChecksumCRC32: crc32Base64(crc32(content)) }
}

export function crc32Base64(value: number): string {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes.toString('base64')
}

/** The metadata of a multipart upload, whose digest is not known when it begins. */
export function metadataOf(nonce: string): Record<string, string> {
  return { [NONCE]: nonce }
}

export function lockOf(lock: S3Session['config']['objectLock']): { readonly ObjectLockMode?: ObjectLockMode; readonly ObjectLockRetainUntilDate?: Date } {
  if (lock === undefined) return {}
  return { ObjectLockMode: lock.mode === 'compliance' ? 'COMPLIANCE' : 'GOVERNANCE', ObjectLockRetainUntilDate: new Date(Date.now() + lock.retainDays * DAY_MS) }
}

const DAY_MS = 24 * 60 * 60 * 1000

function holdOf(held: Pick<HeadObjectCommandOutput, 'ObjectLockMode' | 'ObjectLockRetainUntilDate' | 'ObjectLockLegalHoldStatus'>): S3ObjectInfo['hold'] {
  const { ObjectLockMode: mode, ObjectLockRetainUntilDate: retainUntil, ObjectLockLegalHoldStatus } = held
  const isLegalHold = ObjectLockLegalHoldStatus === 'ON'
  if (!isLegalHold && (retainUntil === undefined || retainUntil.getTime() <= Date.now())) return undefined
  return { mode, retainUntil, isLegalHold }
}

function sha256Of(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex')
}
