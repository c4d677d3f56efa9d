/** What a home knows of itself, in a small schema beside the store's: its ID, its engines, and the journal of a restore. */
import { StoreUnavailableError } from '../../../errors/errors.ts'
import type { RestoreJournal } from '../../../contracts/swappable.ts'
import { type EnginePlace, controlSchema } from './home-names.ts'
import { type Queryable, quoteName, quoteText } from '../connection/client.ts'
import { sqlStateOf } from '../connection/server-errors.ts'

/** What is in service. A home that has no store yet has neither ID nor engine. */
export interface HomePointer {
  readonly storeId: string | undefined
  readonly live: string | undefined
  readonly previous: string | undefined
}

export interface HomeRecord extends HomePointer {
  /** Every engine that was made here and not removed. */
  readonly places: ReadonlyMap<string, EnginePlace>
  readonly journal: RestoreJournal | undefined
}

/** Version of the tables below. */
const FORMAT = 1
/** SQLSTATE: the table does not exist. */
const UNDEFINED_TABLE = '42P01'
const ULID = `~ '^[0-7][0-9A-HJKMNP-TV-Z]{25}$'`

export class HomeRecords {
  readonly #schema: string
  readonly #control: string
  readonly #name: string

  constructor(schema: string) {
    this.#schema = schema
    this.#name = controlSchema(schema)
    this.#control = quoteName(this.#name)
  }

  /** All that is recorded, at one moment; `undefined` where there is no home. */
  async read(session: Queryable): Promise<HomeRecord | undefined> {
    try {
      const [row] = await session.rows<{ format: number; record: string }>(
        `SELECT format, json_strip_nulls(json_build_object('storeId', store_id, 'previous', previous,
           'places', (SELECT coalesce(json_agg(json_build_array(engine, place) ORDER BY engine), '[]') FROM ${this.#control}.engines),
           'journal', (SELECT json_build_object('restoreId', restore_id, 'backupId', backup_id, 'from', from_engine, 'to', to_engine, 'startedAtMs', started_at_ms)
             FROM ${this.#control}.restore_journal)))::text AS record
         FROM ${this.#control}.home`,
      )
      if (row?.format !== FORMAT) throw this.#unreadable(row === undefined ? 'its row is missing' : `they are of format ${row.format}, and this release reads ${FORMAT}`)
      const { storeId, previous, places, journal } = JSON.parse(row.record) as RecordedHome
      return { storeId, live: places.find(([, place]) => place === 'live')?.[0], previous, places: new Map(places), journal: journal && { backupId: undefined, from: undefined, ...journal } }
    } catch (error) {
      if (sqlStateOf(error) !== UNDEFINED_TABLE) throw error
      const found = await session.rows('SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1', [this.#name])
      if (found.length > 0) throw this.#unreadable('the schema lacks one of its tables, or is of something else', error)
      return undefined
    }
  }

  /** Makes the records of a home without a store. For a transaction. */
  async create(session: Queryable): Promise<void> {
    await session.rows(`
      CREATE SCHEMA ${this.#control};
      CREATE TABLE ${this.#control}.engines (
        engine text PRIMARY KEY CHECK (engine ${ULID}),
        place text NOT NULL CHECK (place IN ('live', 'restore', 'old')),
        made_at timestamptz NOT NULL DEFAULT now()
      );
      CREATE UNIQUE INDEX one_live ON ${this.#control}.engines (place) WHERE place = 'live';
      CREATE TABLE ${this.#control}.home (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        format integer NOT NULL,
        store_id text,
        previous text REFERENCES ${this.#control}.engines
      );
      CREATE TABLE ${this.#control}.restore_journal (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        restore_id text NOT NULL CHECK (restore_id ${ULID}),
        backup_id text CHECK (backup_id ${ULID}),
        from_engine text CHECK (from_engine ${ULID}),
        to_engine text NOT NULL CHECK (to_engine ${ULID}),
        started_at_ms bigint NOT NULL
      );
      INSERT INTO ${this.#control}.home (format) VALUES (${FORMAT});
      COMMENT ON SCHEMA ${this.#control} IS ${quoteText(`Holdfast: which engine of the store in schema "${this.#schema}" is live`)}`)
  }

  async addEngine(session: Queryable, engine: string, place: EnginePlace): Promise<void> {
    await session.rows(`INSERT INTO ${this.#control}.engines (engine, place) VALUES ($1, $2)`, [engine, place])
  }

  async removeEngine(session: Queryable, engine: string): Promise<void> {
    await session.rows(`DELETE FROM ${this.#control}.engines WHERE engine = $1`, [engine])
  }

  /** Statements that record what is in service from now on; the engine that was is kept as an old one. */
  pointing({ storeId, live, previous }: HomePointer): readonly string[] {
    const engines = `${this.#control}.engines`
    return [
      `UPDATE ${engines} SET place = 'old' WHERE place = 'live' AND engine IS DISTINCT FROM ${textOrNull(live)}`,
      `UPDATE ${engines} SET place = 'live' WHERE place <> 'live' AND engine = ${textOrNull(live)}`,
      `UPDATE ${this.#control}.home SET store_id = ${textOrNull(storeId)}, previous = ${textOrNull(previous)}`,
    ]
  }

  async writeJournal(session: Queryable, { restoreId, backupId, from, to, startedAtMs }: RestoreJournal): Promise<void> {
    await session.rows(
      `INSERT INTO ${this.#control}.restore_journal (restore_id, backup_id, from_engine, to_engine, started_at_ms) VALUES ($1, $2, $3, $4, $5)
       ON CONFLICT (only_row) DO UPDATE SET restore_id = excluded.restore_id, backup_id = excluded.backup_id,
         from_engine = excluded.from_engine, to_engine = excluded.to_engine, started_at_ms = excluded.started_at_ms`,
      [restoreId, backupId ?? null, from ?? null, to, startedAtMs],
    )
  }

  async clearJournal(session: Queryable): Promise<void> {
    await session.rows(`DELETE FROM ${this.#control}.restore_journal`)
  }

  #unreadable(why: string, cause?: unknown): StoreUnavailableError {
    return new StoreUnavailableError(`Cannot read the records of the store in schema "${this.#schema}", which are in "${this.#name}": ${why}`, {
      cause,
      hint: `Put the schema "${this.#name}" back from a copy of the database; no engine was changed or removed`,
    })
  }
}

/** As the server gives it; what is NULL there is absent. */
interface RecordedHome {
  readonly storeId?: string
  readonly previous?: string
  readonly places: readonly (readonly [engine: string, place: EnginePlace])[]
  readonly journal?: Omit<RestoreJournal, 'backupId' | 'from'> & Partial<RestoreJournal>
}

/** Whether anything is in the schema where a store is to be. Extensions and default privileges do not count. */
export async function isSchemaTaken(session: Queryable, schema: string): Promise<boolean> {
  const [row] = await session.rows<{ taken: boolean }>(
    `SELECT EXISTS (
       SELECT FROM pg_catalog.pg_depend WHERE refclassid = 'pg_catalog.pg_namespace'::regclass AND refobjid = n.oid AND deptype <> 'e'
         AND classid <> 'pg_catalog.pg_default_acl'::regclass
     ) AS taken FROM pg_catalog.pg_namespace n WHERE nspname = $1`,
    [schema],
  )
  return row?.taken === true
}

function textOrNull(text: string | undefined): string {
  return text === undefined ? 'NULL' : quoteText(text)
}
