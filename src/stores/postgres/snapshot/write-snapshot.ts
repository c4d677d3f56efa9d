/** One snapshot of a schema, start to end; the same on the calling thread and in a worker. */
import type { BackupOptions, SnapshotProgress, SnapshotSink } from '../../../contracts/backupable.ts'
import { type PayloadIdSet, PayloadIdSetBuilder } from '../../../payload-ids/payload-id-set.ts'
import type { Allocate } from '../../../format/frame.ts'
import { SnapshotWriter } from '../../../format/snapshot-writer.ts'
import { undoOnError } from '../../../errors/clean-up.ts'
import { SchemaVersionMismatchError } from '../../../errors/errors.ts'
import { directoriesOf, planSections } from './archive.ts'
import { ArchiveWriter } from './archive-writer.ts'
import type { PostgresPool } from '../connection/client.ts'
import { CopyRunner, copyRanges } from './copy-ranges.ts'
import { differenceOf } from './definition.ts'
import { checkRowsFit } from './find-fault.ts'
import { readPayloadIds } from './payload-id-query.ts'
import { ReferenceTally, checkReferences } from './reference-count.ts'
import { type SchemaViewOptions, SchemaView } from './schema-view.ts'
import type { Connection } from '../connection/connection.ts'
import { type SnapshotScope, LET_GO } from './open-transaction.ts'
import { type Pace, strideOf } from './pace.ts'

export interface WriteSnapshotOptions extends SnapshotScope, SchemaViewOptions, Pick<BackupOptions, 'backupId' | 'compress'> {
  readonly pace: Pace
  /** Counts what that gives by another way. @default nothing does */
  readonly countQuery: string | undefined
  readonly storeId: string
  /** Where the memory of frames comes from. @default fresh memory */
  readonly allocate?: Allocate | undefined
}

/** Writes the stream and resolves with the set of payload IDs, taken from the same snapshot. */
export async function writeSnapshot(pool: PostgresPool, sink: SnapshotSink, options: WriteSnapshotOptions): Promise<PayloadIdSet> {
  const view = await SchemaView.open(pool, options)
  const builder = new PayloadIdSetBuilder({ spillDirectory: options.spillDirectory })
  try {
    checkDefinition(view, options)
    const payloadIds = await writeView(view, sink, { ...options, builder })
    await undoOnError(() => view.close(), () => payloadIds.close())
    return payloadIds
  } catch (error) {
    view.destroy()
    throw error
  } finally {
    await builder.close()
  }
}

/** What no restore would accept is not worth a backup. */
function checkDefinition({ state }: SchemaView, { schema, schemaVersion, definition }: WriteSnapshotOptions): void {
  if (definition === undefined) return
  const difference = differenceOf(definition, state.found, { wanted: `a metadata store of version ${schemaVersion}`, actual: 'the schema' })
  if (difference === undefined) return
  throw new SchemaVersionMismatchError(`Cannot back up the schema "${schema}": ${difference}`, {
    hint: 'Drop what was added by hand, or move it into a schema of its own: no metadata store would take the backup',
    details: { expected: schemaVersion, actual: schemaVersion, difference },
  })
}

type ViewOptions = WriteSnapshotOptions & { readonly builder: PayloadIdSetBuilder }

async function writeView(view: SchemaView, sink: SnapshotSink, options: ViewOptions): Promise<PayloadIdSet> {
  const { found, sizes, pageBytes, sequences } = view.state
  const { schema, backupId, compress, storeKind, storeId, schemaVersion, interrupt, allocate, onProgress, builder } = options
  const directories = directoriesOf(found.tables)
  const tables = found.tables.map(({ name, columns, format }, index) => ({ name, directory: directories[index] ?? '', format, columns }))
  const sections = planSections(tables)
  const writer = new SnapshotWriter(sink, {
    backupId,
    compress,
    storeKind,
    storeId,
    schemaVersion,
    sections: sections.names,
    createdAtMs: view.state.openedAtMs,
    content: 'archive',
  })
  // Rows take about as much in the stream as in pages; values that are stored out of line come on top.
  const totalBytes = sizes.reduce((sum, { pages }) => sum + pages, 0) * pageBytes
  const tell = onProgress && ((progress: SnapshotProgress): void => onProgress({ ...progress, totalBytes: Math.max(totalBytes, progress.bytes) }))
  const archive = new ArchiveWriter(writer, { schema: { tables, sequences: found.sequences }, sections, allocate, onProgress: tell })
  const { bytes, isAhead } = strideOf(options)
  const runner = new CopyRunner(copyRanges(sizes, { schema, pageBytes, bytes }), { isAhead, interrupt })
  const reading = view.read(runner, (session) => readReferences(session, options))
  // Its failure reaches every wait through the interrupt, and is thrown below.
  reading.catch((error: unknown) => interrupt.fail(error))
  await writer.start()
  await archive.start(sequences)
  for await (const { range, copy } of runner.copies()) {
    for (let piece = await copy.next(); piece !== undefined; piece = await copy.next()) await archive.addRows(range.table, piece)
  }
  await archive.finish()
  await interrupt.race(reading)
  await view.check()
  const payloadIds = await builder.finish()
  await undoOnError(() => writer.finish({ count: payloadIds.size, digest: payloadIds.digest }), () => payloadIds.close())
  return payloadIds
}

async function readReferences(session: Connection, { schema, payloadIdsQuery, countQuery, faultQuery, builder, pace }: ViewOptions): Promise<void> {
  const tally = countQuery === undefined ? undefined : new ReferenceTally()
  await readPayloadIds(session, { query: payloadIdsQuery, isGentle: pace === 'gentle', builder, tally })
  await session.rows(LET_GO)
  if (countQuery !== undefined && tally !== undefined) await checkReferences(session, { schema, query: countQuery, tally })
  await session.rows(LET_GO)
  // Other sessions need the server's processors.
  if (pace === 'gentle') await session.rows('SET LOCAL max_parallel_workers_per_gather = 0')
  await checkRowsFit(session, faultQuery)
}
