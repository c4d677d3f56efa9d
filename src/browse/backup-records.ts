/** Reads the records of a metadata store's backup as text, without a restore. */
import { openRepository } from '../repository/repository.ts'
import type { RecordBatch } from '../repository/stored-backup.ts'
import { BackupUnsupportedError } from '../errors/errors.ts'
import type { Catalog } from '../contracts/catalog.ts'
import type { Destination } from '../contracts/destination.ts'
import type { Manifest } from '../contracts/manifest.ts'
import { isOfMetadataStore } from '../stores/level/store/content-check.ts'

/** Reads a backup from its beginning, and checks the stream to its end. */
export type OpenRecords = () => AsyncIterable<RecordBatch>

/** Where the backups are that are looked into. */
export interface BackupPlaceOptions {
  readonly destination: Destination
  /** The catalog whose record of the backup is compared. @default none */
  readonly catalog?: Catalog | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Finds a backup whose records can be read, any number of times. Rejects with `backup_unsupported` for records of an unknown kind, and as
 * opening a backup does.
 */
export async function openBackupRecords(
  id: string,
  { destination, catalog, ...options }: BackupPlaceOptions,
): Promise<{ readonly backupId: string; readonly manifest: Manifest; readonly open: OpenRecords }> {
  const repository = openRepository(destination, { catalog })
  const backup = await repository.open(await repository.resolve(id, options), options)
  const { backupId, manifest } = backup
  if (!isOfMetadataStore(manifest)) {
    const { storeKind, schemaVersion, records } = manifest
    const sections = Object.keys(records).slice(0, 5).join(', ')
    throw new BackupUnsupportedError(`Cannot look into backup "${backupId}": it is of a store of kind "${storeKind}", schema version ${schemaVersion}, with records of ${sections}`, {
      hint: "Restore the backup to see what is in it (restoreInto, for a database of your own); only backups of this release's Memory and LevelDB stores can be listed",
    })
  }
  return { backupId, manifest, open: () => backup.records(options) }
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
