/** Restores, rollbacks and recoveries that are cut off at their statements, by SIGKILL and by the end of a connection. HOLDFAST_RUNS=80 leaves none out. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Pool } from 'pg'
import { afterAll, describe, expect, test } from 'vitest'
import { fsDestination } from '../../../destinations/fs/index.ts'
import { isHoldfastError } from '../../../src/errors/errors.ts'
import { checkTree } from '../../../src/metadata/check-tree.ts'
import { restoreBackup } from '../../../src/restore/restore-backup.ts'
import type { RestoreStep } from '../../../src/restore/steps.ts'
import { openPostgresHome, openPostgresStore } from '../../../src/stores/postgres/index.ts'
import { publish, takeBackup } from '../../restore/publish.ts'
import { dump, fillStore } from '../../restore/trees.ts'
import { everyNth, seed } from '../../support/seed.ts'
import { cuttablePool } from './cuttable-pool.ts'
import { databaseUrl, dropDatabase, inDatabase, makeDatabase } from './databases.ts'
import { SCHEMA, STORE_ID, WORKS } from './restore-scenarios.ts'
import { type Statement, statementPool } from './statement-pool.ts'

/** Recovery takes seconds at most; the rest is for a machine that is busy with other things. */
const RECOVERY_LIMIT_MS = 30_000
const CHILD = resolve('dist/test/stores/postgres/restore-child.js')
/** Cut-off works at the same time. */
const AT_ONCE = 2
/** One check in so many goes on with a whole restore. */
const RESTORE_EVERY = 10

const SWAP = /ALTER SCHEMA .* RENAME/s
/** Statements before and after the renames of a swap that are near to it: the journal, the locks, the records, the live check. */
const NEAR = 6
const NEAR_EVERY = everyNth(1)
/** Of a work of so few statements, as recoveries are, more is tried. */
const FEW = 50
const FEW_EVERY = everyNth(5)
/** What changes nothing. A process that dies in it or before it leaves the same. */
const READS = /^\s*(?:BEGIN|SET|ROLLBACK|(?:SELECT|WITH|TABLE)(?!.*(?:advisory|setval)))/s
/** One in so many is tried, of reads near a swap, and elsewhere. */
const READS_EVERY = everyNth(24)
const SAMPLE_EVERY = everyNth(80)

interface Made {
  /** Has a live engine that differs from the backup, and a previous one that holds what was backed up. */
  readonly database: string
  readonly backups: string
  readonly backupId: string
  readonly backedUp: string
  readonly live: string
}

interface Scenario {
  readonly name: string
  readonly work: 'restore' | 'rollback' | 'open'
  /** The database that it starts from. */
  readonly template: (made: Made) => Promise<string>
  /** What the store may hold afterwards: where no swap of the work was being committed, where one was committed, and otherwise either. */
  readonly contents: (made: Made) => { readonly before: readonly (string | undefined)[]; readonly after: readonly (string | undefined)[] }
}

const restoring: Scenario['contents'] = ({ live, backedUp }) => ({ before: [live], after: [backedUp] })

/** Recoveries as the next open makes them, of a restore that was cut off at a step. */
const recovering = (step: RestoreStep, contents: Scenario['contents']): Scenario => ({
  name: `recovery of a restore that ended at its step ${step}`,
  work: 'open',
  template: async (given) => await cutAt(given, step),
  contents,
})

const SCENARIOS: readonly Scenario[] = [
  { name: 'restore over a live store', work: 'restore', template: async ({ database }) => database, contents: restoring },
  { name: 'restore where no store is', work: 'restore', template: async () => await makeDatabase(), contents: ({ backedUp }) => ({ before: [undefined], after: [backedUp] }) },
  { name: 'rollback', work: 'rollback', template: async ({ database }) => database, contents: restoring },
  { name: 'making a store', work: 'open', template: async () => await makeDatabase(), contents: () => ({ before: [undefined, EMPTY], after: [EMPTY] }) },
  recovering('restore', ({ live }) => ({ before: [live], after: [live] })),
  recovering('swap', ({ live }) => ({ before: [live], after: [live] })),
  // The only swap there is then is the one that undoes: a connection that ended in the check makes the engine look as if it did not serve.
  recovering('check-live', ({ backedUp, live }) => ({ before: [backedUp], after: [live] })),
]

let EMPTY = ''
let checks = 0
const slowest = { recoveryMs: 0 }
const totals: string[] = []
let preparing: Promise<Made> | undefined

afterAll(async () => {
  if (preparing !== undefined) await rm((await preparing).backups, { recursive: true, force: true })
  console.log(`Postgres home, seed ${seed}:\n${totals.join('\n')}\nslowest recovery: ${Math.round(slowest.recoveryMs)} ms`)
})

describe.each(SCENARIOS)('$name', (scenario) => {
  test('survives SIGKILL before, in and after its statements: the old store or the new one, whole, and nothing left over', { timeout: 1_800_000 }, async () => {
    const made = await (preparing ??= prepare())
    const template = await scenario.template(made)
    const { stdout } = await inCopy(template, (url) => runChild(scenario, made, { url, at: -1, moment: 'before' }))
    const statements = JSON.parse(/^statements (.*)$/m.exec(stdout)?.[1] ?? '[]') as readonly string[]
    const jobs = triedOf(statements).flatMap((at) => [...(at === 0 ? ['before'] : []), ...(READS.test(statements[at] ?? '') ? [] : ['sent']), 'after'].map((moment) => ({ at, moment })))
    let kills = 0
    await forEach(jobs, async ({ at, moment }) => {
      await inCopy(template, async (url, database) => {
        const { signal, stdout: said } = await runChild(scenario, made, { url, at, moment })
        if (signal === undefined) return
        kills += 1
        const swap = said.includes('committed') ? 'made' : said.includes('committing') ? 'open' : 'not made'
        await explained(`killed ${moment} statement ${at}, swap ${swap}: ${said}`, () => check(database, { scenario, made, swap }))
      })
    })
    totals.push(`${scenario.name}: ${statements.length} statements, ${kills} kills`)
    expect(kills).toBeGreaterThanOrEqual(triedOf(statements).length)
  })

  test('survives the end of a connection before and after its statements, with a typed error or done', { timeout: 1_800_000 }, async () => {
    const made = await (preparing ??= prepare())
    const template = await scenario.template(made)
    const statements = await inCopy(template, async (url) => (await runTerminated(scenario, made, { url, at: -1, moment: 'before' })).statements)
    const jobs = triedOf(statements).flatMap((at) => (at === 0 ? ['before', 'after'] : ['after']).map((moment) => ({ at, moment })))
    let ended = 0
    await forEach(jobs, async ({ at, moment }) => {
      await inCopy(template, async (url, database) => {
        const { error, swap, text, isEnded } = await runTerminated(scenario, made, { url, at, moment })
        if (isEnded) ended += 1
        await explained(`connection ended ${moment} statement ${at} (${text}), swap ${swap}, ${String(error)}`, async () => {
          if (error !== undefined && !isHoldfastError(error)) throw new Error('the error has no code', { cause: error })
          // A swap that was made may have been undone, when the connection ended in the check that follows it.
          await check(database, { scenario, made, swap: swap === 'made' && error !== undefined ? 'open' : swap })
        })
      })
    })
    totals.push(`${scenario.name}: ${statements.length} statements, ${ended} connections ended`)
    expect(ended).toBeGreaterThan(jobs.length / 2)
  })
})

/** The statements at which a work is cut off: in full all near a swap that change something, and of the others a sample that the seed moves along. */
function triedOf(statements: readonly string[]): readonly number[] {
  const swaps = statements.flatMap((text, at) => (SWAP.test(text) ? [at] : []))
  const everyAt = (at: number): number => {
    if (READS.test(statements[at] ?? '')) return READS_EVERY
    if (swaps.some((swap) => Math.abs(swap - at) <= NEAR)) return NEAR_EVERY
    return statements.length > FEW ? SAMPLE_EVERY : FEW_EVERY
  }
  return [...statements.keys()].filter((at) => at === 0 || (at + seed) % everyAt(at) === 0)
}

async function prepare(): Promise<Made> {
  const backups = await mkdtemp(join(tmpdir(), 'holdfast-kill-'))
  const destination = fsDestination({ path: join(backups, 'backups') })
  const [database, empty] = [await makeDatabase(), await makeDatabase()]
  EMPTY = await inDatabase(empty, async (connection) => {
    await using store = await openPostgresStore({ connection, schema: SCHEMA, storeId: STORE_ID })
    return await dump(store)
  })
  return await inDatabase(database, async (connection) => {
    await using store = await openPostgresStore({ connection, schema: SCHEMA, storeId: STORE_ID })
    await fillStore(store, { seed: 1, files: 6 })
    const backedUp = await dump(store)
    const backupId = await publish(destination, await takeBackup(store))
    await restoreBackup({ target: store, destination, backupId })
    await store.setSetting('changed', 'since')
    return { database, backups, backupId, backedUp, live: await dump(store) }
  })
}

/** A database as a process leaves it whose connections end at the beginning of a step of its restore. */
async function cutAt({ database, backups, backupId }: Made, at: RestoreStep): Promise<string> {
  const name = await makeDatabase(database)
  const { pool, cut } = await cuttablePool(await databaseUrl(name))
  const home = await openPostgresHome({ connection: pool, schema: SCHEMA })
  const destination = fsDestination({ path: join(backups, 'backups') })
  const restoringIt = restoreBackup({ target: home, destination, backupId, onProgress: ({ step }) => void (step === at && cut()) })
  await expect(restoringIt).rejects.toThrow()
  await home.close()
  // Postgres copies a database only while no session is connected to it.
  await inDatabase(name, async () => {})
  return name
}

type Swap = 'made' | 'open' | 'not made'

/** Opens what was cut off: it must be whole, of the right content, and go on. */
async function check(database: string, { scenario, made, swap }: { readonly scenario: Scenario; readonly made: Made; readonly swap: Swap }): Promise<void> {
  const { before, after } = scenario.contents(made)
  const allowed = swap === 'made' ? after : swap === 'not made' ? before : [...before, ...after]
  await inDatabase(database, async (connection) => {
    const startedAt = performance.now()
    const home = await openPostgresHome({ connection, schema: SCHEMA, onWarning: thrown })
    const tookMs = performance.now() - startedAt
    slowest.recoveryMs = Math.max(slowest.recoveryMs, tookMs)
    if (tookMs > RECOVERY_LIMIT_MS) throw new Error(`recovery took ${Math.round(tookMs)} ms`)
    const { live, previous } = await home.engines()
    await home.close()
    await nothingLeft(connection, { live, previous })
    if (live === undefined) expect(allowed).toContain(undefined)
    else await checkLive(connection, allowed)
    checks += 1
    if (checks % RESTORE_EVERY === 0) await restoreAgain(connection, made)
  })
}

async function checkLive(connection: Pool, allowed: readonly (string | undefined)[]): Promise<void> {
  await using store = await openPostgresStore({ connection, schema: SCHEMA, create: false, storeId: STORE_ID })
  if (!allowed.includes(await dump(store))) throw new Error('the store holds something else')
  const problems = await checkTree(store)
  if (problems.length > 0) throw new Error(problems.join('; '))
  await store.setSetting('goes', 'on')
}

async function nothingLeft(connection: Pool, { live, previous }: { readonly live: string | undefined; readonly previous: string | undefined }): Promise<void> {
  const { rows } = await connection.query<{ name: string }>(`SELECT nspname AS name FROM pg_namespace WHERE starts_with(nspname, $1) AND nspname <> $2`, [SCHEMA, `${SCHEMA}_holdfast`])
  const names = [live === undefined ? [] : SCHEMA, previous === undefined ? [] : `${SCHEMA}_old_${previous}`].flat()
  expect(rows.map(({ name }) => name).toSorted()).toEqual(names)
  const journal = await connection.query(`SELECT to_regclass('${SCHEMA}_holdfast.restore_journal') AS found`)
  if ((journal.rows[0] as { found: unknown }).found !== null) expect((await connection.query(`TABLE ${SCHEMA}_holdfast.restore_journal`)).rows).toEqual([])
}

async function restoreAgain(connection: Pool, { backups, backupId, backedUp }: Made): Promise<void> {
  const home = await openPostgresHome({ connection, schema: SCHEMA })
  await restoreBackup({ target: home, destination: fsDestination({ path: join(backups, 'backups') }), backupId })
  await home.close()
  await checkLive(connection, [backedUp])
}

function thrown(warning: Error): never {
  throw warning
}

interface Cut {
  readonly url: string
  readonly at: number
  readonly moment: string
}

async function runChild({ work }: Scenario, { backups, backupId }: Made, { url, at, moment }: Cut): Promise<{ readonly signal: string | undefined; readonly stdout: string }> {
  return await new Promise((done, failed) => {
    execFile(process.execPath, [CHILD, work, url, join(backups, 'backups'), backupId, String(at), moment], (error, stdout, stderr) => {
      const signal = error?.signal ?? undefined
      if (error !== null && signal !== 'SIGKILL') failed(new Error(`the child failed: ${stderr}`))
      else done({ signal, stdout })
    })
  })
}

interface Terminated {
  readonly statements: readonly string[]
  readonly error: unknown
  readonly swap: Swap
  readonly text: string
  readonly isEnded: boolean
}

/** Does the work in this process, and ends the connection of a statement in the server. */
async function runTerminated({ work }: Scenario, { backups, backupId }: Made, { url, at, moment }: Cut): Promise<Terminated> {
  const { Pool: AdminPool } = await import('pg')
  const admin = new AdminPool({ connectionString: url, max: 1 })
  const seen: { statements: string[]; swap: Swap; text: string; isEnded: boolean } = { statements: [], swap: 'not made', text: '', isEnded: false }
  const endAt = async (now: string, { index, text, processId }: Statement): Promise<void> => {
    if (index !== at || now !== moment) return
    seen.text = text.trim().slice(0, 60)
    const { rows } = await admin.query('SELECT pg_terminate_backend($1, 10000) AS ended', [processId])
    seen.isEnded = (rows[0] as { ended: boolean }).ended
  }
  const { pool, close } = statementPool(url, {
    async before(statement) {
      seen.statements[statement.index] = statement.text
      if (statement.isSwap) seen.swap = 'open'
      await endAt('before', statement)
    },
    async after(statement, outcome) {
      if (statement.isSwap && outcome === 'done') seen.swap = 'made'
      await endAt('after', statement)
    },
  })
  const error: unknown = await (WORKS[work] as (typeof WORKS)[string])({ connection: pool, backups: join(backups, 'backups'), backupId }).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  await close()
  await admin.end()
  return { ...seen, error }
}

async function inCopy<T>(template: string, task: (url: string, database: string) => Promise<T>): Promise<T> {
  const database = await makeDatabase(template)
  try {
    return await task(await databaseUrl(database), database)
  } finally {
    await dropDatabase(database)
  }
}

/** Works some at once; all have ended before a failure is told. */
async function forEach<T>(jobs: readonly T[], task: (job: T) => Promise<void>): Promise<void> {
  const queue = jobs.values()
  const results = await Promise.allSettled(
    Array.from({ length: AT_ONCE }, async () => {
      for (const job of queue) await task(job)
    }),
  )
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

async function explained(where: string, body: () => Promise<void>): Promise<void> {
  try {
    await body()
  } catch (cause) {
    throw new Error(`${where}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}
