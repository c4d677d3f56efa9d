/** A snapshot of a store on its way to a destination: payload, payload IDs, manifest, published. */
import type { Backupable, Compression, SnapshotSummary } from '../contracts/backupable.ts'
import type { BackupUpload, Destination } from '../contracts/destination.ts'
import { undoOnError } from '../errors/clean-up.ts'
import type { PayloadIdSet } from '../payload-ids/payload-id-set.ts'
import type { Manifest } from '../contracts/manifest.ts'
import { encodeManifest, manifestOf } from '../format/manifest.ts'
import { takeSnapshot } from './take-snapshot.ts'

export interface UploadBackupOptions {
  readonly store: Backupable
  readonly destination: Destination
  readonly backupId: string
  readonly labels: Readonly<Record<string, string>>
  readonly compress?: Compression | undefined
  readonly signal?: AbortSignal | undefined
  readonly maxBytesPerSecond?: number | undefined
  /** Called with the payload IDs of the snapshot before they are written; what it rejects with ends the upload. */
  readonly onPayloadIds: (payloadIds: PayloadIdSet) => Promise<void>
  /** Called before each phase; what it rejects with ends the upload. */
  readonly onPhase: (phase: 'payload-ids' | 'publish', summary: SnapshotSummary) => Promise<void>
  /** Called after each write, which waits for it. */
  readonly onWritten: (progress: { readonly bytes: number; readonly records: number }) => Promise<void>
}

export interface UploadedBackup {
  readonly manifest: Manifest
  readonly manifestBytes: Uint8Array
}

/** Publishes a backup, or rejects with nothing of it left at the destination; when that could not be removed, the error says so. */
export async function uploadBackup(options: UploadBackupOptions): Promise<UploadedBackup> {
  const { destination, backupId, signal } = options
  const upload = await destination.put(backupId, { signal })
  return await undoOnError(() => fillAndPublish(upload, options), () => upload.abort(), `what was uploaded of ${backupId} could not be removed, which a later backup does`)
}

async function fillAndPublish(upload: BackupUpload, options: UploadBackupOptions): Promise<UploadedBackup> {
  const { store, backupId, compress, labels, signal, maxBytesPerSecond, onPayloadIds, onPhase, onWritten } = options
  let bytes = 0
  let records = 0
  const write = async (chunk: Uint8Array): Promise<void> => {
    await upload.write('payload', chunk)
    bytes += chunk.byteLength
    await onWritten({ bytes, records })
  }
  const { summary, payloadIds } = await takeSnapshot(store, { write, onRecords: (count) => (records = count), backupId, compress, signal, maxBytesPerSecond })
  let payloadIdsBytes = 0
  try {
    await onPhase('payload-ids', summary)
    await onPayloadIds(payloadIds)
    payloadIdsBytes = await writePayloadIds(upload, payloadIds, options)
  } finally {
    await payloadIds.close()
  }
  const manifest = manifestOf(summary, { backupId, labels, payloadIdsBytes })
  const manifestBytes = encodeManifest(manifest)
  await onPhase('publish', summary)
  signal?.throwIfAborted()
  await upload.publish(manifestBytes)
  return { manifest, manifestBytes }
}

async function writePayloadIds(upload: BackupUpload, payloadIds: PayloadIdSet, { signal, onWritten }: UploadBackupOptions): Promise<number> {
  let bytes = 0
  for await (const chunk of payloadIds.encoded()) {
    signal?.throwIfAborted()
    await upload.write('payload-ids', chunk)
    bytes += chunk.byteLength
    await onWritten({ bytes, records: payloadIds.size })
  }
  return bytes
}
