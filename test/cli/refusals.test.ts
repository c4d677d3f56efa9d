/** What a refused command leaves: nothing. Every refusal is watched: the whole tree of files, its schemas of a server with their rows, a bucket. */
import { createHash } from 'node:crypto'
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { escapeIdentifier, type Pool } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fsDestination } from '../../destinations/fs/index.ts'
import { runBackup } from '../../src/index.ts'
import { levelBackupable } from '../../src/stores/level/index.ts'
import { BUCKET, type OwnServer, ownServerOf } from '../destinations/s3/setup.ts'
import { startS3Server } from '../support/s3/server.ts'
import { serverUrl, testPool } from '../stores/postgres/server.ts'
import { holdfast, holdfastJson, writeTree } from './holdfast.ts'

/** The schemas of this run begin so: the server may be one that others use too. */
const SCHEMAS = `refusals_${Math.random().toString(36).slice(2, 10)}`
const FILLED = `${SCHEMAS}_filled`

let base: string
let own: OwnServer
let pool: Pool
let watched = 0
/** What the words of a command stand for. */
const words: Record<string, string> = {}

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'holdfast-refusals-'))
  own = ownServerOf(await startS3Server({ buckets: [BUCKET] }))
  await writeTree(join(base, 'tree'), { file: 'x', 'docs/deep': 'y' })
  await holdfastJson(['import', 'tree', '--store', 'level:store', '--payloads', 'payloads'], { cwd: base })
  const { backupId } = await holdfastJson<{ backupId: string }>(['backup', '--store', 'level:store', '--to', 'file:backups'], { cwd: base })
  await holdfastJson(['import', 'tree', '--store', 'level:other', '--payloads', 'other-payloads'], { cwd: base })
  const other = await holdfastJson<{ backupId: string }>(['backup', '--store', 'level:other', '--to', 'file:other-backups'], { cwd: base })
  const foreign = new ClassicLevel(join(base, 'foreign'))
  await foreign.put('a record', 'of another program')
  const embedded = levelBackupable(foreign, { payloadIds: () => [], storeId: 'embedded', storeKind: 'documents' })
  // Of the kind and schema version of a metadata store, as a database is whose owner names none.
  const entries = levelBackupable(foreign, { payloadIds: () => [], storeId: 'entries' })
  const { backupId: entriesId } = await runBackup({ store: entries, destination: fsDestination({ path: join(base, 'entries') }) })
  const { backupId: embeddedId } = await runBackup({ store: embedded, destination: fsDestination({ path: join(base, 'embedded') }) })
  await foreign.close()
  await mkdir(join(base, 'damaged', backupId), { recursive: true })
  await writeFile(join(base, 'damaged', backupId, 'manifest.json'), 'garbage')
  await mkdir(join(base, 'empty'))
  await mkdir(join(base, 'full'))
  await writeFile(join(base, 'full', 'a file'), 'of somebody')
  await symlink('backups', join(base, 'linked'))
  const server = new URL(await serverUrl())
  server.searchParams.set('schema', `${SCHEMAS}_new`)
  const filled = new URL(server)
  filled.searchParams.set('schema', FILLED)
  const bare = new URL(server)
  bare.searchParams.set('schema', `${SCHEMAS}_bare`)
  pool = await testPool()
  await holdfastJson(['import', 'tree', '--store', filled.href, '--payloads', 'filled-payloads'], { cwd: base })
  // No job of these has made a catalog.
  await holdfastJson(['import', 'tree', '--store', bare.href, '--payloads', 'bare-payloads'], { cwd: base })
  await holdfastJson(['import', 'tree', '--store', 'level:bare', '--payloads', 'bare-level-payloads'], { cwd: base })
  // With a catalog, which the first job of a store makes.
  await holdfast(['backup', '--store', filled.href, '--to', 'file:filled-backups'], { cwd: base, env: { XDG_STATE_HOME: join(base, 'state') } })
  const { endpoint } = own.server
  Object.assign(words, {
    ID: backupId, OTHER: other.backupId, EMBEDDED: embeddedId, ENTRIES: entriesId, LONG: 'n'.repeat(260), PG: server.href, FILLED: filled.href, BARE: bare.href, NOPG: 'postgres://nobody@127.0.0.1:1/none?schema=meta',
    BUCKET: `s3://${BUCKET}/backups?region=us-east-1&endpoint=${encodeURIComponent(endpoint)}`, NOBUCKET: `s3://missing-bucket/backups?region=us-east-1&endpoint=${encodeURIComponent(endpoint)}`,
  })
}, 300_000)

afterAll(async () => {
  await own.server.close()
  for (const { name } of await schemas()) await pool.query(`DROP SCHEMA ${escapeIdentifier(name)} CASCADE`)
  await rm(base, { recursive: true, force: true })
  process.stdout.write(`watched ${watched} refusals\n`)
})

/** The commands, each with the exit code of its refusal. A word in capitals stands for a value. */
const REFUSALS: readonly (readonly [string, number])[] = [
  // Words that are wrong.
  ...['backup', 'restore', 'import', 'export', 'verify', 'list', 'show', 'ls', 'diff', 'delete', 'gc', 'holds', 'convert', 'jobs', 'rollback', 'check', 'catalog rebuild'].flatMap(
    (command): (readonly [string, number])[] => [[`${command} --bogus`, 2], [`${command} --store nope:x --from nope:x --to nope:x`, 2]],
  ),
  // Imports.
  ['import tree --store level:store --share a/b', 2],
  ['import tree --store level:store --share ..', 2],
  ['import tree --store level:store --share .', 2],
  ['import tree --store level:store --share LONG', 2],
  ['import tree --store level:new --payloads new-payloads --share a/b', 2],
  ['import tree --store level:new --payloads new-payloads --share LONG', 2],
  ['import tree --store PG --share a/b', 2],
  ['import tree --store level:store --share tree', 4],
  ['import tree --store FILLED --share a/b', 2],
  ['import tree --store FILLED --share tree', 4],
  ['import nowhere --store level:new --payloads new-payloads', 1],
  ['import tree/file --store level:new --payloads new-payloads', 1],
  ['import tree --store level:tree/new', 2],
  ['import tree --store level:new --payloads tree/payloads', 2],
  ['import tree --store level:full', 1],
  ['import tree --store level:foreign', 1],
  ['import tree --store level:foreign --adopt', 1],
  ['import tree --store NOPG', 1],
  // Exports.
  ['export full --store level:store --payloads payloads', 4],
  ['export out --store level:store --payloads nowhere', 1],
  ['export out --store level:store --payloads payloads --share nowhere', 1],
  ['export out --store level:nowhere --payloads payloads', 1],
  ['export out --store level:foreign --payloads payloads', 1],
  // Backups.
  ['backup --store level:nowhere --to file:new', 1],
  ['backup --store level:foreign --to file:new', 1],
  ['backup --store level:foreign --adopt --to file:new', 1],
  ['backup --store level:foreign --adopt --to BUCKET', 1],
  ['backup --store level:full --to file:new', 1],
  ['backup --store level:store --to file:new --payloads nowhere', 1],
  ['backup --store level:store --to file:new --label UPPER=x', 2],
  ['backup --store level:store --to file:new --label x', 2],
  ['backup --store level:store --to file:new --compress gzip', 2],
  ['backup --store level:store --to file:new --max-rate fast', 2],
  ['backup --store PG --to file:new', 1],
  ['backup --store NOPG --to BUCKET', 1],
  // Restores.
  ['restore EMBEDDED --from file:embedded --store level:new --yes', 4],
  ['restore ENTRIES --from file:entries --store level:new --yes', 4],
  ['restore ENTRIES --from file:entries --store level:empty --yes', 4],
  ['restore EMBEDDED --from file:embedded --store level:empty --yes', 4],
  ['restore EMBEDDED --from file:embedded --store PG --yes', 4],
  ['restore ID --from file:backups --store PG --yes', 4],
  ['restore ID --from file:backups --store FILLED --yes', 4],
  ['restore EMBEDDED --from file:embedded --store FILLED --yes', 4],
  ['restore ID --from file:backups --store BARE --yes', 4],
  ['restore ID --from file:backups --store level:bare --yes', 4],
  ['restore ID --from file:backups --store level:foreign --yes', 1],
  ['restore ID --from file:backups --store level:foreign --adopt --yes', 1],
  ['restore ID --from file:backups --store level:full --yes', 1],
  ['restore ID --from file:nowhere --store level:new --yes', 1],
  ['restore ID --from BUCKET --store level:new --yes', 1],
  ['restore ID --from NOBUCKET --store level:new --yes', 1],
  ['restore ID --from file:damaged --store level:new --yes', 3],
  ['restore ID --from file:linked --store level:new --yes', 4],
  ['restore ID --from file:backups --store level:new', 2],
  ['restore nope --from file:backups --store level:new --yes', 2],
  ['restore OTHER --from file:other-backups --store level:store', 4],
  ['restore ID --from file:backups --store level:new --payloads nowhere --yes', 1],
  ['restore ID --from file:backups --store level:store --path tree', 2],
  ['restore ID --from file:backups --store level:store --path tree/nowhere --yes', 1],
  ['restore ID --from file:backups --store level:nowhere --path tree/file --yes', 1],
  ['restore ID --from file:backups --store level:store --to-path tree/x --yes', 2],
  ['rollback --store level:store', 4],
  ['rollback --store FILLED', 4],
  ['rollback --store BARE', 4],
  ['rollback --store level:bare', 4],
  ['rollback --store level:nowhere', 1],
  ['rollback --store level:foreign --adopt', 1],
  // What reads.
  ['verify ID --from file:nowhere', 1],
  ['verify ID --from file:damaged', 3],
  ['verify ID --from NOBUCKET', 1],
  ['verify ID --from file:backups --level payloads', 2],
  ['verify EMBEDDED --from file:embedded --level restore', 2],
  ['list --from file:nowhere', 1],
  ['list --from file:full/nothing', 1],
  ['list --from file:linked', 4],
  ['show nope --from file:backups', 2],
  ['ls ID nowhere --from file:backups', 1],
  ['diff ID OTHER --from file:backups', 1],
  ['jobs --store level:nowhere', 1],
  ['holds --from file:nowhere', 1],
  ['check --store level:nowhere', 1],
  ['check --store level:foreign --adopt', 1],
  // What deletes.
  ['delete ID --from file:backups --yes', 4],
  ['delete ID --from file:backups', 2],
  ['delete ID --from file:backups --force', 2],
  ['delete nope --from file:backups --yes', 2],
  ['delete ID --from file:nowhere --yes', 1],
  ['delete ID --from file:linked --force --yes', 4],
  ['gc --store level:store --payloads nowhere --from file:backups --apply', 1],
  ['gc --store FILLED --payloads other-payloads --from file:backups --apply', 1],
  ['gc --store level:nowhere --payloads payloads --from file:backups --apply', 1],
  ['gc --store level:store --payloads payloads --from file:nowhere --apply', 1],
  ['gc --store level:store --payloads other-payloads --from file:backups --apply', 1],
  ['gc --store level:store --payloads payloads --from file:backups --min-age soon', 2],
  // What copies.
  ['convert --from-store level:nowhere --to-store level:new', 1],
  ['convert --from-store level:store --to-store level:other', 4],
  ['convert --from-store level:store --to-store FILLED', 4],
  ['convert --from-store level:foreign --to-store level:new --adopt', 1],
  ['convert --from-store level:store --to-store level:full', 1],
  ['convert --from-store level:store --to-store level:foreign', 1],
  ['convert --from-store level:foreign --to-store PG --adopt', 1],
]

describe('a refused command', () => {
  it.each(REFUSALS)('leaves nothing: holdfast %s', async (line, code) => {
    const given = line.split(' ').map((word) => words[word] ?? word)
    const env = { AWS_ACCESS_KEY_ID: own.server.accessKeyId, AWS_SECRET_ACCESS_KEY: own.server.secretAccessKey, AWS_EC2_METADATA_DISABLED: 'true', XDG_STATE_HOME: join(base, 'state') }
    const usesOther = given.some((word) => /^(?:s3|postgres):/.test(word))
    const before = await look(usesOther)
    const outcome = await holdfast(given, usesOther ? { cwd: base, env } : { cwd: base })
    expect({ ...outcome, left: differences(before, await look(usesOther)) }).toMatchObject({ code, left: [] })
    watched += 1
  })

  it('would be seen to change a row of Postgres', async () => {
    const add = (ns: number): Promise<unknown> => pool.query(`UPDATE ${escapeIdentifier(FILLED)}.inodes SET accessed_at_ns = accessed_at_ns + $1`, [ns])
    const before = await look(true)
    await add(1)
    expect(differences(before, await look(true))).toEqual([expect.stringContaining(`postgres ${FILLED}.inodes: r `)])
    await add(-1)
    expect(differences(before, await look(true))).toEqual([])
  })
})

/** Everything that a command could change, by its name. */
async function look(hasOther: boolean): Promise<ReadonlyMap<string, string>> {
  const seen = new Map<string, string>()
  await lookAt(base, '', seen)
  if (!hasOther) return seen
  for (const { key } of own.bucket.list()) seen.set(`bucket ${key}`, '')
  seen.set('bucket uploads', String(own.bucket.uploads.size))
  for (const [name, content] of await lookAtPostgres()) seen.set(`postgres ${name}`, content)
  return seen
}

async function schemas(): Promise<readonly { readonly name: string }[]> {
  return (await pool.query<{ name: string }>('SELECT nspname AS name FROM pg_namespace WHERE starts_with(nspname, $1)', [SCHEMAS])).rows
}

/** The schemas of this run, and what is in them: of each table a digest of its rows, of each sequence its value. */
async function lookAtPostgres(): Promise<ReadonlyMap<string, string>> {
  const { rows } = await pool.query<{ schema: string; name: string | null; kind: string | null }>(
    `SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid
     WHERE starts_with(n.nspname, $1)`,
    [SCHEMAS],
  )
  const seen = new Map<string, string>()
  for (const { schema, name, kind } of rows) {
    const relation = `${escapeIdentifier(schema)}.${escapeIdentifier(name ?? '')}`
    let content = ''
    // Whatever has rows; a sequence is a row itself.
    if (kind !== null && 'rpmS'.includes(kind)) {
      const digest = await pool.query<{ digest: string }>(`SELECT count(*) || ' ' || md5(coalesce(string_agg(row(t.*)::text, E'\\n' ORDER BY row(t.*)::text), '')) AS digest FROM ${relation} t`)
      content = digest.rows[0]?.digest ?? ''
    }
    seen.set(`${schema}.${name ?? ''}`, `${kind ?? 'schema'} ${content}`)
  }
  return seen
}

/**
 * A LevelDB is compared by its records, never by its own files: LevelDB writes a new log and a new manifest whenever it is opened, which a
 * command that only reads does too.
 */
async function lookAt(root: string, path: string, seen: Map<string, string>): Promise<void> {
  const info = await lstat(join(root, path))
  const names = info.isDirectory() ? (await readdir(join(root, path))).toSorted() : []
  const isLevel = names.includes('CURRENT')
  if (isLevel) seen.set(`${path}/records`, await recordsOf(join(root, path)))
  const own = names.filter((name) => !isLevel || !/^(?:CURRENT|LOCK|LOG|LOG\.old|MANIFEST-\d+|\d+\.(?:ldb|log))$/.test(name))
  const content = info.isFile() ? createHash('sha256').update(await readFile(join(root, path))).digest('hex') : own.join(' ')
  // A directory in which a LevelDB is locked or opened has other times, and the same names.
  seen.set(path, `${info.mode.toString(8)} ${info.isFile() ? info.mtimeMs : ''} ${content}`)
  for (const name of own) await lookAt(root, join(path, name), seen)
}

/** Where a catalog keeps attempts. One that was there before records what is refused within an attempt. */
const ATTEMPTS = /^(?:(?:jobs|running|leases|leased|sweeps|sweeping)\/|hold-generation$)/

/** The records of a database, without attempts. */
async function recordsOf(directory: string): Promise<string> {
  const db = new ClassicLevel(directory)
  try {
    const records = await db.iterator().all()
    return JSON.stringify(records.filter(([key]) => !ATTEMPTS.test(key)))
  } finally {
    await db.close()
  }
}

function differences(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): readonly string[] {
  return [...new Set([...before.keys(), ...after.keys()])].filter((name) => before.get(name) !== after.get(name)).map((name) => `${name}: ${before.get(name)?.slice(0, 80)} -> ${after.get(name)?.slice(0, 80)}`)
}
