/** Checks that the bucket exists and that the access key may do its work, and finds where the store differs from S3. */
import { randomUUID } from 'node:crypto'
import { crc32 } from 'node:zlib'
import {
  GetBucketLifecycleConfigurationCommand, GetObjectLockConfigurationCommand, type LifecycleRule, ListObjectsV2Command, PutObjectCommand, UploadPartCommand,
} from '@aws-sdk/client-s3'
import { newUlid } from '../../src/util/ulid.ts'
import type { DestinationWarning } from '../../src/contracts/destination.ts'
import { afterwards } from '../../src/errors/clean-up.ts'
import { DestinationConfigInvalidError, DestinationUnreachableError } from '../../src/errors/errors.ts'
import type { Support } from './capabilities.ts'
import { putSmall } from './create.ts'
import { isMissing, isRefused, isTaken, s3CodeOf, s3StatusOf } from './errors.ts'
import { listPendingUploads } from './listing.ts'
import { attributesOf, checksumOf, lookAt, readInfo, readSmall, remove } from './objects.ts'
import type { S3RequestOptions, S3Session } from './session.ts'
import { keyOf } from './upload.ts'
import { abortUpload, beginUpload, completeUpload, type S3Begun } from './writer.ts'

const PROBE = new TextEncoder().encode('holdfast probe\n')
/** Writes at once: some stores honour conditions only for writes in turn. */
const CROWD = 6

/**
 * Tries, under the prefix, what the destination's `access` includes, and removes what it wrote. Resolves with warnings.
 * The session remembers what the store lacks.
 */
export async function validateS3(session: S3Session, signal: AbortSignal | undefined): Promise<readonly DestinationWarning[]> {
  const { access, checksums } = session.config
  await checkList(session, signal)
  // Use the name of an upload, so that a clean-up removes what a crash leaves.
  const probe: Probe = { key: keyOf(session, newUlid(), 'payload'), nonce: randomUUID(), signal }
  // The object does not exist, but an access key without permission to read is refused here.
  if (access !== 'full') await checkReadable(session, probe)
  if (access === 'restore') return []
  await checkObjectLock(session, signal)
  if (access === 'publish') await probeUpload(session, probe)
  else await afterwards(() => probeAll(session, probe), () => remove(session, probe.key), { left: `the probe "${probe.key}" could not be removed` })
  const found = session.store.warnings().filter(({ code }) => code !== 'checksums_ignored' || checksums !== 'never')
  return [...found, ...(await lifecycleWarnings(session, signal))]
}

async function checkList(session: S3Session, signal: AbortSignal | undefined): Promise<void> {
  const { bucket, prefix } = session.config
  await session.send({ operation: 'list', key: prefix, signal }, async (client, abortSignal) => {
    await client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, MaxKeys: 1 }), { abortSignal })
  })
}

async function checkReadable(session: S3Session, { key, signal }: Probe): Promise<void> {
  try {
    await readInfo(session, key, signal)
  } catch (error) {
    if (!isMissing(error)) throw error
  }
}

interface Probe {
  readonly key: string
  readonly nonce: string
  readonly signal: AbortSignal | undefined
}

/** Begins a multipart upload, runs what is to be done with it, and ends it. Finds out whether the store lists it. */
async function probeUpload(session: S3Session, probe: Probe, run: (upload: S3Begun) => Promise<void> = async () => undefined): Promise<void> {
  const { key, signal } = probe
  const upload = await beginUpload(session, probe)
  const probing = async (): Promise<void> => {
    let isListed = false
    for await (const { uploadId } of listPendingUploads(session, signal)) if ((isListed = uploadId === upload.uploadId)) break
    if (session.store.has('uploadList')) session.store.learn('uploadList', isListed ? 'honoured' : 'ignored')
    await run(upload)
  }
  await afterwards(probing, () => abortUpload(session, { key, uploadId: upload.uploadId }), { left: 'the upload of the probe could not be ended' })
}

/** Tries every operation on an object. */
async function probeAll(session: S3Session, probe: Probe): Promise<void> {
  const { key, signal } = probe
  // The upload first: it shows by itself whether checksums are refused.
  await probeUpload(session, probe, async (upload) => {
    await tryCrowd(session, probe)
    await putSmall(session, PROBE, probe)
    session.store.learn('metadata', (await lookAt(session, key, signal))?.nonce === undefined ? 'ignored' : 'honoured')
    await tryComplete(session, { ...probe, ...upload })
  })
  await checkRead(session, probe)
  if (session.store.has('checksums')) await tryWrongChecksum(session, probe)
}

/** Writes one key by several requests at once (only one may win), then once more. */
async function tryCrowd(session: S3Session, probe: Probe): Promise<void> {
  const write = async (): Promise<unknown> => await putSmall(session, PROBE, { ...probe, nonce: randomUUID(), isNew: true })
  const writes = [...(await Promise.allSettled(Array.from({ length: CROWD }, write))), ...(await Promise.allSettled([write()]))]
  const failures = writes.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []))
  const unexpected = failures.find((error) => !isHonoured(error))
  if (unexpected !== undefined) throw unexpected
  if (!session.store.has('conditionalPut')) return
  // It may be 0: if the answer to the winner was lost, its repetition was refused.
  session.store.learn('conditionalPut', writes.length - failures.length <= 1 ? 'honoured' : 'ignored')
}

/** Completes an upload of a key that is taken. */
async function tryComplete(session: S3Session, { key, signal, ...upload }: Probe & S3Begun): Promise<void> {
  const crc = crc32(PROBE)
  const part = { Bucket: session.config.bucket, Key: key, UploadId: upload.uploadId, PartNumber: 1, Body: PROBE }
  const ETag = await session.send({ operation: 'write', key, signal, optional: ['checksums'] }, async (client, abortSignal) => {
    return (await client.send(new UploadPartCommand({ ...part, ...checksumOf(session, PROBE, crc) }), { abortSignal })).ETag
  })
  // What the store made of the condition, if it completed the upload.
  const outcome = (): Support => (session.store.has('conditionalComplete') ? 'ignored' : 'refused')
  let unanswered: Support | undefined
  const onUnanswered = (): void => void (unanswered = outcome())
  let support: Support
  try {
    await completeUpload(session, { ...upload, key, parts: [{ PartNumber: 1, ETag, crc32: crc }], signal, onUnanswered })
    support = outcome()
  } catch (error) {
    // If the answer was lost, the repetition finds no upload: it was completed.
    const found = isHonoured(error) ? 'honoured' : isMissing(error) ? unanswered : undefined
    if (found === undefined) throw error
    support = found
  }
  session.store.learn('conditionalComplete', support)
}

async function checkRead(session: S3Session, { key, signal }: Probe): Promise<void> {
  const content = await readSmall(session, { key, maxBytes: PROBE.byteLength, signal })
  if (content !== undefined && PROBE.every((byte, index) => content[index] === byte)) return
  throw new DestinationUnreachableError(`Cannot read "s3://${session.config.bucket}/${key}" back: its bytes are not those that were written`)
}

/** Finds out whether the store accepts content with a wrong checksum. */
async function tryWrongChecksum(session: S3Session, { key, signal }: Probe): Promise<void> {
  const request: S3RequestOptions = { operation: 'write', key, signal }
  const object = { Bucket: session.config.bucket, Key: key, Body: PROBE, ...attributesOf(session.config) }
  const wrong = { ...object, ...checksumOf(session, PROBE, crc32(PROBE.subarray(1))) }
  const isAccepted = await session.send(request, async (client, abortSignal) => {
    try {
      await client.send(new PutObjectCommand(wrong), { abortSignal })
      return true
    } catch (thrown) {
      // Elsewhere an answer that says "damaged" is tried again; here it is the right answer.
      const { error, isTransient, isExpired } = await session.explain(thrown, request)
      const isRight = !isTransient && !isExpired && [400, 409, 412, 422].includes(s3StatusOf(error) ?? 0)
      if (isRight || error.details['reason'] === 'damaged_in_transit') return false
      throw thrown
    }
  })
  if (session.config.checksums === 'auto') session.store.learn('checksums', isAccepted ? 'ignored' : 'honoured')
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
    if (!isMissing(error) && !isRefused(error)) throw error
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
    if (s3StatusOf(error) === 403 || isRefused(error)) {
      return [{ code: 'lifecycle_unknown', message: `Cannot see whether bucket "${bucket}" has a lifecycle rule that ends incomplete uploads (s3:GetLifecycleConfiguration)` }]
    }
    if (!isMissing(error)) throw error
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

/** Whether the store refused a write because of its condition: the key exists, or is being written. */
function isHonoured(error: unknown): boolean {
  return isTaken(error) || s3CodeOf(error) === 'ConditionalRequestConflict'
}
