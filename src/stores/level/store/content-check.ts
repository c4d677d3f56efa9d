/** Checks the stream of a metadata store by the rules that its restore applies, without a store. */
import { type Manifest, hasSections } from '../../../contracts/manifest.ts'
import { INODE_TYPES, type InodeType } from '../../../contracts/metadata-store.ts'
import { type Value, columnsOf } from '../../../format/records.ts'
import type { ContentCheck, FrameSource } from '../../../format/snapshot-reader.ts'
import { PayloadIdSetBuilder } from '../../../payload-ids/payload-id-set.ts'
import { type PairCursor, SortedPairs } from '../../../util/sorted-pairs.ts'
import { keySpans } from '../engine/key-spans.ts'
import { checkCount } from '../engine/payload-id-counter.ts'
import { checkHeader, sectionRecords } from '../engine/read-snapshot.ts'
import { inodeOfKey, SECTION_NAMES, SECTIONS, STORE_KEYS } from './keys.ts'
import { countFrames, payloadIds } from './payload-ids-of-record.ts'
import { SCHEMA_VERSION } from './records.ts'

const KINDS: readonly string[] = ['memory', 'level']

/** Whether a backup has the records of a Memory or LevelDB store of this release; a database of an embedder has other sections. */
export function isOfMetadataStore(manifest: Manifest): boolean {
  return KINDS.includes(manifest.storeKind) && manifest.schemaVersion === SCHEMA_VERSION && hasSections(manifest, SECTION_NAMES)
}

/** The check for a backup of a Memory or LevelDB store; `undefined` for the records of others. */
export function contentCheckOf(manifest: Manifest): ContentCheck | undefined {
  return isOfMetadataStore(manifest) ? (source) => checkMetadata(source, (manifest.records['locks'] ?? 0) > 0) : undefined
}

/**
 * Checks every record, the order of keys, the index of references, and the tree that the records make.
 * Rejects with `store_kind_mismatch`, `restore_corrupt`, `record_invalid` and `store_inconsistent`, as RECORDS.md says.
 */
async function checkMetadata(source: FrameSource, hasLocks: boolean): ReturnType<ContentCheck> {
  checkHeader(source.header, { storeKind: 'level', accepts: KINDS, schemaVersion: SCHEMA_VERSION, sections: SECTIONS })
  const counter = countFrames({})
  const builder = new PayloadIdSetBuilder()
  const types = new SortedPairs()
  const find = finder(types)
  try {
    for await (const [frame, found] of sectionRecords(source, keySpans(SECTIONS, STORE_KEYS))) {
      const records = found.map(([key, value]) => [asText(key), asText(value)] as const)
      for (const [key, value] of records) for (const payloadId of payloadIds(key, value)) builder.add(payloadId)
      const name = SECTION_NAMES[frame.section] ?? ''
      if (hasLocks && name === 'inodes') for (const [key, value] of records) types.add(inodeOfKey(key), INODE_TYPES.findIndex((type) => value.startsWith(recordOf(type))))
      await counter.add({ name, records, columns: () => columnsOf(frame.data), lookup: async (keys) => keys.map(find) })
    }
    const set = await builder.finish()
    await set.close()
    checkCount(counter, set.size)
    return { count: set.size, digest: set.digest }
  } finally {
    counter.close?.()
    types.close()
    await builder.close()
  }
}

/** Finds the beginning of an inode's record by its key, which is not less than the one before; for locks, which come after all inodes. */
function finder(types: SortedPairs): (key: string) => string | undefined {
  let cursor: PairCursor | undefined
  return (key) => {
    const inode = inodeOfKey(key)
    cursor ??= types.sorted()
    while (cursor.key < inode) cursor.next()
    return cursor.key === inode ? recordOf(INODE_TYPES[cursor.value]) : undefined
  }
}

function recordOf(type: InodeType | undefined): string {
  return `{"type":"${type}"`
}

/** Valid records are ASCII, so that a byte beyond becomes a character that no record has. */
function asText(part: Value): string {
  return typeof part === 'string' ? part : Buffer.from(part.buffer, part.byteOffset, part.byteLength).toString('latin1')
}
