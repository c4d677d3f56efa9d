/** Restores a backup into a temporary store, to prove that it gives back what was backed up. */
import type { Backupable, SnapshotSummary } from '../contracts/backupable.ts'
import { afterwards } from '../errors/clean-up.ts'
import { ChecksumMismatchError, InternalError } from '../errors/errors.ts'
import { fillFromBackup } from './restore-content.ts'
import type { Manifest } from '../contracts/manifest.ts'
import { openSnapshot } from '../format/snapshot-reader.ts'
import { ContentDigest } from '../format/content-digest.ts'
import type { StoredBackup } from './stored-backup.ts'

/** A fresh, empty store of the backup's kind. */
export interface TrialStore extends Backupable {
  /** Closes and removes the store. */
  discard(): Promise<void>
}

export interface TrialOptions {
  readonly openTrial: (manifest: Manifest) => Promise<TrialStore>
  /** The digest of the stored records. */
  readonly content: ContentDigest
  readonly signal?: AbortSignal | undefined
  readonly onProgress: (step: 'trial-restore' | 'trial-check', progress: { readonly bytes: number; readonly records: number }) => void
}

const NOTHING = { bytes: 0, records: 0 }

/**
 * Restores a backup, reads the restored store, compares the two, and always removes the store. Rejects with `checksum_mismatch` and
 * `restore_corrupt`.
 */
export async function tryRestore(backup: StoredBackup, options: TrialOptions): Promise<void> {
  const store = await options.openTrial(backup.manifest)
  const trial = async (): Promise<void> => {
    await restoreAndCompare(store, backup, options).catch((error: unknown) => {
      throw backup.damageOf(error)
    })
  }
  await afterwards(trial, () => store.discard(), { left: 'the trial store could not be removed' })
}

async function restoreAndCompare(store: TrialStore, backup: StoredBackup, { content, signal, onProgress }: TrialOptions): Promise<void> {
  const { backupId, records, payloadIds } = backup.manifest
  onProgress('trial-restore', NOTHING)
  signal?.throwIfAborted()
  await fillFromBackup(store, backup, { signal, onProgress: (progress) => onProgress('trial-restore', progress) })
  onProgress('trial-check', NOTHING)
  signal?.throwIfAborted()
  const restored = await readStore(store, { signal, onProgress: (progress) => onProgress('trial-check', progress) })
  const differs = (what: string, expected: unknown, actual: unknown): ChecksumMismatchError =>
    new ChecksumMismatchError(`Cannot verify backup ${backupId}: a trial restore gives other ${what} than the backup has`, { details: { what, expected, actual } })
  for (const section of new Set([...Object.keys(records), ...Object.keys(restored.records)])) {
    if (records[section] !== restored.records[section]) throw differs(`numbers of records of "${section}"`, records[section], restored.records[section])
  }
  if (payloadIds.count !== restored.payloadIds.count || payloadIds.set !== restored.payloadIds.digest) {
    throw differs('payload IDs', { count: payloadIds.count, digest: payloadIds.set }, restored.payloadIds)
  }
  const section = content.differenceFrom(restored.content)
  if (section !== undefined) throw differs(`records of "${section}"`, undefined, undefined)
}

interface StoreContent {
  readonly records: SnapshotSummary['records']
  readonly payloadIds: SnapshotSummary['payloadIds']
  readonly content: ContentDigest
}

/** Reads a store through its own backup. */
async function readStore(
  store: Backupable,
  { signal, onProgress }: { readonly signal: AbortSignal | undefined; readonly onProgress: (progress: { readonly bytes: number; readonly records: number }) => void },
): Promise<StoreContent> {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
  const writer = writable.getWriter()
  // Both ends fail together: whichever fails first fails the other.
  writer.closed.catch(() => undefined)
  const writing = store.backup({ write: (chunk) => writer.write(chunk), finish: () => writer.close() }, { signal, onProgress }).catch(async (error: unknown) => {
    await writer.abort(error)
    throw error
  })
  const [written, read] = await Promise.allSettled([writing, digestSnapshot(readable)])
  if (written.status === 'fulfilled') await written.value.close()
  if (read.status === 'rejected') throw read.reason
  if (written.status === 'rejected') throw written.reason
  const { size: count, digest } = written.value
  if (count !== read.value.payloadIds.count || digest !== read.value.payloadIds.digest) {
    throw new InternalError('Cannot trust the trial store: the set of payload IDs that it returned differs from the one that it wrote')
  }
  return read.value
}

async function digestSnapshot(stream: ReadableStream<Uint8Array>): Promise<StoreContent> {
  const reader = await openSnapshot(stream)
  const content = new ContentDigest()
  for await (const frame of reader.frames()) content.add(frame, reader.header.sections[frame.section] ?? '')
  const { records, payloadIds } = reader.summary()
  return { records, payloadIds, content }
}
