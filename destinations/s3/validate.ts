/** Checks that the bucket exists and that the access key may do its work, and finds where the store differs from S3. */
import { randomUUID } from 'node:crypto'
import {
  CompleteMultipartUploadCommand, CreateMultipartUploadCommand, GetBucketLifecycleConfigurationCommand, GetObjectLockConfigurationCommand,
  type LifecycleRule, ListMultipartUploadsCommand, ListObjectsV2Command, PutObjectCommand, UploadPartCommand,
} from '@aws-sdk/client-s3'
import { newUlid } from '../../src/util/ulid.ts'
import type { DestinationWarning } from '../../src/contracts/destination.ts'
import { afterwards } from '../../src/errors/clean-up.ts'
import { DestinationConfigInvalidError, DestinationUnreachableError, isHoldfastError } from '../../src/errors/errors.ts'
import { s3CodeOf, s3StatusOf } from './errors.ts'
import { checksumOf, lookAt, readSmall, remove } from './objects.ts'
import type { S3Session } from './session.ts'
import { keyOf } from './upload.ts'
import { abortUpload } from './writer.ts'

const PROBE = new TextEncoder().encode('holdfast probe\n')
/** Writes at once: some stores honour conditions only for writes in turn. */
const CROWD = 6

/**
 * Tries, under the prefix, what the destination's `access` includes, and removes what it wrote. Resolves with warnings.
 * The session remembers whether the store honours `If-None-Match`.
 */
export async function validateS3(session: S3Session, signal: AbortSignal | undefined): Promise<readonly DestinationWarning[]> {
  await checkList(session, signal)
  // Use the name of an upload, so that a clean-up removes what a crash leaves.
  const key = keyOf(session, newUlid(), 'payload')
  // The object does not exist, but an access key without permission to read is refused here.
  if (session.config.access !== 'full') await lookAt(session, key, signal)
  if (session.config.access === 'restore') return []
  const warnings = [...(await checkListUploads(session, signal))]
  await checkObjectLock(session, signal)
  if (session.config.access === 'publish') await probeParts(session, { key, signal, isThere: false })
  else warnings.push(...(await probeAll(session, key, signal)))
  return [...warnings, ...(await lifecycleWarnings(session, signal))]
}

async function checkList(session: S3Session, signal: AbortSignal | undefined): Promise<void> {
  const { bucket, prefix } = session.config
  await session.send({ operation: 'list', key: prefix, signal }, async (client, abortSignal) => {
    await client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, MaxKeys: 1 }), { abortSignal })
  })
}

async function checkListUploads(session: S3Session, signal: AbortSignal | undefined): Promise<readonly DestinationWarning[]> {
  const { bucket, prefix } = session.config
  try {
    await session.send({ operation: 'list uploads of', key: prefix, signal }, async (client, abortSignal) => {
      await client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix, MaxUploads: 1 }), { abortSignal })
    })
    return []
  } catch (error) {
    if (s3StatusOf(error) !== 501) throw error
    return [{ code: 'uploads_not_listed', message: 'The store does not list incomplete multipart uploads: a clean-up cannot remove those that a crash leaves' }]
  }
}

/** Tries every operation on an object. Resolves with warnings. */
async function probeAll(session: S3Session, key: string, signal: AbortSignal | undefined): Promise<readonly DestinationWarning[]> {
  const warnings: DestinationWarning[] = []
  const probing = async (): Promise<void> => {
    await tryConditions(session, key, signal)
    await checkRead(session, key, signal)
    if (session.conditions !== 'honoured') warnings.push(CONDITIONS_IGNORED)
    if (await takesWrongChecksum(session, key, signal)) warnings.push(CHECKSUMS_IGNORED)
  }
  await afterwards(probing, () => remove(session, key), { left: `the probe "${key}" could not be removed` })
  return warnings
}

const CONDITIONS_IGNORED: DestinationWarning = {
  code: 'conditional_writes_ignored',
  message:
    'The store does not always honour "If-None-Match". Holdfast looks before it writes instead; two backups with the same ID at the same moment can miss each other',
}
const CHECKSUMS_IGNORED: DestinationWarning = {
  code: 'checksums_ignored',
  message: 'The store does not compare checksums: bytes damaged in transit are found only when the backup is read back',
}

/** Writes one key by several requests at once (only one may win), then once more, then in parts. The session remembers the result. */
async function tryConditions(session: S3Session, key: string, signal: AbortSignal | undefined): Promise<void> {
  const condition = { IfNoneMatch: '*' } as const
  const writes = await Promise.allSettled(Array.from({ length: CROWD }, () => writeProbe(session, { key, signal, condition })))
  writes.push(...(await Promise.allSettled([writeProbe(session, { key, signal, condition })])))
  const failures = writes.flatMap((write) => (write.status === 'rejected' ? [write.reason as unknown] : []))
  const unexpected = failures.find((error) => !isRefusal(error) && !isUnknown(error))
  if (unexpected !== undefined) throw unexpected
  if (failures.some(isUnknown)) {
    await writeProbe(session, { key, signal })
    session.conditions = 'refused'
    return
  }
  // It may be 0: if the answer to the winner was lost, its repetition was refused.
  const isHonoured = writes.length - failures.length <= 1
  const arePartsRefused = await probeParts(session, { key, signal, isThere: true })
  session.conditions = isHonoured && arePartsRefused ? 'honoured' : 'ignored'
}

async function checkRead(session: S3Session, key: string, signal: AbortSignal | undefined): Promise<void> {
  const content = await readSmall(session, { key, maxBytes: PROBE.byteLength, signal })
  if (content !== undefined && PROBE.every((byte, index) => content[index] === byte)) return
  throw new DestinationUnreachableError(`Cannot read "s3://${session.config.bucket}/${key}" back: its bytes are not those that were written`)
}

interface ProbeOptions {
  readonly key: string
  readonly signal: AbortSignal | undefined
}

async function writeProbe(session: S3Session, { key, signal, ...rest }: ProbeOptions & { readonly condition?: { readonly IfNoneMatch: '*' }; readonly checksum?: string }): Promise<void> {
  await session.send({ operation: 'write', key, signal }, async (client, abortSignal) => {
    await client.send(
      new PutObjectCommand({
        Bucket: session.config.bucket,
        Key: key,
        Body: PROBE,
        ...checksumOf(PROBE),
        ...(rest.checksum !== undefined && { ChecksumCRC32: rest.checksum }),
        Metadata: { probe: randomUUID() },
        ...rest.condition,
      }),
      { abortSignal },
    )
  })
}

/** Begins a multipart upload and ends it. With `isThere`, tries to complete it first. Resolves with whether the store refused that. */
async function probeParts(session: S3Session, { key, signal, isThere }: ProbeOptions & { readonly isThere: boolean }): Promise<boolean> {
  const { bucket } = session.config
  const request = { operation: 'write', key, signal } as const
  const uploadId = await session.send(request, async (client, abortSignal) => {
    return (await client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: key, ChecksumAlgorithm: 'CRC32' }), { abortSignal })).UploadId ?? ''
  })
  try {
    if (!isThere) return true
    const part = { PartNumber: 1, ChecksumCRC32: checksumOf(PROBE).ChecksumCRC32 }
    const etag = await session.send(request, async (client, abortSignal) => {
      const command = new UploadPartCommand({ Bucket: bucket, Key: key, UploadId: uploadId, PartNumber: 1, Body: PROBE, ...checksumOf(PROBE) })
      return (await client.send(command, { abortSignal })).ETag
    })
    await session.send(request, async (client, abortSignal) => {
      const Parts = [{ ...part, ...(etag !== undefined && { ETag: etag }) }]
      await client.send(new CompleteMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId: uploadId, MultipartUpload: { Parts }, IfNoneMatch: '*' }), { abortSignal })
    })
    return false
  } catch (error) {
    if (isRefusal(error)) return true
    if (isUnknown(error)) return false
    throw error
  } finally {
    await abortUpload(session, { key, uploadId })
  }
}

/** Whether the store accepts content with a wrong checksum. */
async function takesWrongChecksum(session: S3Session, key: string, signal: AbortSignal | undefined): Promise<boolean> {
  for (let failures = 1; ; failures++) {
    try {
      await session.sendOnce({ operation: 'write', key, signal }, async (client, abortSignal) => {
        const wrong = checksumOf(PROBE.subarray(1))
        await client.send(new PutObjectCommand({ Bucket: session.config.bucket, Key: key, Body: PROBE, ...wrong }), { abortSignal })
      })
      return true
    } catch (error) {
      // Elsewhere an answer that says "damaged" is tried again; here it is the right answer.
      const isPassing = isHoldfastError(error) && error.retryable && error.details['reason'] !== 'damaged_in_transit'
      const status = s3StatusOf(error)
      if (!isPassing && status !== undefined && status >= 400 && status < 500 && status !== 403) return false
      if (!isPassing || failures >= session.config.attempts) throw error
      await session.backOff(failures, signal)
    }
  }
}

async function checkObjectLock(session: S3Session, signal: AbortSignal | undefined): Promise<void> {
  const { bucket, objectLock } = session.config
  if (objectLock === undefined) return
  let isEnabled = false
  try {
    isEnabled = await session.send({ operation: 'look at', signal }, async (client, abortSignal) => {
      const { ObjectLockConfiguration } = await client.send(new GetObjectLockConfigurationCommand({ Bucket: bucket }), { abortSignal })
      return ObjectLockConfiguration?.ObjectLockEnabled === 'Enabled'
    })
  } catch (error) {
    if (s3StatusOf(error) !== 404 && s3StatusOf(error) !== 501) throw error
  }
  if (isEnabled) return
  throw new DestinationConfigInvalidError(`Cannot lock backups in bucket "${bucket}": the bucket does not have Object Lock`, {
    hint: 'Enable Object Lock on the bucket, or leave out the objectLock option',
    details: { bucket, reason: 'no_object_lock' },
  })
}

/** Warns when no lifecycle rule ends incomplete uploads: their parts stay, unseen and paid for. */
async function lifecycleWarnings(session: S3Session, signal: AbortSignal | undefined): Promise<readonly DestinationWarning[]> {
  const { bucket, prefix } = session.config
  let rules: readonly LifecycleRule[] = []
  try {
    rules = await session.send({ operation: 'look at', signal }, async (client, abortSignal) => {
      return (await client.send(new GetBucketLifecycleConfigurationCommand({ Bucket: bucket }), { abortSignal })).Rules ?? []
    })
  } catch (error) {
    const status = s3StatusOf(error)
    if (status === 403 || status === 405 || status === 501) {
      return [{ code: 'lifecycle_unknown', message: `Cannot see whether bucket "${bucket}" has a lifecycle rule that ends incomplete uploads (s3:GetLifecycleConfiguration)` }]
    }
    if (status !== 404) throw error
  }
  if (rules.some((rule) => endsUploads(rule, prefix))) return []
  const message = `Bucket "${bucket}" has no lifecycle rule that ends incomplete multipart uploads under "${prefix}": their parts stay until a clean-up`
  return [{ code: 'no_abort_incomplete_rule', message }]
}

function endsUploads({ Status, AbortIncompleteMultipartUpload, Filter, Prefix }: LifecycleRule, prefix: string): boolean {
  const covered = Filter?.Prefix ?? Prefix ?? ''
  // A rule for certain tags or sizes does not apply to uploads.
  const isNarrow = Filter?.And !== undefined || Filter?.Tag !== undefined || Filter?.ObjectSizeGreaterThan !== undefined || Filter?.ObjectSizeLessThan !== undefined
  return Status === 'Enabled' && AbortIncompleteMultipartUpload?.DaysAfterInitiation !== undefined && !isNarrow && prefix.startsWith(covered)
}

/** Whether the store refused a write because the key exists. */
function isRefusal(error: unknown): boolean {
  return s3StatusOf(error) === 412 || s3CodeOf(error) === 'ConditionalRequestConflict'
}

/** Whether the store does not know conditions. */
function isUnknown(error: unknown): boolean {
  return s3StatusOf(error) === 501
}
