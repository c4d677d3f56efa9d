/** Backs up and restores any schema of a Postgres database, from version 15 on. */
import type { BackupOptions, Backupable, RestoreOptions, SnapshotSink, SnapshotSource, StoreKind } from '../../../contracts/backupable.ts'
import { MAX_WAIT_MS, checkWholeNumber } from '../../../util/check-number.ts'
import type { PayloadIdSet } from '../../../payload-ids/payload-id-set.ts'
import { Interrupt } from '../../../util/interrupt.ts'
import { throttle } from '../../worker/rate-limit.ts'
import { poolQuery } from '../connection/pool-query.ts'
import { ANSWER_TIMEOUT_MS } from '../connection/answers.ts'
import type { PostgresClient, PostgresPool } from '../connection/client.ts'
import type { SchemaDefinition } from './definition.ts'
import { readSnapshot } from './read-snapshot.ts'
import { type Pace, type PaceOptions, checkPace } from './pace.ts'
import { type SessionIdentity, identityOf } from '../connection/settings.ts'
import { connectionOf, restoreInWorker, snapshotInWorker } from './workers.ts'
import { writeSnapshot } from './write-snapshot.ts'

export type { Pace as PostgresPace, PostgresClient, PostgresPool }

export interface PostgresBackupableOptions extends PaceOptions {
  /** The schema whose tables are backed up, all of them but those of `leaveOut`. Its name is not part of a backup. */
  readonly schema: string
  /**
   * A query that gives one column of text: every payload ID that the schema refers to. NULLs and repeated IDs are passed over. It runs in
   * the snapshot of the backup, with the schema as its search path, and again before a restore is committed. It need not sort; a B-tree on
   * the column with `COLLATE "C"` spares the server doing so.
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
   * columns need from outside of the schema, with which a backup is refused otherwise: sequences of other schemas, as "schema.name", and
   * large objects, as "pg_catalog.pg_largeobject". @default none
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

const DEFAULT_LOCK_TIMEOUT_MS = 10_000

/**
 * Makes a schema a `Backupable`. The pool stays the caller's. The role needs to read the tables and sequences for a
 * backup, and to own them for a restore; neither needs a superuser.
 *
 * A backup locks the tables against being altered, dropped or truncated, and nothing else. A restore is one transaction: others see the
 * tables empty until it is committed, or wait. It drops and re-creates foreign keys and indexes in it, and disables triggers.
 *
 * Not in a snapshot: everything that is not a table or a sequence of the schema. Rows of partitions are restored through the table that they
 * are partitions of. `backup` rejects with `backup_unsupported` when columns name large objects, or draw on sequences of other schemas by
 * their defaults; what functions and triggers use is not looked into. `restore` rejects with `schema_version_mismatch` when rows break a
 * constraint of the target.
 *
 * Besides the errors that a `Backupable` has, both reject with `store_unavailable` when the schema does not exist, and when the server cannot
 * be reached or breaks off (with `details.outcome` "unknown" when that was in the very commit of a restore: the schema is empty still, or
 * holds all of it), `store_not_drained` when a lock is not given in time, `restore_in_progress` when another restore fills the schema, and
 * `destination_no_space` when the server's disk is full.
 *
 * Throws `RangeError` for a pace that does not exist, a number of connections that is not 1 to 16, and for a wait for locks that is not
 * from 1 ms to a day.
 */
export function postgresBackupable(pool: PostgresPool, options: PostgresBackupableOptions): Backupable {
  return new PostgresBackupable(pool, options)
}

/** The same for tables that are known: a backup of others is refused as its restore would be, with `schema_version_mismatch`. */
export function knownBackupable(pool: PostgresPool, options: PostgresBackupableOptions & { readonly definition: SchemaDefinition }): Backupable {
  return new PostgresBackupable(pool, options, options.definition)
}

class PostgresBackupable implements Backupable {
  readonly kind: StoreKind
  readonly storeId: string
  readonly #pool: PostgresPool
  readonly #inWorker: boolean
  readonly #store: {
    readonly schema: string
    readonly leaveOut: readonly string[]
    readonly payloadIdsQuery: string
    readonly countQuery: string | undefined
    readonly storeKind: string
    readonly schemaVersion: number
    readonly definition: SchemaDefinition | undefined
    readonly lockTimeoutMs: number
    readonly answerTimeoutMs: number
    readonly writersLock: readonly [number, number] | undefined
    readonly spillDirectory: string | undefined
  }
  readonly #pace: { readonly pace: Pace; readonly connections: number }

  constructor(pool: PostgresPool, options: PostgresBackupableOptions, definition?: SchemaDefinition) {
    const { schema, payloadIds, countPayloadIds, schemaVersion, storeId = 'default', leaveOut = [], writersLock, spillDirectory } = options
    const { lockTimeoutMs = DEFAULT_LOCK_TIMEOUT_MS, worker = true, storeKind = 'postgres' } = options
    this.#pace = checkPace(options)
    checkWholeNumber('lockTimeoutMs', lockTimeoutMs, { least: 1, most: MAX_WAIT_MS })
    const answerTimeoutMs = checkWholeNumber('answerTimeoutMs', options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS, { least: 1, most: MAX_WAIT_MS })
    this.kind = storeKind
    this.#pool = pool
    this.#inWorker = worker
    this.storeId = storeId
    const tables = { schema, leaveOut: [...leaveOut], definition, payloadIdsQuery: payloadIds, countQuery: countPayloadIds }
    this.#store = { ...tables, storeKind: this.kind, schemaVersion, lockTimeoutMs, answerTimeoutMs, writersLock, spillDirectory }
  }

  async backup(sink: SnapshotSink, { backupId, compress, signal, onProgress, maxBytesPerSecond }: BackupOptions = {}): Promise<PayloadIdSet> {
    return await Interrupt.during(signal, async (interrupt) => {
      const target = throttle(sink, { interrupt, maxBytesPerSecond })
      const options = { ...this.#store, backupId, compress, storeId: this.storeId, ...this.#pace, interrupt, onProgress }
      const connection = await this.#connection()
      if (connection === undefined) return await writeSnapshot(this.#pool, target, options)
      const identity = await interrupt.race(this.#identity('back up'))
      return await snapshotInWorker(connection, target, { ...options, identity })
    })
  }

  async restore(source: SnapshotSource, { signal, onProgress }: RestoreOptions = {}): Promise<void> {
    return await Interrupt.during(signal, async (interrupt) => {
      const bytes = interrupt.items(source)
      const options = { ...this.#store, interrupt, onProgress }
      const connection = await this.#connection()
      if (connection === undefined) await readSnapshot(this.#pool, bytes, options)
      else await restoreInWorker(connection, bytes, { ...options, identity: await interrupt.race(this.#identity('restore into')) })
    })
  }

  async #connection(): Promise<Readonly<Record<string, unknown>> | undefined> {
    return this.#inWorker ? await connectionOf(this.#pool) : undefined
  }

  async #identity(verb: string): Promise<SessionIdentity> {
    const { schema, answerTimeoutMs } = this.#store
    return await identityOf(poolQuery(this.#pool, `Cannot ${verb} the schema "${schema}"`, answerTimeoutMs))
  }
}
