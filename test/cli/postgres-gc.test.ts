/** Payload garbage collection of a Postgres store, beside other commands on it. */
import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { guardPostgresPayloads, openPostgresStore, type PayloadGuard } from '../../src/stores/postgres/index.ts'
import { cuttablePool } from '../stores/postgres/cuttable-pool.ts'
import { serverUrl } from '../stores/postgres/server.ts'
import { tempDir } from '../support/temp-dir.ts'
import { holdfast, type Outcome, writeTree } from './holdfast.ts'

interface Workplace {
  readonly cwd: string
  readonly schema: string
  /** Runs a command on the store; `machine` is whose catalog it uses. */
  readonly run: (words: readonly string[], machine?: string) => Promise<Outcome>
  readonly gc: (...words: string[]) => Promise<Outcome>
}

/** A store with two files, backed up. */
async function backedUp(): Promise<Workplace> {
  const cwd = await tempDir()
  const schema = `gc_${randomBytes(6).toString('hex')}`
  const url = new URL(await serverUrl())
  url.searchParams.set('schema', schema)
  const run = async (words: readonly string[], machine = 'one'): Promise<Outcome> =>
    await holdfast([...words, ...(words.includes('--store') ? [] : ['--store', url.href])], { cwd, env: { XDG_STATE_HOME: join(cwd, 'state', machine) } })
  const must = async (...words: string[]): Promise<void> => expect(await run(words)).toMatchObject({ code: 0, stderr: '' })
  await writeTree(join(cwd, 'tree'), { 'a.txt': 'alpha', 'b.txt': 'beta' })
  await must('import', 'tree', '--payloads', 'payloads')
  await must('backup', '--to', 'file:backups')
  return { cwd, schema, run, gc: async (...words) => await run(['gc', '--payloads', 'payloads', '--from', 'file:backups', '--min-age', '0', '--apply', '--json', ...words]) }
}

/** Its exit code, and what it says with `--json`. */
function errorOf({ code, stdout }: Outcome): string {
  const { error } = JSON.parse(stdout) as { readonly error: { readonly code: string; readonly message: string } }
  return `${code} ${error.code}: ${error.message}`
}

async function guard({ schema }: Workplace, use: 'need' | 'sweep'): Promise<PayloadGuard> {
  return await guardPostgresPayloads({ connection: await serverUrl(), schema, use })
}

function payloadsIn({ cwd }: Workplace): number {
  return readdirSync(join(cwd, 'payloads')).filter((name) => name !== 'stores').flatMap((name) => readdirSync(join(cwd, 'payloads', name))).length
}

/** Removes what is in the share, as a server does. */
async function emptied({ schema }: Workplace): Promise<void> {
  await using store = await openPostgresStore({ connection: await serverUrl(), schema })
  const { root = 0 } = (await store.share('tree')) ?? {}
  for (const name of ['a.txt', 'b.txt']) await store.unlink({ parent: root, name })
}

describe('holdfast gc of a Postgres store', () => {
  test('keeps what a backup needs, and what only a restore has brought back or put aside; deletes it when nothing needs it', async () => {
    const place = await backedUp()
    const { run, gc } = place
    await emptied(place)
    expect(JSON.parse((await gc()).stdout)).toMatchObject({ live: { payloads: 0 }, held: { payloads: 2 }, deleted: { payloads: 0 } })
    expect(await run(['restore', 'latest', '--from', 'file:backups', '--yes'])).toMatchObject({ code: 0 })
    expect(await run(['rollback'])).toMatchObject({ code: 0 })
    expect(await run(['delete', 'latest', '--from', 'file:backups', '--force', '--yes'])).toMatchObject({ code: 0 })
    expect(JSON.parse((await gc()).stdout)).toMatchObject({ live: { payloads: 2 }, deleted: { payloads: 0 } })
    expect(JSON.parse((await gc('--ignore-kept')).stdout)).toMatchObject({ deleted: { payloads: 2 } })
    expect(payloadsIn(place)).toBe(0)
  })

  test('is refused while another process needs payloads, and deletes nothing; others are refused while it sweeps, and change nothing', async () => {
    const place = await backedUp()
    await emptied(place)
    const needed = await guard(place, 'need')
    expect(errorOf(await place.gc())).toMatch(/^4 store_not_drained: Cannot sweep the payloads of the store in schema "\w+": another process is/)
    await needed.end()
    const swept = await guard(place, 'sweep')
    const commands = [['backup', '--to', 'file:backups'], ['restore', 'latest', '--from', 'file:backups', '--yes'], ['rollback'], ['import', 'tree', '--share', 'again', '--payloads', 'payloads']]
    // Wherever they run: with the catalog of another machine too.
    for (const words of commands) {
      expect(errorOf(await place.run([...words, '--json'], 'another'))).toMatch(/^4 sweep_already_running: Cannot use the payloads/)
    }
    expect(errorOf(await place.gc())).toMatch(/^4 sweep_already_running/)
    await swept.end()
    expect(readdirSync(join(place.cwd, 'backups'))).toHaveLength(1)
    expect(payloadsIn(place)).toBe(2)
    expect(JSON.parse((await place.gc()).stdout)).toMatchObject({ held: { payloads: 2 } })
  })

  test('backups and sweeps that start at the same time are both right, or one is refused', async () => {
    const place = await backedUp()
    await emptied(place)
    for (const machine of ['one', 'another']) {
      const outcomes = await Promise.all([place.run(['backup', '--to', 'file:backups', '--json'], machine), place.gc()])
      const refused = outcomes.filter(({ code }) => code !== 0).map(errorOf)
      expect(refused.length).toBeLessThan(2)
      for (const error of refused) expect(error).toMatch(/^(?:4 store_not_drained: Cannot sweep|4 sweep_already_running: Cannot use)/)
    }
    expect(payloadsIn(place)).toBe(2)
  })
})

describe('guardPostgresPayloads()', () => {
  test('is shared by processes that need payloads, and rejects and aborts when its connection breaks', async () => {
    const schema = `guard_${randomBytes(6).toString('hex')}`
    const { pool, cut } = await cuttablePool()
    const [first, second] = [await guardPostgresPayloads({ connection: pool, schema, use: 'need' }), await guardPostgresPayloads({ connection: await serverUrl(), schema, use: 'need' })]
    await first.check()
    cut()
    await expect(first.check()).rejects.toMatchObject({ code: 'store_unavailable', retryable: true })
    expect(first.signal.reason).toMatchObject({ code: 'store_unavailable' })
    await first.end()
    await second.check()
    await second.end()
    const alone = await guardPostgresPayloads({ connection: await serverUrl(), schema, use: 'sweep' })
    expect(alone.signal.aborted).toBe(false)
    await alone.end()
    await alone.end()
    await expect(alone.check()).rejects.toMatchObject({ code: 'internal' })
  })
})
