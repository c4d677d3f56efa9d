import { randomBytes } from 'node:crypto'
import { readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Pool } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { serverUrl, testPool } from '../stores/postgres/server.ts'
import { tempDir } from '../support/temp-dir.ts'
import { type Outcome, holdfast, writeTree } from './holdfast.ts'

/** With all that must be escaped in a URL. */
const PASSWORD = 'pa/ss:w@rd?#%41'
const WRONG_PASSWORD = 'wrong-password'
const SECRETS = [PASSWORD, encodeURIComponent(PASSWORD), WRONG_PASSWORD]
const ROLE = `holdfast_cli_${randomBytes(6).toString('hex')}`

let pool: Pool

beforeAll(async () => {
  pool = await testPool()
  await pool.query(`CREATE ROLE ${ROLE} LOGIN PASSWORD '${PASSWORD}'`)
  await pool.query(`DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO ${ROLE}', current_database()); END $$`)
})

afterAll(async () => {
  await pool.query(`DROP OWNED BY ${ROLE} CASCADE`)
  await pool.query(`DROP ROLE ${ROLE}`)
})

/** The URL of a schema, as a role that is not a superuser. */
async function storeUrl(schema: string, password: string = PASSWORD): Promise<string> {
  const url = new URL(await serverUrl())
  url.username = ROLE
  url.password = encodeURIComponent(password)
  url.searchParams.set('schema', schema)
  return url.href
}

interface Workplace {
  readonly dir: string
  readonly store: string
  readonly shown: string
  readonly run: (...words: string[]) => Promise<Outcome>
  readonly json: <T = Record<string, unknown>>(...words: string[]) => Promise<T>
}

async function workplace(): Promise<Workplace> {
  const dir = await tempDir()
  const schema = `cli_${randomBytes(6).toString('hex')}`
  const store = await storeUrl(schema)
  const shown = new URL(store)
  /** No output of any command shows a password. */
  const run = async (...words: string[]): Promise<Outcome> => {
    const outcome = await holdfast(words, { cwd: dir, env: { XDG_STATE_HOME: join(dir, 'state') } })
    const printed = outcome.stdout + outcome.stderr
    for (const secret of SECRETS) expect(printed, 'never shows a password').not.toContain(secret)
    return outcome
  }
  return {
    dir,
    store,
    shown: `postgres://${ROLE}@${shown.host}${shown.pathname}?schema=${schema}`,
    run,
    json: async <T>(...words: string[]): Promise<T> => {
      const { code, stdout, stderr } = await run(...words, '--json')
      if (code !== 0) throw new Error(`holdfast ${words[0]} ended with ${code}: ${stdout}${stderr}`)
      return JSON.parse(stdout) as T
    },
  }
}

const TREE = { 'a.txt': 'first', 'dir/b.txt': 'second', 'dir/ünï.txt': 'third' }

describe('a Postgres store on the command line', () => {
  it('is backed up at full pace, or with --gentle a few pages at a time', async () => {
    const { dir, store, run, json } = await workplace()
    await writeTree(join(dir, 'tree'), Object.fromEntries(Array.from({ length: 400 }, (_, at) => [`${at}.txt`, `${at}`])))
    await json('import', 'tree', '--store', store, '--payloads', 'payloads')
    const readsByPages = async (...flags: string[]): Promise<boolean> => {
      const progress = { isOver: false }
      const backup = run('backup', '--store', store, '--to', 'file:backups', '--max-rate', '40000', ...flags).finally(() => (progress.isOver = true))
      let found = false
      while (!progress.isOver) {
        const { rows } = await pool.query(`SELECT FROM pg_stat_activity WHERE usename = $1 AND query LIKE '%holdfast.from%COPY%'`, [ROLE])
        found ||= rows.length > 0
        await delay(20)
      }
      expect(await backup).toMatchObject({ code: 0 })
      return found
    }
    expect(await readsByPages()).toBe(false)
    expect(await readsByPages('--gentle')).toBe(true)
  })

  it('goes the whole way: import, backup, list, verify, restore, rollback, export, jobs', async () => {
    const { dir, store, shown, run, json } = await workplace()
    await writeTree(join(dir, 'tree'), TREE)
    await json('import', 'tree', '--store', store, '--payloads', 'payloads')
    const first = await run('backup', '--store', store, '--to', 'file:backups')
    expect(first).toMatchObject({ code: 0, stderr: '' })
    expect(first.stdout.startsWith(`Backed up ${shown} as `)).toBe(true)
    await writeTree(join(dir, 'other'), { 'c.txt': 'fourth' })
    await json('import', 'other', '--store', store, '--payloads', 'payloads')
    await json('backup', '--store', store, '--to', 'file:backups')
    const { backups } = await json<{ backups: { backupId: string; storeKind: string }[] }>('list', '--from', 'file:backups')
    expect(backups.map(({ storeKind }) => storeKind)).toEqual(['postgres', 'postgres'])
    const [older] = backups
    if (older === undefined) throw new Error('There is no backup')
    expect(await run('verify', 'latest', '--from', 'file:backups')).toMatchObject({ code: 0 })
    expect(await run('verify', 'latest', '--from', 'file:backups', '--level', 'restore', '--trial-server', store)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('a trial restore gave back the same records') as unknown,
    })
    const { rows: trials } = await pool.query("SELECT FROM pg_namespace WHERE nspname LIKE 'holdfast_trial_%'")
    expect(trials).toEqual([])

    const restored = await run('restore', older.backupId, '--from', 'file:backups', '--store', store, '--yes')
    expect(restored).toMatchObject({ code: 0, stdout: expect.stringContaining(`holdfast rollback --store '${shown}'`) as unknown })
    await json('export', 'out', '--store', store, '--payloads', 'payloads')
    for (const [path, content] of Object.entries(TREE)) expect(await readFile(join(dir, 'out', path), 'utf8')).toBe(content)
    await json('rollback', '--store', store)
    await json('export', 'other-out', '--share', 'other', '--store', store, '--payloads', 'payloads')
    expect(await readFile(join(dir, 'other-out/c.txt'), 'utf8')).toBe('fourth')

    const { jobs } = await json<{ jobs: { kind: string; state: string }[] }>('jobs', '--store', store)
    expect(jobs.map(({ kind, state }) => `${kind} ${state}`).toSorted()).toEqual(['backup succeeded', 'backup succeeded', 'restore succeeded', 'rollback succeeded'])
    expect((await readdir(join(dir, 'state/holdfast/catalogs'))).filter((name) => !name.endsWith('-holds'))).toHaveLength(1)
  })

  it('that is lost is restored with the catalog of its backup, which is compared with its record', async () => {
    const { dir, store, run, json } = await workplace()
    await writeTree(join(dir, 'tree'), TREE)
    await json('import', 'tree', '--store', store, '--payloads', 'payloads')
    const { backupId } = await json<{ backupId: string }>('backup', '--store', store, '--to', 'file:backups')
    const schema = new URL(store).searchParams.get('schema') ?? ''
    for (const name of [schema, `${schema}_holdfast`]) await pool.query(`DROP SCHEMA ${name} CASCADE`)
    const manifest = join(dir, 'backups', backupId, 'manifest.json')
    const written = await readFile(manifest, 'utf8')
    await writeFile(manifest, `${written} `)
    const restore = ['restore', backupId, '--from', 'file:backups', '--store', store, '--yes', '--quiet']
    expect(await run(...restore)).toMatchObject({ code: 3, stderr: expect.stringMatching(/^error: backup_altered: /) as unknown })
    await writeFile(manifest, written)
    expect(await run(...restore)).toMatchObject({ code: 0, stderr: '' })
    const { jobs } = await json<{ jobs: { kind: string; state: string }[] }>('jobs', '--store', store)
    expect(jobs.map(({ kind, state }) => `${kind} ${state}`)).toEqual(['restore succeeded', 'restore failed', 'backup succeeded'])
    expect((await readdir(join(dir, 'state/holdfast/catalogs'))).filter((name) => !name.endsWith('-holds'))).toHaveLength(1)
  })

  it('gets one directory back from its backup, through a trial on its own server; so does a LevelDB store, through one that is named', async () => {
    const { dir, store, shown, run, json } = await workplace()
    await writeTree(join(dir, 'tree'), TREE)
    await json('import', 'tree', '--store', store, '--payloads', 'payloads')
    await json('backup', '--store', store, '--to', 'file:backups')
    const path = ['restore', 'latest', '--from', 'file:backups', '--path', 'tree/dir']
    const restored = await run(...path, '--store', store, '--to-path', 'tree/again', '--payloads', 'payloads')
    expect(restored).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^Restored "tree\/dir" of \w+ as "tree\/again" into postgres:[^ ]+: 2 files \(11 B\), 1 directory, in /) as unknown })
    expect(restored.stdout).toContain(shown)
    await json('export', 'out', '--store', store, '--payloads', 'payloads')
    expect(await readFile(join(dir, 'out/again/ünï.txt'), 'utf8')).toBe('third')

    await writeTree(join(dir, 'other'), {})
    await json('import', 'other', '--store', 'level:level', '--payloads', 'payloads')
    const elsewhere = [...path, '--store', 'level:level', '--to-path', 'other/dir', '--allow-store-id']
    expect(await run(...elsewhere)).toMatchObject({ code: 2, stderr: expect.stringMatching(/no server is named[^\n]+\nhint: [^\n]*--trial-server URL \(at: \[URL\]\)/) as unknown })
    await json(...elsewhere, '--trial-server', store)
    await json('export', 'level-out', '--store', 'level:level', '--payloads', 'payloads')
    expect(await readFile(join(dir, 'level-out/dir/b.txt'), 'utf8')).toBe('second')
    const { rows: trials } = await pool.query("SELECT FROM pg_namespace WHERE nspname LIKE 'holdfast_trial_%'")
    expect(trials).toEqual([])
  })

  it('converts to LevelDB and back, and is refused by name where a backup of another kind is restored', async () => {
    const { dir, store, run, json } = await workplace()
    await writeTree(join(dir, 'tree'), TREE)
    await json('import', 'tree', '--store', 'level:level', '--payloads', 'payloads')
    const there = await json<{ records: unknown; payloadIds: unknown }>('convert', '--from-store', 'level:level', '--to-store', store)
    const back = await json<{ records: unknown; payloadIds: unknown }>('convert', '--from-store', store, '--to-store', 'level:back')
    expect([back.records, back.payloadIds]).toEqual([there.records, there.payloadIds])
    await json('export', 'out', '--store', 'level:back', '--payloads', 'payloads')
    for (const [path, content] of Object.entries(TREE)) expect(await readFile(join(dir, 'out', path), 'utf8')).toBe(content)

    await json('backup', '--store', 'level:level', '--to', 'file:backups')
    const mismatch = await run('restore', 'latest', '--from', 'file:backups', '--store', store, '--yes', '--allow-store-id', '--quiet')
    expect(mismatch).toMatchObject({ code: 4, stderr: expect.stringMatching(/^error: store_kind_mismatch: [^\n]+\nhint: [^\n]*holdfast convert[^\n]*\n$/) as unknown })
    await json('backup', '--store', store, '--to', 'file:postgres-backups')
    expect(await run('restore', 'latest', '--from', 'file:postgres-backups', '--store', 'level:back', '--yes', '--allow-store-id', '--quiet')).toMatchObject({
      code: 4,
      stderr: expect.stringMatching(/^error: store_kind_mismatch: [^\n]+\nhint: [^\n]*holdfast convert/) as unknown,
    })
    for (const words of [['ls', 'latest'], ['diff', 'latest', 'latest']]) {
      expect(await run(...words, '--from', 'file:postgres-backups')).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error: backup_unsupported: /) as unknown })
    }
    expect(await run('verify', 'latest', '--from', 'file:postgres-backups', '--level', 'restore')).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^error: invalid_argument: [^\n]+no server is named[^\n]+\nhint: [^\n]*--trial-server URL \(at: \[URL\]\)/) as unknown,
    })
  })

  it('that is not there, is not to be reached, or is something else ends with one clear sentence', async () => {
    const { store, run } = await workplace()
    const failed = async (url: string, code: number, error: string, sentence: RegExp): Promise<void> => {
      const outcome = await run('backup', '--store', url, '--to', 'file:backups')
      expect(outcome).toMatchObject({ code, stdout: '' })
      expect(outcome.stderr).toMatch(new RegExp(`^error: ${error}: [A-Z][^\\n]*[^.\\n]\\nhint: [A-Z][^\\n]*\\n$`))
      expect(outcome.stderr).toMatch(sentence)
    }
    await failed(store, 1, 'store_unavailable', /there is none/)
    const wrongPassword = new URL(store)
    wrongPassword.password = WRONG_PASSWORD
    await failed(wrongPassword.href, 1, 'store_unavailable', /password authentication failed/)
    const wrongDatabase = new URL(store)
    wrongDatabase.pathname = '/no_such_database'
    await failed(wrongDatabase.href, 1, 'store_unavailable', /no_such_database/)
    const wrongPort = new URL(store)
    wrongPort.port = '1'
    await failed(wrongPort.href, 1, 'store_unavailable', /ECONNREFUSED/)
    await failed(store.replace(/schema=[^&]+/, 'schema=public'), 2, 'invalid_argument', /public/)
    await failed(store.replace(/schema=[^&]+/, `schema=${'x'.repeat(40)}`), 2, 'invalid_argument', /bytes/)
    await failed(store.replace(/\?.*/, ''), 2, 'invalid_argument', /has no schema/)
  })
})
