/** The real command line, stopped in the middle of its work and then interrupted, or killed. */
import { mkdir, readdir, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { compareTrees } from '../../src/trees/compare-trees.ts'
import { openLevelStore } from '../../src/stores/level/index.ts'
import { tempDir } from '../support/temp-dir.ts'
import { type Frozen, frozen } from './frozen.ts'
import { holdfast, holdfastJson, type Outcome, writeTree } from './holdfast.ts'

const IMPORT = ['import', 'tree', '--store', 'level:store', '--payloads', 'payloads']
const BACKUP = ['backup', '--store', 'level:store', '--to', 'file:backups']
const RESTORE = ['restore', 'latest', '--from', 'file:backups', '--store', 'level:store', '--yes', '--quiet']
const VERIFY = ['verify', 'latest', '--from', 'file:backups', '--level', 'restore', '--trial-dir', 'trials']

/** A directory with a tree. */
async function withTree(): Promise<string> {
  const cwd = await tempDir()
  await writeTree(join(cwd, 'tree'), Object.fromEntries(Array.from({ length: 60 }, (_, at) => [`directory ${at % 3}/file-${at}`, `content ${at}`.repeat(at * 50)])))
  return cwd
}

/** A directory with a store of several MiB that was backed up and changed since. */
async function withBackup(): Promise<string> {
  const cwd = await tempDir()
  const store = await openLevelStore(join(cwd, 'store'))
  await Promise.all(Array.from({ length: 80 }, (_, at) => store.setSetting(`setting ${at}`, String(at % 10).repeat(60_000))))
  await store.close()
  await holdfastJson(BACKUP, { cwd })
  await holdfastJson(['import', await madeTree(cwd), '--store', 'level:store'], { cwd })
  await mkdir(join(cwd, 'trials'))
  return cwd
}

async function madeTree(cwd: string): Promise<string> {
  await writeTree(join(cwd, 'since'), { file: 'x' })
  return 'since'
}

async function sharesOf(cwd: string): Promise<readonly string[]> {
  await using store = await openLevelStore(join(cwd, 'store'))
  return (await store.shares()).map(({ name }) => name)
}

async function settingsOf(cwd: string): Promise<readonly string[]> {
  await using store = await openLevelStore(join(cwd, 'store'))
  return [...(await store.settings()).keys()]
}

async function jobsOf(cwd: string): Promise<readonly Record<string, unknown>[]> {
  return (await holdfastJson<{ jobs: Record<string, unknown>[] }>(['jobs', '--store', 'level:store'], { cwd })).jobs
}

/** The import, at the opening of a file in its middle. */
const inImport = (cwd: string): Promise<Frozen> => frozen(IMPORT, { cwd, at: /tree\/.*\/file-\d+$/, times: 30 })
/** The restore, at the opening of the payload that fills the side engine. */
const inRestore = (cwd: string): Promise<Frozen> => frozen(RESTORE, { cwd, at: /\/payload$/ })
/** The verification, at the opening of the payload that fills the trial store; the first opening is that of the check. */
const inVerify = (cwd: string): Promise<Frozen> => frozen(VERIFY, { cwd, at: /\/payload$/, times: 2 })
/** The backup, with all but the manifest at the destination. */
const inBackup = (cwd: string): Promise<Frozen> => frozen(BACKUP, { cwd, at: /\/manifest\.json$/ })

function expectInterrupted({ code, stdout, stderr }: Outcome): void {
  expect({ code, stdout }).toEqual({ code: 130, stdout: '' })
  expect(stderr).toMatch(/^error: backup_aborted: Interrupted by SIGINT [^\n]+\nhint: [^\n]+\n$/)
}

describe.runIf(process.platform === 'linux')('Ctrl-C in the middle of', () => {
  it('an import removes what it had created, with exit code 130; the next one succeeds', async () => {
    const cwd = await withTree()
    expectInterrupted(await (await inImport(cwd)).end('SIGINT'))
    expect(await sharesOf(cwd)).toEqual([])
    await holdfastJson(IMPORT, { cwd })
    expect(await sharesOf(cwd)).toEqual(['tree'])
  })

  it('a restore leaves the store as it was and no side engine, with exit code 130, and the job says so', async () => {
    const cwd = await withBackup()
    const engines = await readdir(join(cwd, 'store/engines'))
    const stopped = await inRestore(cwd)
    expect((await readdir(join(cwd, 'store/engines'))).length).toBe(2)
    expectInterrupted(await stopped.end('SIGINT'))
    expect(await readdir(join(cwd, 'store/engines'))).toEqual(engines)
    expect(await sharesOf(cwd)).toEqual(['since'])
    expect(await jobsOf(cwd)).toMatchObject([{ kind: 'restore', state: 'interrupted', error: { code: 'backup_aborted' } }, { kind: 'backup' }])
    await holdfastJson(RESTORE, { cwd })
    expect(await sharesOf(cwd)).toEqual([])
  })

  it('a trial restore leaves no trial store, with exit code 130', async () => {
    const cwd = await withBackup()
    const stopped = await inVerify(cwd)
    expect((await readdir(join(cwd, 'trials'))).length).toBe(1)
    expectInterrupted(await stopped.end('SIGINT'))
    expect(await readdir(join(cwd, 'trials'))).toEqual([])
    expect((await holdfast(VERIFY, { cwd })).code).toBe(0)
  })
})

describe.runIf(process.platform === 'linux')('SIGKILL in the middle of', () => {
  it('an import: the next one removes what it had created, and succeeds', async () => {
    const cwd = await withTree()
    expect(await (await inImport(cwd)).end('SIGKILL')).toEqual({ code: null, stdout: '', stderr: '' })
    await holdfastJson(IMPORT, { cwd })
    expect(await sharesOf(cwd)).toEqual(['tree'])
    expect(await settingsOf(cwd)).toEqual([])
    await holdfastJson(['export', 'out', '--store', 'level:store', '--payloads', 'payloads'], { cwd })
    expect((await compareTrees(join(cwd, 'tree'), join(cwd, 'out'))).differences).toEqual([])
  })

  it('a backup: nothing of it is listed, the job was interrupted, and a backup a day later leaves nothing of it', async () => {
    const cwd = await withTree()
    await holdfastJson(IMPORT, { cwd })
    expect((await (await inBackup(cwd)).end('SIGKILL')).code).toBe(null)
    const [left = '', ...others] = await readdir(join(cwd, 'backups'))
    expect([left, others]).toEqual([expect.stringMatching(/\.tmp$/), []])
    expect(await holdfastJson(['list', '--from', 'file:backups'], { cwd })).toEqual({ backups: [], newer: [], altered: [], damaged: [], missing: [] })
    for (const name of ['.', 'payload', 'payload-ids']) await utimes(join(cwd, 'backups', left, name), 0, 0)
    const { backupId } = await holdfastJson<{ backupId: string }>(BACKUP, { cwd })
    expect(await readdir(join(cwd, 'backups'))).toEqual([backupId])
    expect(await jobsOf(cwd)).toMatchObject([{ state: 'succeeded', backupId }, { state: 'interrupted', error: { code: 'internal' } }])
  })

  it('a restore: the store is as it was, the job was interrupted, and the next restore succeeds and leaves no side engine', async () => {
    const cwd = await withBackup()
    expect((await (await inRestore(cwd)).end('SIGKILL')).code).toBe(null)
    expect((await readdir(join(cwd, 'store/engines'))).length).toBe(2)
    expect(await sharesOf(cwd)).toEqual(['since'])
    expect((await readdir(join(cwd, 'store/engines'))).length).toBe(1)
    await holdfastJson(RESTORE, { cwd })
    expect(await sharesOf(cwd)).toEqual([])
    // The live one, and the one that is kept for rollback.
    expect((await readdir(join(cwd, 'store/engines'))).length).toBe(2)
    const interrupted = { kind: 'restore', state: 'interrupted', error: { code: 'internal', hint: expect.stringContaining('the store is unchanged or replaced as a whole') } }
    expect(await jobsOf(cwd)).toMatchObject([{ kind: 'restore', state: 'succeeded' }, interrupted, { kind: 'backup', state: 'succeeded' }])
  })
})
