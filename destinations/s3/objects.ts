/** Looks at, reads and deletes single objects; what new ones are created with. */
import { createHash } from 'node:crypto'
import {
  DeleteObjectCommand, GetObjectCommand, HeadObjectCommand, type HeadObjectCommandOutput, ListObjectsV2Command, type ObjectCannedACL, type ObjectLockMode,
  type S3Client, type S3ServiceException, type StorageClass,
} from '@aws-sdk/client-s3'
import { messageOf } from '../../src/errors/error-message.ts'
import { CombinedError, DuplicateBackupIdError } from '../../src/errors/errors.ts'
import { isMissing, S3AnswerError, s3StatusOf } from './errors.ts'
import { listObjects } from './listing.ts'
import type { S3Session } from './session.ts'

/** Metadata that tells which upload wrote an object: when the answer to a write is lost, its repetition is refused. */
const NONCE = 'holdfast-nonce'
const SHA256 = 'holdfast-sha256'

export interface S3ObjectInfo {
  readonly bytes: number
  readonly etag: string | undefined
  readonly nonce: string | undefined
  readonly modifiedAtMs: number
  /** The object's lock or legal hold, if there is one. */
  readonly hold: { readonly mode?: string | undefined; readonly retainUntil?: Date | undefined; readonly isLegalHold: boolean } | undefined
}

/** The object under a key, or `undefined`. A missing bucket looks like a missing key. */
export async function lookAt(session: S3Session, key: string, signal?: AbortSignal): Promise<S3ObjectInfo | undefined> {
  try {
    return await readInfo(session, key, signal)
  } catch (error) {
    if (await isAbsent(session, { key, error, signal })) return undefined
    throw error
  }
}

/** The object under a key. Rejects when it is missing, in the words of the store. */
export async function readInfo(session: S3Session, key: string, signal?: AbortSignal): Promise<S3ObjectInfo> {
  return await session.send({ operation: 'look at', key, signal }, async (client, abortSignal) => {
    const { ContentLength, ETag: etag, Metadata, LastModified, ...held } = await head(client, { Bucket: session.config.bucket, Key: key }, abortSignal)
    if (ContentLength === undefined) session.store.learn('lengths', 'ignored')
    const bytes = ContentLength ?? (await listedBytes(client, { Bucket: session.config.bucket, Prefix: key }, abortSignal))
    return { bytes, etag, nonce: Metadata?.[NONCE], modifiedAtMs: LastModified?.getTime() ?? Number.NaN, hold: holdOf(held) }
  })
}

/**
 * Whether a key failed to be read because nothing is there. Where `s3:ListBucket` has a condition on the prefix, S3 answers 403 instead of
 * 404, as some stores always do: then the list decides. Rejects when the list fails.
 */
export async function isAbsent(
  session: S3Session,
  { key, error, signal }: { readonly key: string; readonly error: unknown; readonly signal?: AbortSignal | undefined },
): Promise<boolean> {
  if (s3StatusOf(error) !== 403) return isMissing(error)
  try {
    for await (const object of listObjects(session, { prefix: key, signal })) if (object.key === key) return false
    return true
  } catch (failure) {
    signal?.throwIfAborted()
    // Without permission to list, the first refusal says more.
    if (s3StatusOf(failure) === 403) return false
    throw new CombinedError(`${messageOf(failure)}; before that: ${messageOf(error)}`, [failure, error])
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

async function listedBytes(client: S3Client, target: { readonly Bucket: string; readonly Prefix: string }, abortSignal: AbortSignal): Promise<number> {
  const { Contents: [first] = [] } = await client.send(new ListObjectsV2Command({ ...target, MaxKeys: 1 }), { abortSignal })
  if (first?.Size === undefined || first.Key !== target.Prefix) throw new S3AnswerError('EBADANSWER', 'Neither the answer nor the list names a length')
  return first.Size
}

/** Reads an object of at most `maxBytes`, checked against its checksums; `undefined` for a larger one. */
export async function readSmall(
  session: S3Session,
  { key, maxBytes, signal }: { readonly key: string; readonly maxBytes: number; readonly signal?: AbortSignal | undefined },
): Promise<Uint8Array | undefined> {
  return await session.send({ operation: 'read', key, bodyBytes: maxBytes, signal, optional: ['checksums'] }, async (client, abortSignal) => {
    const { Body, ContentLength, Metadata } = await client.send(
      new GetObjectCommand({ Bucket: session.config.bucket, Key: key, ...(session.store.has('checksums') && { ChecksumMode: 'ENABLED' }) }),
      { abortSignal },
    )
    const stream = Body as SmallBody | undefined
    if (stream === undefined) throw new S3AnswerError('EBADANSWER', 'The answer has no body')
    const chunks: Uint8Array[] = []
    let bytes = ContentLength !== undefined && ContentLength > maxBytes ? ContentLength : 0
    if (bytes === 0) {
      for await (const chunk of stream) {
        chunks.push(chunk)
        bytes += chunk.byteLength
        if (bytes > (ContentLength ?? maxBytes)) break
      }
    }
    stream.destroy?.()
    if (bytes > maxBytes) return undefined
    if (bytes !== (ContentLength ?? bytes)) throw new S3AnswerError('ETRUNCATED', `The body has ${bytes} bytes instead of ${ContentLength}`)
    const content = Buffer.concat(chunks)
    const expected = Metadata?.[SHA256]
    if (expected !== undefined && expected !== sha256Of(content)) throw new S3AnswerError('EDAMAGED', 'The body does not match its SHA-256')
    return content
  })
}

/** Removes an object, if it exists. */
export async function remove(session: S3Session, key: string, signal?: AbortSignal): Promise<void> {
  try {
    await session.send({ operation: 'delete', key, signal }, async (client, abortSignal) => {
      await client.send(new DeleteObjectCommand({ Bucket: session.config.bucket, Key: key }), { abortSignal })
    })
  } catch (error) {
    // S3 does not report a missing object; some stores do, when another deletion was faster.
    if (!isMissing(error)) throw error
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

type Checksum = { readonly ChecksumAlgorithm: 'CRC32'; readonly ChecksumCRC32: string } | { readonly ContentMD5: string }

/**
 * A checksum for the server to compare: the CRC-32, or the MD5 where the store refuses that. The server ignores it without the name of its
 * algorithm.
 */
export function checksumOf({ store }: S3Session, content: Uint8Array, crc: number): Checksum {
  if (store.has('checksums')) return { ChecksumAlgorithm: 'CRC32', ChecksumCRC32: crc32Base64(crc) }
  return { ContentMD5: createHash('md5').update(content).digest('base64') }
}

export function crc32Base64(value: number): string {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes.toString('base64')
}

/** The metadata of a new object. The digest of a multipart upload is not known when it begins. */
export function metadataOf(nonce: string, content?: Uint8Array): Record<string, string> {
  return { [NONCE]: nonce, ...(content !== undefined && { [SHA256]: sha256Of(content) }) }
}

/** What every new object is created with by option. */
export function attributesOf({ encryption, kmsKeyId, storageClass, acl }: S3Session['config']): {
  readonly ServerSideEncryption?: S3Session['config']['encryption']
  readonly SSEKMSKeyId?: string | undefined
  readonly StorageClass?: StorageClass | undefined
  readonly ACL?: ObjectCannedACL | undefined
} {
  const named = { StorageClass: storageClass as StorageClass | undefined, ACL: acl as ObjectCannedACL | undefined }
  return { ServerSideEncryption: encryption, SSEKMSKeyId: kmsKeyId, ...named }
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
