import type { BackupOptions, Backupable, RestoreOptions, SnapshotSink, SnapshotSource } from '../../../contracts/backupable.ts'
import { MAX_WAIT_MS, checkWholeNumber } from '../../../util/check-number.ts'
import { BOOLEAN, NUMBER, type OptionKinds, STRING, CLOCK, checkArgument, checkOptions, optional } from '../../../util/check-options.ts'
import { listener } from '../../../util/listener.ts'
import { InvalidArgumentError } from '../../../errors/errors.ts'
import type { ImportOptions, MetadataView } from '../../../contracts/metadata-store.ts'
import type { TreeTransaction } from '../../../metadata/tree-transaction.ts'
import { checkImport, checkText } from '../../../metadata/validate.ts'
import { ValidatedStore } from '../../../metadata/validated-store.ts'
import type { PayloadIdSet } from '../../../payload-ids/payload-id-set.ts'
import { SCHEMA_VERSION, migrate } from './migrations.ts'
import { PACE_OPTIONS, type PaceOptions, checkPace } from '../snapshot/pace.ts'
import { knownBackupable } from '../snapshot/postgres-backupable.ts'
import { digestOf } from '../snapshot/reference-count.ts'
import { PostgresMetadataReader } from './postgres-metadata-reader.ts'
import { PostgresMetadataView } from './postgres-metadata-view.ts'
import { PostgresTree } from './postgres-tree.ts'
import { ANSWER_TIMEOUT_MS } from '../connection/answer-deadline.ts'
import { POOL, type PostgresPool } from '../connection/client.ts'
import { SchemaDatabase } from './database.ts'
import { importView } from './import-view.ts'
import { tablesOf } from './queries.ts'
import { DEFINITION, OWN_TABLES } from './tables.ts'
import { faultQuery } from './torn-tree.ts'
import { lockKey } from '../connection/advisory-locks.ts'

export interface PostgresMetadataStoreOptions extends PaceOptions {
  /** The schema that is the store's alone. */
  readonly schema: string
  /**
   * The ID of a store that is made new, 1 to 64 characters of printable ASCII; one that exists must have it. @default a fresh ULID, or the
   * store's own
   */
  readonly storeId?: string | undefined
  /** Whether to make a store where there is none: the schema is missing, or holds no tables. @default true */
  readonly create?: boolean | undefined
  /** The time in milliseconds since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined
  /**
   * How long the server may leave a statement unanswered, in milliseconds. Its connection is cut then, and what needed it fails with
   * `store_unavailable`, to be tried again. Where a statement may rightly take long, as in snapshots, views and imports, the server is
   * first asked over another connection whether it is at work. @default 60,000
   */
  readonly answerTimeoutMs?: number | undefined
  /** How long opening waits for another process that makes the same store, or brings it up to date, in milliseconds. @default 30,000 */
  readonly lockTimeoutMs?: number | undefined
}

const OPTIONS: OptionKinds<PostgresMetadataStoreOptions> = {
  ...PACE_OPTIONS,
  schema: STRING,
  storeId: optional(STRING),
  create: optional(BOOLEAN),
  clock: optional(CLOCK),
  answerTimeoutMs: optional(NUMBER),
  lockTimeoutMs: optional(NUMBER),
}

/** Longer names are cut by the server. */
const MAX_SCHEMA_NAME_BYTES = 63
const OPEN_LOCK_TIMEOUT_MS = 30_000

/** Every reference to a payload. The server reads the tables of a plain UNION ALL by their indexes, in order; NULLs are passed over. */
export const PAYLOAD_IDS = 'SELECT payload_id FROM inodes UNION ALL SELECT payload_id FROM blocks UNION ALL SELECT payload_id FROM upload_blocks'

/** What counts and digests them: block lists as triggers count them, and everything that is read from the tables alone. */
const COUNT_PAYLOAD_IDS = `
  SELECT i.payload_ids + i.block_count + u.block_count AS count, i.digest + b.digest + ub.digest AS digest
  FROM (SELECT count(payload_id) AS payload_ids, coalesce(sum(block_count), 0) AS block_count, ${digestOf('payload_id')} AS digest FROM inodes) AS i,
    (SELECT ${digestOf('payload_id')} AS digest FROM blocks) AS b,
    (SELECT coalesce(sum(block_count), 0) AS block_count FROM uploads) AS u,
    (SELECT ${digestOf('payload_id')} AS digest FROM upload_blocks) AS ub`

/**
 * A metadata store in a schema of a Postgres database, from version 15 on, that any number of processes may have open.
 *
 * Mutations at once are done in any order. Each is a transaction that locks what it goes by, and is tried again when another was quicker;
 * how durable it is when its promise resolves is for the server's `synchronous_commit` to say. Iterations show one instant, and take a
 * connection of the pool from their first step until they end or are left. Times of inodes change when inodes are created and by
 * `setAttributes` and `setContent`, not by changes to directory entries.
 *
 * Besides the errors of the contract, operations reject with `store_unavailable` when the server does not serve, `retryable` where trying
 * again can help; with `details.outcome` "unknown" when a connection broke in the very commit. Mutations reject with `restore_in_progress`
 * while a restore or an import holds writers off, in whichever process.
 */
export class PostgresMetadataStore extends ValidatedStore {
  readonly kind = 'postgres'
  readonly schemaVersion: number = SCHEMA_VERSION
  readonly storeId: string
  readonly #db: SchemaDatabase
  readonly #backupable: Backupable

  /**
   * Opens the store in a schema and brings its tables up to date. The pool stays the caller's, to be ended after the store was closed.
   *
   * `schema_version_mismatch` when a newer release wrote it, `store_id_mismatch` when it is another store than the one named,
   * `store_unavailable` when there is none and none is to be made, when the schema holds something else, when another process is making it
   * or bringing it up to date for too long, or when the server does not serve.
   */
  static async open(pool: PostgresPool, options: PostgresMetadataStoreOptions): Promise<PostgresMetadataStore> {
    checkArgument('PostgresMetadataStore.open', pool, { name: 'pool', kind: POOL })
    checkOptions('PostgresMetadataStore.open', options, OPTIONS)
    const { schema, create = true } = options
    checkEngineSchemaName(schema)
    const answerTimeoutMs = checkWholeNumber('answerTimeoutMs', options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS, { least: 1, most: MAX_WAIT_MS })
    checkPace(options)
    const lockTimeoutMs = checkWholeNumber('lockTimeoutMs', options.lockTimeoutMs ?? OPEN_LOCK_TIMEOUT_MS, { least: 1, most: MAX_WAIT_MS })
    const storeId = await migrate(pool, { schema, create, storeId: options.storeId, lockTimeoutMs, answerTimeoutMs })
    return new PostgresMetadataStore(pool, { ...options, storeId, answerTimeoutMs })
  }

  private constructor(pool: PostgresPool, options: PostgresMetadataStoreOptions & { readonly storeId: string; readonly answerTimeoutMs: number }) {
    const { schema, storeId, answerTimeoutMs, pace, connections, clock } = options
    const db = new SchemaDatabase(pool, { schema, answerTimeoutMs })
    super(new PostgresMetadataReader(db), clock)
    this.storeId = storeId
    this.#db = db
    const backupable = {
      schema,
      payloadIds: PAYLOAD_IDS,
      countPayloadIds: COUNT_PAYLOAD_IDS,
      schemaVersion: this.schemaVersion,
      storeId,
      leaveOut: OWN_TABLES,
      writersLock: lockKey('writes', schema),
      answerTimeoutMs,
      pace,
      connections,
    }
    this.#backupable = knownBackupable(pool, backupable, { definition: DEFINITION, faultQuery: faultQuery(tablesOf(schema)) })
  }

  async backup(sink: SnapshotSink, options?: BackupOptions): Promise<PayloadIdSet> {
    return await this.#backupable.backup(sink, options)
  }

  async restore(source: SnapshotSource, options?: RestoreOptions): Promise<void> {
    await this.#backupable.restore(source, options)
  }

  async view(): Promise<MetadataView> {
    return await PostgresMetadataView.open(await this.#db.hold())
  }

  async importView(view: MetadataView, options: ImportOptions = {}): Promise<void> {
    checkImport(view, options)
    await this.#db.writeAlone((connection) => importView(connection, view, { ...options, onProgress: listener(options.onProgress) }))
  }

  /** Waits for reads and mutations under way; iterations that were not read to their end are cut off. The pool stays open. */
  async close(): Promise<void> {
    await this.#db.close()
  }

  protected override async change<T>(work: (transaction: TreeTransaction) => Promise<T>): Promise<T> {
    return await this.#db.write((queries) => work(new PostgresTree(queries)))
  }
}

function checkEngineSchemaName(schema: string): void {
  checkText(schema, { what: 'schema name', maxBytes: MAX_SCHEMA_NAME_BYTES })
  if (schema.startsWith('pg_')) throw new InvalidArgumentError(`Cannot use "${schema}" as schema name: names that begin with "pg_" are the server's own`)
}
