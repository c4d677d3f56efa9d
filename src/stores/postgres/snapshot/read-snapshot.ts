/** One restore into an empty schema, start to end; the same on the calling thread and in a worker. */
import type { SnapshotSource } from '../../../contracts/backupable.ts'
import {
  RestoreCorruptError, RestoreDestinationNotEmptyError, RestoreInProgressError, SchemaVersionMismatchError, StoreKindMismatchError,
  StoreUnavailableError,
} from '../../../errors/errors.ts'
import { messageOf } from '../../../errors/error-message.ts'
import { PayloadIdSetBuilder } from '../../../payload-ids/payload-id-set.ts'
import { type SnapshotReader, openSnapshot } from '../../../format/snapshot-reader.ts'
import { type ArchivedSchema, type SequenceValue } from './archive.ts'
import { ArchiveReader, checkRows } from './archive-reader.ts'
import { tryLock } from '../connection/advisory-locks.ts'
import { type PostgresPool, quoteName } from '../connection/client.ts'
import type { CopyIn } from '../connection/copy-in.ts'
import { type FoundSchema, differenceOf, findParents, findRoots, findSchema } from './definition.ts'
import { CONFIRMED_IN_TIME, settingsStatement } from '../connection/settings.ts'
import { type FailureOptions, sqlStateOf } from '../connection/server-errors.ts'
import { checkRowsFit } from './find-fault.ts'
import { readPayloadIds } from './payload-id-query.ts'
import type { Connection } from '../connection/connection.ts'
import { type SnapshotScope, openTransaction } from './open-transaction.ts'
import { RestoreTarget } from './target.ts'

export interface ReadSnapshotOptions extends SnapshotScope {
  /** An advisory lock that is taken shared; a session that holds it exclusively keeps restores out. */
  readonly writersLock?: readonly [number, number] | undefined
}

/** What sorting payload IDs may take of the server's memory; and all that a restore is sent is read at once. */
const SETTINGS = { work_mem: '64MB', ...CONFIRMED_IN_TIME }
/** Where the connection broke in the COMMIT. */
const UNKNOWN_HINT = 'Look whether the schema holds data before trying again: the connection broke while the restore was committed, and it holds all of the snapshot, or nothing'
/** SQLSTATE: a value beyond what the sequence can have. */
const OUT_OF_RANGE = '22003'
/** First half of the key of the lock that only one restore of a schema has; the other half is the schema's OID. */
const LOCK_SPACE = 0x486f6c64

/** Fills the schema in one transaction: it is empty until all of the snapshot is in it and was checked. */
export async function readSnapshot(pool: PostgresPool, source: SnapshotSource, options: ReadSnapshotOptions): Promise<void> {
  const { schema, interrupt } = options
  const badData = options.definition === undefined ? 'corrupt-or-target' : 'corrupt'
  const failures: FailureOptions = { action: `Cannot restore into the schema "${schema}"`, badData }
  const session = await openTransaction(pool, { ...options, begin: ['BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE'], settings: SETTINGS, failures })
  const restoring = restore(session, source, options)
  try {
    await interrupt.race(restoring)
    interrupt.check()
  } catch (error) {
    await session.giveUp()
    await Promise.allSettled([restoring])
    throw error
  }
  await session.commit(UNKNOWN_HINT)
}

async function restore(session: Connection, source: SnapshotSource, options: ReadSnapshotOptions): Promise<void> {
  await lockSchema(session, options)
  const found = await findSchema(session, options)
  const target = new RestoreTarget(session, { schema: options.schema, tables: found.tables, parents: await findParents(session, options) })
  if (await target.isPopulated()) throw new RestoreDestinationNotEmptyError()
  await target.lock(options.lockTimeoutMs)
  if (await target.isPopulated()) throw new RestoreDestinationNotEmptyError()
  const reader = await openSnapshot(source)
  try {
    checkHeader(reader.header, options)
    await fill(session, { ...options, reader, target, found })
  } finally {
    await reader.close()
  }
}

interface FillOptions extends ReadSnapshotOptions {
  readonly reader: SnapshotReader
  readonly target: RestoreTarget
  readonly found: FoundSchema
}

async function fill(session: Connection, options: FillOptions): Promise<void> {
  const { reader, target, found, interrupt, onProgress } = options
  const progress = { bytes: 0, records: 0 }
  const archive = new ArchiveReader(reader, ({ data, records }) => {
    interrupt.check()
    progress.bytes += data.byteLength
    progress.records += records
    onProgress?.({ ...progress })
  })
  const { schema, sequences } = await archive.readHead()
  checkDefinition(schema, found, options)
  if (schema.moneyLocale !== undefined) await session.rows(settingsStatement({ lc_monetary: schema.moneyLocale }, { isLocal: true }))
  await target.prepare()
  const copied = await copyRows(session, archive, { ...options, archived: schema })
  for (const [index, rows] of archive.rows().entries()) checkRows(schema.tables[index], { expected: rows, actual: copied[index] })
  await target.complete()
  await setSequences(session, options.schema, sequences)
  await checkRowsFit(session, options.faultQuery)
  await checkPayloadIds(session, options)
}

/** One restore at a time: the next is refused rather than kept waiting. The lock ends with the transaction. */
async function lockSchema(session: Connection, { schema, writersLock }: ReadSnapshotOptions): Promise<void> {
  if (writersLock !== undefined && !(await tryLock(session, writersLock, { isShared: true, until: 'transaction' }))) {
    throw new RestoreInProgressError(`Cannot restore into the schema "${schema}": its writers are held off`)
  }
  const [row] = await session.rows<{ locked: boolean }>(
    'SELECT pg_try_advisory_xact_lock($1, oid::int8::bit(32)::int4) AS locked FROM pg_namespace WHERE nspname = $2',
    [LOCK_SPACE, schema],
  )
  if (row === undefined) throw new StoreUnavailableError(`Cannot restore into the schema "${schema}": it does not exist`)
  if (!row.locked) throw new RestoreInProgressError(`Cannot restore into the schema "${schema}": another restore is filling it`)
}

function checkHeader(header: SnapshotReader['header'], { storeKind, schemaVersion }: ReadSnapshotOptions): void {
  if (header.storeKind !== storeKind) {
    throw new StoreKindMismatchError(`Cannot restore a snapshot of a "${header.storeKind}" store into a "${storeKind}" store`, {
      details: { expected: [storeKind], actual: header.storeKind },
    })
  }
  if (header.schemaVersion !== schemaVersion) {
    throw new SchemaVersionMismatchError(
      `Cannot restore a snapshot of schema version ${header.schemaVersion} into a store of schema version ${schemaVersion}`,
      { details: { expected: schemaVersion, actual: header.schemaVersion } },
    )
  }
}

function checkDefinition(archived: ArchivedSchema, found: FoundSchema, { schema, schemaVersion }: ReadSnapshotOptions): void {
  const difference = differenceOf(archived, found, { wanted: 'the snapshot', actual: 'the store' })
  if (difference === undefined) return
  throw new SchemaVersionMismatchError(`Cannot restore into the schema "${schema}": ${difference}, though both are of schema version ${schemaVersion}`, {
    hint: 'Restore into a schema made by the version of the server that wrote the backup',
    details: { expected: schemaVersion, actual: schemaVersion, difference },
  })
}

/**
 * Copies all rows; gives the number of each table's. Rows of partitions go in where all of them do: which partition is theirs may depend on
 * what differs between databases, such as the hash of an enum, or the order of a collation.
 */
async function copyRows(session: Connection, archive: ArchiveReader, options: FillOptions & { readonly archived: ArchivedSchema }): Promise<readonly number[]> {
  const { archived, target, schema } = options
  const copied = archived.tables.map(() => 0)
  const roots = await findRoots(session, options)
  let running: { readonly table: number; readonly copy: CopyIn } | undefined
  const end = async (): Promise<void> => {
    if (running !== undefined) copied[running.table] = await running.copy.end()
  }
  for await (const { table, bytes } of archive.slices()) {
    if (running?.table !== table) {
      await end()
      const { name = '', columns = [], format = 'binary' } = archived.tables[table] ?? {}
      const into = roots.get(name) ?? name
      const list = columns.length === 0 ? '' : ` (${columns.map((column) => quoteName(column.name)).join(', ')})`
      // The server does not freeze the rows of partitions.
      const freeze = target.isFresh && into === name ? ', FREEZE' : ''
      running = { table, copy: session.copyIn(`COPY ${quoteName(schema)}.${quoteName(into)}${list} FROM STDIN (FORMAT ${format}${freeze})`) }
    }
    await running.copy.write(bytes)
  }
  await end()
  return copied
}

/** Undone with the transaction: a sequence that is restarted in it is a new one until it ends. */
async function setSequences(session: Connection, schema: string, sequences: readonly SequenceValue[]): Promise<void> {
  for (const { name, lastValue, isCalled } of sequences) {
    const path = `${quoteName(schema)}.${quoteName(name)}`
    await session.rows(`ALTER SEQUENCE ${path} RESTART`)
    await session.rows('SELECT setval($1::regclass, $2::int8, $3)', [path, lastValue, isCalled]).catch((error: unknown) => {
      if (sqlStateOf(error) !== OUT_OF_RANGE) throw error
      throw new SchemaVersionMismatchError(messageOf(error), {
        cause: error,
        hint: `Give the sequence "${name}" of the target the bounds that it had when it was backed up`,
      })
    })
  }
}

/** What the rows refer to must be what the rows of the source referred to. */
async function checkPayloadIds(session: Connection, { reader, payloadIdsQuery, spillDirectory }: FillOptions): Promise<void> {
  const builder = new PayloadIdSetBuilder({ spillDirectory })
  try {
    await readPayloadIds(session, { query: payloadIdsQuery, builder })
    const restored = await builder.finish()
    await restored.close()
    const expected = reader.trailer?.payloadIds
    if (restored.size === expected?.count && restored.digest === expected.digest) return
    throw new RestoreCorruptError(`Cannot restore the snapshot: what was restored refers to ${restored.size} payloads, and not to the ${expected?.count} of the snapshot`, {
      details: { expected, actual: { count: restored.size, digest: restored.digest } },
    })
  } finally {
    await builder.close()
  }
}
