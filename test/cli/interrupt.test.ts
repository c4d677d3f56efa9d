import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { Interrupted } from '../../src/cli/interrupt.ts'
import { runCommandLine } from '../../src/cli/program.ts'
import { openLevelStore } from '../../src/stores/level/index.ts'
import { tempDir } from '../support/temp-dir.ts'
import { holdfast, holdfastJson, MAIN, writeTree } from './holdfast.ts'

/** A directory with a store of several MiB. */
async function prepare(): Promise<string> {
  const dir = await tempDir()
  await using store = await openLevelStore(join(dir, 'store'))
  await Promise.all(Array.from({ length: 120 }, (_, at) => store.setSetting(`setting ${at}`, String(at % 10).repeat(60_000))))
  return dir
}

/** At this rate the backup of the store takes longer than any test. */
const SLOWLY = ['--max-rate', '4096']
/** More than the probe of a destination has. */
const PROBE_BYTES = 1000
const BACKUP = ['backup', '--store', 'level:store', '--to', 'file:backups']

/** Starts a command, and signals it as soon as some of a payload is at the destination. */
async function interrupted(words: readonly string[], options: { readonly cwd: string; readonly signals: readonly NodeJS.Signals[] }): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [MAIN, ...words], { cwd: options.cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const closed = once(child, 'close') as Promise<[number | null]>
  while (child.exitCode === null && !(await isUploading(join(options.cwd, 'backups')))) {
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  for (const signal of options.signals) child.kill(signal)
  const [code] = await closed
  return { code, stdout, stderr }
}

/** Whether some of a payload is at the destination, unpublished. */
async function isUploading(destination: string): Promise<boolean> {
  for (const name of await namesIn(destination)) {
    const stats = name.endsWith('.tmp') ? await stat(join(destination, name, 'payload')).catch(() => undefined) : undefined
    if (stats !== undefined && stats.size > PROBE_BYTES) return true
  }
  return false
}

async function namesIn(directory: string): Promise<string[]> {
  return await readdir(directory).catch(() => [])
}

describe('Ctrl-C', () => {
  it('ends a backup with exit code 130, leaves nothing at the destination, and the job says so', async () => {
    const dir = await prepare()
    const { code, stdout, stderr } = await interrupted([...BACKUP, ...SLOWLY], { cwd: dir, signals: ['SIGINT'] })
    expect({ code, stdout }).toEqual({ code: 130, stdout: '' })
    expect(stderr).toMatch(/^error: backup_aborted: [^\n]+\nhint: [^\n]+\n$/)
    expect((await namesIn(join(dir, 'backups'))).filter((name) => /^[0-9A-Z]{26}/.test(name))).toEqual([])
    expect(await holdfastJson(['list', '--from', 'file:backups'], { cwd: dir })).toEqual({ backups: [], newer: [], altered: [], damaged: [], missing: [] })
    expect(await holdfastJson(['jobs', '--store', 'level:store'], { cwd: dir })).toMatchObject({ jobs: [{ state: 'interrupted', error: { code: 'backup_aborted' } }] })
    expect((await holdfast(BACKUP, { cwd: dir })).code).toBe(0)
  })

  it('is told as one document with --json', async () => {
    const dir = await prepare()
    const { code, stdout, stderr } = await interrupted([...BACKUP, ...SLOWLY, '--json'], { cwd: dir, signals: ['SIGINT'] })
    expect({ code, stderr }).toEqual({ code: 130, stderr: '' })
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'backup_aborted' } })
  })

  it('pressed twice ends at once; nothing is listed, and the next backup succeeds', async () => {
    const dir = await prepare()
    const { code } = await interrupted([...BACKUP, ...SLOWLY], { cwd: dir, signals: ['SIGINT', 'SIGINT'] })
    expect(code).toBe(130)
    expect(await holdfastJson(['list', '--from', 'file:backups'], { cwd: dir })).toEqual({ backups: [], newer: [], altered: [], damaged: [], missing: [] })
    expect((await holdfast(BACKUP, { cwd: dir })).code).toBe(0)
    expect(await holdfastJson(['jobs', '--store', 'level:store'], { cwd: dir })).toMatchObject({ jobs: [{ state: 'succeeded' }, { state: 'interrupted' }] })
  })

  it('has a cousin, SIGTERM, which ends as cleanly with exit code 143', async () => {
    const dir = await prepare()
    expect((await interrupted([...BACKUP, ...SLOWLY], { cwd: dir, signals: ['SIGTERM'] })).code).toBe(143)
    expect((await namesIn(join(dir, 'backups'))).filter((name) => /^[0-9A-Z]{26}/.test(name))).toEqual([])
  })

  it('in an export leaves nothing', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { file: 'x' })
    await holdfastJson(['import', 'tree', '--store', 'level:store', '--payloads', 'payloads'], { cwd: dir })
    const stderr = new PassThrough({ encoding: 'utf8' })
    const terminal = { stdin: new PassThrough(), stdout: new PassThrough(), stderr, env: {}, signal: AbortSignal.abort(new Interrupted('SIGINT')) }
    const words = ['export', join(dir, 'again'), '--store', `level:${join(dir, 'store')}`, '--payloads', join(dir, 'payloads')]
    expect(await runCommandLine(words, terminal)).toBe(130)
    expect(await namesIn(dir)).not.toContain('again')
    expect(String(stderr.read())).toMatch(/^error: backup_aborted: Interrupted by SIGINT .*\nhint: Nothing is left half done; run the command again/)
  })
})
