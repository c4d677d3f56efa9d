/** The records of a metadata store's backup, as text, read from its stream without restoring it. */
import { BackupUnsupportedError } from '../../errors.ts'
import type { Manifest } from '../../snapshot/manifest.ts'

/** Records of one section, in key order; decoded when asked for, so that sections nobody looks at cost little. */
export interface RecordBatch {
  readonly section: string
  records(): readonly (readonly [string | Uint8Array, string | Uint8Array])[]
}

/** Starts reading a backup from its beginning; what is read is checked, to the end of the stream. */
export type OpenRecords = () => AsyncIterable<RecordBatch>

/** Rejects backups whose records the command line cannot tell the meaning of. */
export function refuseForeignRecords(manifest: Manifest): void {
  if (manifest.storeKind === 'level' || manifest.storeKind === 'memory') return
  throw new BackupUnsupportedError(`Cannot look into backup "${manifest.backupId}": it is of a store of kind "${manifest.storeKind}"`, {
    hint: 'Only backups of Holdfast\'s own Memory and LevelDB metadata stores can be looked into; restore it to see what it holds',
  })
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
