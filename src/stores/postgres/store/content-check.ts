/** Checks an archive without a server, which alone can check the values in its rows. */
import type { ContentCheck, FrameSource } from '../../../format/snapshot-reader.ts'
import { PayloadIdSetBuilder } from '../../../payload-ids/payload-id-set.ts'
import { ArchiveReader } from '../snapshot/archive-reader.ts'
import type { ArchivedTable } from '../snapshot/archive.ts'
import { TABLES } from './queries.ts'

/** The column that refers to payloads, in three tables of a metadata store. */
const PAYLOAD_ID = 'payload_id'

/**
 * Checks the archive of a Postgres store: `restore_corrupt`. Gives the payload IDs of a metadata store; those of other schemas only a query
 * tells.
 */
export async function checkArchive(source: FrameSource): ReturnType<ContentCheck> {
  const archive = new ArchiveReader(source, () => undefined)
  const { tables } = (await archive.readHead()).schema
  const builder = new PayloadIdSetBuilder()
  try {
    const isKnown = isMetadata(tables)
    const values = isKnown ? { column: PAYLOAD_ID, take: (payloadId: string): void => builder.add(payloadId) } : undefined
    for await (const _ of archive.slices(values));
    archive.rows()
    if (!isKnown) return undefined
    const set = await builder.finish()
    await set.close()
    return { count: set.size, digest: set.digest }
  } finally {
    await builder.close()
  }
}

function isMetadata(tables: readonly ArchivedTable[]): boolean {
  return tables.map(({ name }) => name).join() === TABLES.toSorted().join() && tables.every(({ format }) => format === 'binary')
}
