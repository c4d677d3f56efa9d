/** The records of a metadata store's backup, as text, read from its stream without restoring it. */
import { BackupUnsupportedError } from '../../errors.ts'
import type { Destination } from '../../destination.ts'
import { type Manifest, parseManifest } from '../../snapshot/manifest.ts'
import { decodeRecords, openSnapshot } from '../../snapshot/snapshot-reader.ts'
import { SCHEMA_VERSION } from '../../stores/level/records.ts'
import { chooseBackup } from '../backup-choice.ts'

/** Records of one section, in key order; decoded when asked for, so that sections nobody looks at cost little. */
export interface RecordBatch {
  readonly section: string
  records(): readonly (readonly [string | Uint8Array, string | Uint8Array])[]
}

/** Starts reading a backup from its beginning; what is read is checked, to the end of the stream. */
export type OpenRecords = () => AsyncIterable<RecordBatch>

/** Finds a backup and makes its records readable, as often as needed. Rejects with `backup_unsupported` for records whose meaning is not known. */
export async function openBackupRecords(
  destination: Destination,
  id: string,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<{ readonly backupId: string; readonly manifest: Manifest; readonly open: OpenRecords }> {
  const backupId = await chooseBackup(destination, id, options)
  const manifest = parseManifest(await destination.manifest(backupId, options), backupId)
  const { storeKind, schemaVersion } = manifest
  if ((storeKind !== 'level' && storeKind !== 'memory') || schemaVersion !== SCHEMA_VERSION) {
    throw new BackupUnsupportedError(`Cannot look into backup "${backupId}": it is of a store of kind "${storeKind}", schema version ${schemaVersion}`, {
      hint: "Only backups of this release's Memory and LevelDB metadata stores can be looked into; restore it to see what it holds",
    })
  }
  return { backupId, manifest, open: () => readBatches(destination, backupId, options) }
}

async function* readBatches(destination: Destination, backupId: string, options: { readonly signal?: AbortSignal | undefined }): AsyncIterable<RecordBatch> {
  const reader = await openSnapshot(destination.open(backupId, 'payload', options), options)
  try {
    for await (const frame of reader.frames()) {
      yield { section: reader.header.sections[frame.section] ?? '', records: () => decodeRecords(frame) }
    }
  } finally {
    await reader.close()
  }
}

/** The records of some sections, one by one, as text. */
export async function* recordsOf(open: OpenRecords, sections: ReadonlySet<string>): AsyncIterable<readonly [key: string, value: string]> {
  for await (const batch of open()) {
    if (!sections.has(batch.section)) continue
    for (const [key, value] of batch.records()) yield [asText(key), asText(value)]
  }
}

function asText(value: string | Uint8Array): string {
  return typeof value === 'string' ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString()
}
