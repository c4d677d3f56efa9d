/** Schemas as `postgresBackupable` is tested with them: those of an embedder who knows nothing of Holdfast. */
import { equal } from 'node:assert/strict'
import type pg from 'pg'
import { type PostgresBackupableOptions, postgresBackupable } from '../../../src/stores/postgres/snapshot/postgres-backupable.ts'
import type { Backupable } from '../../../src/contracts/backupable.ts'
import { openSnapshot } from '../../../src/format/snapshot-reader.ts'
import type { BackupableFixture } from '../../conformance/backupable.ts'
import { type Snapshot, CountingSource } from '../../conformance/backupable-fixture.ts'
import { testPool } from './server.ts'

/** Foreign keys to themselves and in a circle, triggers, indexes of every form, names that need quotes, a table that is left out. */
export const DOCUMENT_TABLES = `
  CREATE TABLE identity (id text NOT NULL);
  CREATE TABLE a_marks (position int PRIMARY KEY, step int NOT NULL, payload text);
  CREATE TABLE folders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    parent bigint REFERENCES folders DEFERRABLE,
    cover bigint,
    name text COLLATE "C" NOT NULL,
    UNIQUE NULLS NOT DISTINCT (parent, name)
  );
  CREATE TABLE "Documents ""2"" é" (
    "Id" bigserial PRIMARY KEY,
    folder bigint NOT NULL REFERENCES folders ON DELETE CASCADE,
    "select" text,
    data bytea,
    size int GENERATED ALWAYS AS (length(data)) STORED,
    CHECK ("Id" > 0)
  );
  ALTER TABLE folders ADD CONSTRAINT cover_of FOREIGN KEY (cover) REFERENCES "Documents ""2"" é" DEFERRABLE INITIALLY DEFERRED;
  COMMENT ON CONSTRAINT cover_of ON folders IS 'it''s a \\ circle';
  CREATE INDEX ON "Documents ""2"" é" (folder) WHERE data IS NOT NULL;
  CREATE INDEX payloads ON "Documents ""2"" é" ("select" COLLATE "C") INCLUDE (size) WITH (fillfactor = 80);
  CREATE INDEX ON "Documents ""2"" é" USING hash ("Id");
  CREATE UNIQUE INDEX ON folders (lower(name), id DESC NULLS LAST);
  COMMENT ON INDEX payloads IS 'kept, for a comment is no part of its definition';
  CREATE TABLE nothing (id int);
  CREATE SEQUENCE lone INCREMENT BY -3 MAXVALUE 100 START 70;
  CREATE TABLE log (entry text);
  CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (TG_OP || ' ' || TG_TABLE_NAME); RETURN NULL; END $$;
  CREATE TRIGGER noted AFTER INSERT OR UPDATE ON folders FOR EACH ROW EXECUTE FUNCTION note();
  CREATE TRIGGER "always noted" AFTER TRUNCATE OR INSERT ON "Documents ""2"" é" FOR EACH STATEMENT EXECUTE FUNCTION note();
  ALTER TABLE "Documents ""2"" é" ENABLE ALWAYS TRIGGER "always noted";
  CREATE TRIGGER never BEFORE INSERT ON a_marks FOR EACH ROW EXECUTE FUNCTION note();
  ALTER TABLE a_marks DISABLE TRIGGER never;
  CREATE TABLE z_marks (LIKE a_marks INCLUDING ALL)`

export const DOCUMENT_PAYLOADS = `
  SELECT "select" FROM "Documents ""2"" é" UNION ALL SELECT payload FROM a_marks UNION ALL SELECT payload FROM z_marks -- all of them`

let shared: Promise<pg.Pool> | undefined

/** The pool that a file's tests share. */
export async function sharedPool(): Promise<pg.Pool> {
  return await (shared ??= testPool())
}

/** Makes a schema of a name of its own; it is dropped by `drop`. */
export async function newSchema(pool: pg.Pool, tables: string, prefix = 'holdfast test "'): Promise<{ readonly schema: string; readonly drop: () => Promise<void> }> {
  const schema = `${prefix}${Math.random().toString(36).slice(2)}`
  await inSchema(pool, schema, async (client) => {
    await client.query(`CREATE SCHEMA ${quote(schema)}`)
    await client.query(tables)
  })
  return { schema, drop: async () => void (await pool.query(`DROP SCHEMA IF EXISTS ${quote(schema)} CASCADE`)) }
}

/** Runs a task in one transaction with the schema as its search path. */
export async function inSchema<T>(pool: pg.Pool, schema: string, task: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    await client.query(`SELECT set_config('search_path', $1, true)`, [quote(schema)])
    const result = await task(client)
    await client.query('COMMIT')
    return result
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  } finally {
    client.release()
  }
}

/** All rows of all tables, and where the sequences stand, as text. */
export async function dumpSchema(pool: pg.Pool, schema: string, leaveOut: readonly string[] = []): Promise<string> {
  return await inSchema(pool, schema, async (client) => {
    const { rows } = await client.query<{ name: string; relkind: string }>(
      `SELECT relname AS name, relkind FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'S') AND relname <> ALL ($2) ORDER BY relname COLLATE "C"`,
      [quote(schema), leaveOut],
    )
    const lines: string[] = []
    for (const { name, relkind } of rows) {
      const columns = relkind === 'S' ? 'last_value, is_called' : '*'
      const found = await client.query<{ text: string | null }>(
        `SELECT string_agg(t::text, E'\\n' ORDER BY t::text COLLATE "C") AS text FROM (SELECT ${columns} FROM ONLY ${quote(name)}) t`,
      )
      lines.push(name, found.rows[0]?.text ?? '')
    }
    return lines.join('\n')
  })
}

/** Indexes, constraints and triggers as the server describes them, with the schema's name left out. */
export async function describeSchema(pool: pg.Pool, schema: string): Promise<readonly string[]> {
  return await inSchema(pool, schema, async (client) => {
    const { rows } = await client.query<{ line: string }>(
      `SELECT line FROM (
         SELECT replace(pg_get_indexdef(x.oid), quote_ident($1) || '.', '') || ' ' || coalesce(obj_description(x.oid), '') AS line
         FROM pg_class x WHERE x.relkind = 'i' AND x.relnamespace = quote_ident($1)::regnamespace
         UNION ALL SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) || ' ' || convalidated || ' ' || coalesce(obj_description(oid), '')
         FROM pg_constraint WHERE connamespace = quote_ident($1)::regnamespace AND contype <> 'n'
         UNION ALL SELECT replace(pg_get_triggerdef(t.oid), quote_ident($1) || '.', '') || ' ' || tgenabled::text
         FROM pg_trigger t JOIN pg_class r ON r.oid = tgrelid WHERE r.relnamespace = quote_ident($1)::regnamespace AND NOT tgisinternal
       ) l ORDER BY line COLLATE "C"`,
      [schema],
    )
    return rows.map(({ line }) => line)
  })
}

export interface PostgresFixture extends BackupableFixture {
  readonly schema: string
  /** The same schema through another pool. */
  readonly storeOf: (pool: pg.Pool, options?: Partial<PostgresBackupableOptions>) => Backupable
}

export async function openFixture(options: Partial<PostgresBackupableOptions> = {}): Promise<PostgresFixture> {
  const pool = await sharedPool()
  const { schema, drop } = await newSchema(pool, DOCUMENT_TABLES)
  const storeId = `store-${Math.random()}`
  await inSchema(pool, schema, (client) => client.query('INSERT INTO identity VALUES ($1)', [storeId]))
  const leaveOut = ['identity', 'log']
  const storeOf: PostgresFixture['storeOf'] = (through, others) =>
    postgresBackupable(through, { schema, payloadIds: DOCUMENT_PAYLOADS, schemaVersion: 3, storeId, leaveOut, ...options, ...others })
  return {
    schema,
    storeOf,
    store: storeOf(pool),
    storeId: () => inSchema(pool, schema, async (client) => (await client.query<{ id: string }>('SELECT id FROM identity')).rows[0]?.id ?? ''),
    populate: (records) => populate(pool, schema, records),
    mutate: (step) => mutate(pool, schema, step),
    check: () =>
      inSchema(pool, schema, async (client) => {
        const { rows } = await client.query('SELECT DISTINCT step FROM (TABLE a_marks UNION ALL TABLE z_marks) m')
        equal(rows.length, 1)
      }),
    dump: () => dumpSchema(pool, schema, leaveOut),
    payloadIds: () =>
      inSchema(pool, schema, async (client) => {
        const { rows } = await client.query<{ id: string | null }>(`SELECT id FROM (${DOCUMENT_PAYLOADS}\n) p (id)`)
        return rows.flatMap(({ id }) => (id === null ? [] : [id]))
      }),
    cleanup: drop,
  }
}

/** Rows of every size up to some megabytes, NULLs among them. */
async function populate(pool: pg.Pool, schema: string, records: number): Promise<void> {
  await inSchema(pool, schema, async (client) => {
    await client.query('INSERT INTO a_marks VALUES (1, 0, NULL); INSERT INTO z_marks VALUES (1, 0, NULL)')
    await client.query(`INSERT INTO folders (parent, name) SELECT nullif((i - 1) / 10, 0), 'folder ' || i FROM generate_series(1, $1::int) i`, [Math.ceil(records / 10)])
    await client.query(
      `INSERT INTO "Documents ""2"" é" (folder, "select", data)
       SELECT 1 + i % $2::int, CASE WHEN i % 7 > 0 THEN 'payload-\\' || i % 500 || repeat('f', 64) END,
         CASE WHEN i % 1000 = 999 THEN decode(repeat(md5(i::text), 100000), 'hex') WHEN i % 3 > 0 THEN decode(repeat('00ff', i % 200), 'hex') END
       FROM generate_series(1, $1::int) i`,
      [records, Math.ceil(records / 10)],
    )
    await client.query(`UPDATE folders SET cover = (SELECT min("Id") FROM "Documents ""2"" é" d WHERE d.folder = folders.id) WHERE id < 50`)
    await client.query(`SELECT nextval('lone'), nextval('lone')`)
  })
}

async function mutate(pool: pg.Pool, schema: string, step: number): Promise<void> {
  await inSchema(pool, schema, async (client) => {
    await client.query('UPDATE a_marks SET step = $1, payload = $2', [step, `step-${step}`])
    await client.query(`INSERT INTO "Documents ""2"" é" (folder, "select") VALUES (1, $1)`, [`changed-${step}`])
    await client.query(`DELETE FROM "Documents ""2"" é" WHERE "Id" = $1 + 60`, [step])
    await client.query('UPDATE z_marks SET step = $1, payload = $2', [step, `step-${step}`])
  })
}

export function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** The archive in a stream: its data frames, put together. */
export async function archiveOf({ bytes }: Pick<Snapshot, 'bytes'>): Promise<Buffer> {
  const reader = await openSnapshot(new CountingSource(bytes))
  const parts: Buffer[] = []
  for await (const { data } of reader.frames()) parts.push(Buffer.from(data))
  return Buffer.concat(parts)
}
