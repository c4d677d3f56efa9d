/** Backs up and restores any schema of a Postgres database, from version 15 on. */
import type { Backupable, StoreKind } from '../../../contracts/backupable.ts'
import { checkedBackupable } from '../../../contracts/checked-calls.ts'
import { MAX_WAIT_MS, checkWholeNumber } from '../../../util/check-number.ts'
import { BOOLEAN, type Kind, NUMBER, type OptionKinds, STRING, checkArgument, checkOptions, listOf, optional } from '../../../util/check-options.ts'
import { Interrupt } from '../../../util/interrupt.ts'
import { listener } from '../../../util/listener.ts'
import { throttle } from '../../worker/rate-limit.ts'
import { Connection } from '../connection/connection.ts'
import { ANSWER_TIMEOUT_MS } from '../connection/answer-deadline.ts'
import { POOL, type PostgresClient, type PostgresPool } from '../connection/client.ts'
import type { SnapshotScope } from './open-transaction.ts'
import { readSnapshot } from './read-snapshot.ts'
import { PACE_OPTIONS, type Pace, type PaceOptions, checkPace } from './pace.ts'
import { type SessionIdentity, identityOf } from '../connection/settings.ts'
import { connectionOf, restoreInWorker, snapshotInWorker } from './workers.ts'
import { writeSnapshot } from './write-snapshot.ts'

export type { Pace as PostgresPace, PostgresClient, PostgresPool }

export interface PostgresBackupableOptions extends PaceOptions {
  /** The schema whose tables are backed up, all of them but those of `leaveOut`. Its name is not part of a backup. */
  readonly schema: string
  /**
   * A query that gives one column of text: every payload ID that the schema refers to, of 1 to 255 printable ASCII characters without
   * spaces. NULLs and repeated IDs are passed over. It runs in the snapshot of the backup, with the schema as its search path, and again
   * before a restore is committed. It need not sort; a B-tree on the column with `COLLATE "C"` spares the server doing so.
   */
  readonly payloadIds: string
  /**
   * A query that counts the references by another way than `payloadIds`. It gives one row: `count`, the number of rows other than NULL that
   * `payloadIds` gives, and where it can, `digest`, the sum of their hashes: `sum(hashtextextended(id COLLATE "C", 0))`. It runs in the
   * same snapshot, without indexes. A backup fails with `store_inconsistent` when the two differ: the count shows an ID that was not read,
   * the digest one that was read in place of another. The server computes both digests with the same function, so it does not matter what
   * the hash is. With two columns of IDs, add up their sums.
   * @default nothing is counted, and `payloadIds` alone must see to it that no ID is missing
   */
  readonly countPayloadIds?: string | undefined
  /** The version of what tables and columns mean; a snapshot of another one is refused. */
  readonly schemaVersion: number
  /**
   * A name for what the schema is, such as that of your server. Commands then do not take its backups for those of metadata stores, and a
   * snapshot of another kind is refused. @default "postgres"
   */
  readonly storeKind?: StoreKind | undefined
  /** The store's ID in a snapshot, one for each schema. @default "default" */
  readonly storeId?: string | undefined
  /**
   * Tables, sequences, materialized views and foreign tables that are not in a snapshot, and that a restore leaves as they are; and what
   * columns need from outside of the schema, with which a backup is refused otherwise: sequences, partitions and children in other schemas,
   * as "schema.name", and large objects, as "pg_catalog.pg_largeobject". @default none
   */
  readonly leaveOut?: readonly string[] | undefined
  /**
   * The key of an advisory lock that a restore takes shared, as the writers of the schema do: a session that holds it exclusively keeps all
   * of them out, a restore with `restore_in_progress`. @default none
   */
  readonly writersLock?: readonly [number, number] | undefined
  /** How long to wait for a table that is locked: by a migration when a backup begins, by any session during a restore. @default 10,000 */
  readonly lockTimeoutMs?: number | undefined
  /**
   * How long the server may be silent where something is waited for, in milliseconds. It is asked over one more connection then whether it
   * is at work, for a statement may rightly take long; where it is not, or does not say so in the same time, the backup or restore fails
   * with `store_unavailable`, to be tried again. A slow sink or source does not count as silence. @default 60,000
   */
  readonly answerTimeoutMs?: number | undefined
  /**
   * Whether to work in a worker thread, which makes connections like the pool's, in the role that a connection of the pool has. What else
   * is done to those when they are made, such as by a listener to the pool's "connect", is not done there: where the query or a trigger
   * needs it, use `false`. A pool that hides how it connects, or that needs a function for it, is used on the calling thread in any case.
   * @default true
   */
  readonly worker?: boolean | undefined
  /** Where a set of payload IDs that outgrows its memory goes while it is used. @default the system's directory for temporary files */
  readonly spillDirectory?: string | undefined
}

const LOCK_KEY: Kind = { what: 'an array of two integers', fits: (value) => Array.isArray(value) && value.length === 2 && value.every(Number.isInteger) }
const OPTIONS: OptionKinds<PostgresBackupableOptions> = {
  ...PACE_OPTIONS,
  schema: STRING,
  payloadIds: STRING,
  countPayloadIds: optional(STRING),
  schemaVersion: NUMBER,
  storeKind: optional(STRING),
  storeId: optional(STRING),
  leaveOut: optional(listOf(STRING, 'names')),
  writersLock: optional(LOCK_KEY),
  lockTimeoutMs: optional(NUMBER),
  answerTimeoutMs: optional(NUMBER),
  worker: optional(BOOLEAN),
  spillDirectory: optional(STRING),
}

const DEFAULT_LOCK_TIMEOUT_MS = 10_000

/**
 * Makes a schema a `Backupable`. The pool stays the caller's. The role needs to read the tables and sequences for a
 * backup, and to own them for a restore; neither needs a superuser.
 *
 * A backup locks the tables against being altered, dropped or truncated, and nothing else. A restore is one transaction: others see the
 * tables empty until it is committed, or wait. It drops and re-creates foreign keys and indexes in it, and disables triggers.
 *
 * Not in a snapshot: everything that is not a table or a sequence of the schema. Rows of partitions are restored through the table that
 * they are partitions of. `backup` rejects with `backup_unsupported` when columns name large objects, or draw on sequences of other schemas
 * by their defaults, and when rows of a table are in another schema; what functions and triggers use is not looked into. `restore` rejects
 * with `schema_version_mismatch` when rows break a constraint of the target.
 *
 * `backup` rejects with `invalid_argument` for a query that cannot be run or gives what are not payload IDs, and for a name in `leaveOut`
 * of which there is nothing. Besides these and the errors that a `Backupable` has, both reject with `store_unavailable` when the schema
 * does not exist, and when the server cannot be reached or breaks off (with `details.outcome` "unknown" when that was in the very commit of
 * a restore: the schema is empty still, or holds all of it), `store_not_drained` when a lock is not given in time, `restore_in_progress`
 * when another restore fills the schema, and `destination_no_space` when the server's disk is full.
 *
 * Throws `TypeError` for options that are missing, unknown or of the wrong type, `RangeError` for a number of connections that is not 1 to
 * 16, and for a wait for locks that is not from 1 ms to a day.
 */
export function postgresBackupable(pool: PostgresPool, options: PostgresBackupableOptions): Backupable {
  checkArgument('postgresBackupable', pool, { name: 'pool', kind: POOL })
  checkOptions('postgresBackupable', options, OPTIONS)
  return knownBackupable(pool, options)
}

/**
 * The same for tables that are known. A backup of others is refused as its restore would be, with `schema_version_mismatch`; a backup
 * and a restore of rows that do not fit, as `faultQuery` finds, with `store_inconsistent`.
 */
export function knownBackupable(
  pool: PostgresPool,
  options: PostgresBackupableOptions,
  { definition, faultQuery }: Pick<SnapshotScope, 'definition' | 'faultQuery'> = {},
): Backupable {
  const { schema, payloadIds: payloadIdsQuery, countPayloadIds: countQuery, schemaVersion, storeKind = 'postgres', storeId = 'default', writersLock, spillDirectory } = options
  const { leaveOut = [], lockTimeoutMs = DEFAULT_LOCK_TIMEOUT_MS, answerTimeoutMs = ANSWER_TIMEOUT_MS, worker = true } = options
  const pace = checkPace(options)
  checkWholeNumber('lockTimeoutMs', lockTimeoutMs, { least: 1, most: MAX_WAIT_MS })
  checkWholeNumber('answerTimeoutMs', answerTimeoutMs, { least: 1, most: MAX_WAIT_MS })
  const tables = { schema, leaveOut: [...leaveOut], definition, faultQuery, schemaVersion, storeKind, payloadIdsQuery, spillDirectory }
  const waits = { lockTimeoutMs, answerTimeoutMs }
  const identity = (action: string): Promise<SessionIdentity> => identityOf(Connection.queries(pool, { action: `${action} the schema "${schema}"`, answerTimeoutMs }))
  return checkedBackupable({
    kind: storeKind,
    storeId,
    backup: (sink, { backupId, compress, signal, onProgress, maxBytesPerSecond } = {}) =>
      Interrupt.during(signal, async (interrupt) => {
        const target = throttle(sink, { interrupt, maxBytesPerSecond })
        const given = { ...tables, ...waits, ...pace, countQuery, storeId, backupId, compress, interrupt, onProgress: listener(onProgress) }
        const connection = worker ? await connectionOf(pool) : undefined
        if (connection === undefined) return await writeSnapshot(pool, target, given)
        return await snapshotInWorker(connection, target, { ...given, identity: await interrupt.race(identity('Cannot back up')) })
      }),
    restore: (source, { signal, onProgress } = {}) =>
      Interrupt.during(signal, async (interrupt) => {
        const bytes = interrupt.items(source)
        const given = { ...tables, ...waits, writersLock, interrupt, onProgress: listener(onProgress) }
        const connection = worker ? await connectionOf(pool) : undefined
        if (connection === undefined) return await readSnapshot(pool, bytes, given)
        await restoreInWorker(connection, bytes, { ...given, identity: await interrupt.race(identity('Cannot restore into')) })
      }),
  })
}
