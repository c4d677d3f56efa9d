/** Fills a store from a backup, and compares its content with the manifest. */
import { isDeepStrictEqual } from 'node:util'
import type { Backupable, SnapshotSummary } from '../contracts/backupable.ts'
import { closing } from '../errors/clean-up.ts'
import { ChecksumMismatchError, InternalError } from '../errors/errors.ts'
import { type Manifest, recordCount } from '../contracts/manifest.ts'
import type { StoredBackup } from './stored-backup.ts'

export interface ContentOptions {
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: { readonly bytes: number; readonly totalBytes: number; readonly records: number }) => void) | undefined
}

/**
 * Restores a backup's stream into an empty store. Its end is withheld unless the count and SHA-256 of its bytes match the
 * manifest. Rejects with `restore_corrupt`, `checksum_mismatch` or `backup_incomplete`; the store is empty then.
 */
export async function fillFromBackup(store: Backupable, backup: StoredBackup, { signal, onProgress }: ContentOptions = {}): Promise<void> {
  const totalBytes = backup.manifest.payload.bytes
  let bytes = 0
  let isWhole = false
  const payload = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of backup.payload({ signal })) {
      bytes += chunk.byteLength
      yield chunk
    }
    isWhole = true
  }
  await store.restore(payload(), { signal, onProgress: ({ records }) => onProgress?.({ bytes, totalBytes, records }) })
  if (!isWhole) throw new InternalError(`Cannot trust the restored engine: the store read only ${bytes} of ${totalBytes} bytes`)
}

/**
 * Reads a restored store through its own `backup`, and compares the names of the sections, the records of each and the payload-ID set with
 * the manifest. Of archives the records are counted together: which partition a row is in may differ between databases. Rejects with
 * `checksum_mismatch`, with what the backup of such a store rejects with, and with the signal's reason.
 */
export async function checkRestored(store: Backupable, backup: StoredBackup, options: ContentOptions = {}): Promise<void> {
  const { manifest } = backup
  const { signal, onProgress } = options
  const totalBytes = manifest.payload.bytes
  let summary: SnapshotSummary | undefined
  const sink = {
    write: async (): Promise<void> => {},
    finish: async (written: SnapshotSummary): Promise<void> => {
      summary = written
    },
    returnsChunks: true,
  }
  const reading = store.backup(sink, { signal, onProgress: ({ bytes, records }) => onProgress?.({ bytes, totalBytes, records }) })
  const payloadIds = await reading.catch((error: unknown) => {
    throw backup.damageOf(error)
  })
  await closing(payloadIds, async () => {
    const counts = (records: Manifest['records']): unknown =>
      manifest.content === 'archive' ? { sections: Object.keys(records).toSorted(), all: recordCount({ records }) } : records
    const expected = { records: counts(manifest.records), payloadIds: { count: manifest.payloadIds.count, digest: manifest.payloadIds.set } }
    const actual = { records: counts(summary?.records ?? {}), payloadIds: { count: payloadIds.size, digest: payloadIds.digest } }
    if (isDeepStrictEqual(expected, actual)) return
    throw new ChecksumMismatchError(`Cannot use the engine restored from backup ${manifest.backupId}: its content differs from the manifest`, {
      details: { expected, actual },
    })
  })
}
