/** Removes what interrupted uploads and deletes left. */
import { BACKUP_OBJECTS, type CleanUpOptions, type CleanUpReport } from '../../src/contracts/destination.ts'
import { lastPartAtMs, listEntries, listPendingUploads, type S3Entry, type S3PendingUpload } from './listing.ts'
import { lookAt, remove } from './objects.ts'
import type { S3Session } from './session.ts'
import { keyOf, MANIFEST_NAME } from './upload.ts'
import { abortUpload } from './writer.ts'

/** Objects and pending uploads under an ID that is not a published backup. */
interface Leftover {
  readonly keys: string[]
  readonly uploads: S3PendingUpload[]
  /** The time of the youngest of them. */
  modifiedAtMs: number
  isForeign: boolean
}

const DAY_MS = 24 * 60 * 60 * 1000
const OWN_NAMES: readonly string[] = BACKUP_OBJECTS

/**
 * Removes leftovers that were not written to within the grace time: objects of IDs without a manifest, and pending uploads of any ID.
 *
 * The parts of an upload count as writes, so that an upload may take longer than the grace time.
 * An ID with any other object under it is left alone.
 */
export async function removeLeftovers(session: S3Session, options: CleanUpOptions = {}): Promise<CleanUpReport> {
  const { graceMs = DAY_MS, nowMs = Date.now(), signal } = options
  const removed: string[] = []
  const kept: string[] = []
  const { leftovers, newest } = await look(session, signal)
  for (const [backupId, leftover] of [...leftovers].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const isYoung = (): boolean => nowMs - leftover.modifiedAtMs < graceMs
    if (!isYoung()) await lookAtParts(session, leftover, signal)
    if (isYoung()) kept.push(backupId)
    else if (await removeLeftover(session, backupId, { leftover, signal })) removed.push(backupId)
  }
  return { removed, kept, newest }
}

/** Finds the leftovers, and the newest backup that is listed. */
async function look(
  session: S3Session,
  signal: AbortSignal | undefined,
): Promise<{ readonly leftovers: ReadonlyMap<string, Leftover>; readonly newest: string | null }> {
  let newest: string | null = null
  const found = new Map<string, Leftover>()
  const published = new Set<string>()
  const leftoverOf = ({ backupId, name, modifiedAtMs }: S3Entry): Leftover => {
    const leftover = found.get(backupId) ?? { keys: [], uploads: [], modifiedAtMs: 0, isForeign: false }
    leftover.modifiedAtMs = Math.max(leftover.modifiedAtMs, modifiedAtMs)
    leftover.isForeign ||= !OWN_NAMES.includes(name)
    found.set(backupId, leftover)
    return leftover
  }
  // Uploads first: an upload that becomes an object meanwhile is then seen twice rather than not at all.
  for await (const upload of listPendingUploads(session, signal)) leftoverOf(upload).uploads.push(upload)
  for await (const entry of listEntries(session, signal)) {
    if (entry.name === MANIFEST_NAME) {
      published.add(entry.backupId)
      if (newest === null || entry.backupId > newest) newest = entry.backupId
      found.get(entry.backupId)?.keys.splice(0)
    } else if (!published.has(entry.backupId)) {
      leftoverOf(entry).keys.push(entry.key)
    }
  }
  for (const [backupId, { keys, uploads, isForeign }] of found) if (isForeign || keys.length + uploads.length === 0) found.delete(backupId)
  return { leftovers: found, newest }
}

async function lookAtParts(session: S3Session, leftover: Leftover, signal: AbortSignal | undefined): Promise<void> {
  for (const upload of leftover.uploads) {
    leftover.modifiedAtMs = Math.max(leftover.modifiedAtMs, (await lastPartAtMs(session, upload, signal)) ?? 0)
  }
}

/** Removes a leftover. Resolves with whether there was anything to remove. */
async function removeLeftover(
  session: S3Session,
  backupId: string,
  { leftover, signal }: { readonly leftover: Leftover; readonly signal: AbortSignal | undefined },
): Promise<boolean> {
  for (const { key, uploadId } of leftover.uploads) await abortUpload(session, { key, uploadId, signal })
  // The list may be older than the manifest: look at the manifest itself.
  const isPublished = leftover.keys.length > 0 && (await lookAt(session, keyOf(session, backupId, MANIFEST_NAME), signal)) !== undefined
  if (!isPublished) for (const key of leftover.keys) await remove(session, key, signal)
  return leftover.uploads.length > 0 || !isPublished
}
