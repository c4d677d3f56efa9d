/** The runner of the tests: it refuses a stale build, and leaves nothing behind however it ends. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ROOT } from '../../project/sources.ts'
import { sample } from '../seed.ts'
import { tempDir } from '../temp-dir.ts'
import { staleBuild } from './stale-build.ts'

const VITEST = join(ROOT, 'node_modules/vitest/vitest.mjs')
/** Tests that start a Postgres server, an S3 server and other processes. */
const FILES = ['test/stores/postgres/postgres-home.test.ts', 'test/destinations/s3/s3.test.ts', 'test/crash/kill.test.ts']

/** Runs vitest in a group of its own, with all tests of the files, whose temporary files go below a directory. */
function startRun(temporary: string, files: readonly string[]): { readonly child: ChildProcess; readonly ended: Promise<string> } {
  const { HOLDFAST_TEST_RUN: _, ...env } = process.env
  const child = spawn(process.execPath, [VITEST, 'run', ...files], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'], env: { ...env, TMPDIR: temporary, HOLDFAST_RUNS: '1' }, detached: true })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  return { child, ended: once(child, 'exit').then(() => output) }
}

/** The command lines of all processes that were started with a word, in their command or their environment. */
async function processesWith(word: string): Promise<readonly string[]> {
  const found: string[] = []
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const read = (file: string): Promise<string> => readFile(join('/proc', name, file), 'utf8').catch(() => '')
    const command = await read('cmdline')
    if (command.includes(word) || (await read('environ')).includes(word)) found.push(command.replaceAll('\0', ' '))
  }
  return found
}

describe.skipIf(process.platform !== 'linux')('a run of tests', () => {
  const ends: readonly (readonly [string, (child: ChildProcess) => unknown])[] = [
    ['SIGTERM to the runner', (child) => child.kill('SIGTERM')],
    ['Ctrl-C at a terminal', (child) => process.kill(-(child.pid ?? NaN), 'SIGINT')],
    ['SIGKILL of the runner', (child) => child.kill('SIGKILL')],
  ]
  it.each(sample(ends))('that is ended by %s leaves no worker, no server and no folder', async (_, end) => {
    const temporary = await tempDir()
    // The user that a Postgres server runs as passes through.
    await chmod(temporary, 0o711)
    const { child, ended } = startRun(temporary, FILES)
    onTestFinished(() => void child.kill('SIGKILL'))
    const servers = async (): Promise<number> => (await processesWith(temporary)).filter((command) => /postgres.* -D /.test(command)).length
    await expect.poll(servers, { timeout: 200_000 }).toBe(1)
    await expect.poll(async () => (await processesWith(temporary)).filter((command) => command.includes('dist/test/crash/child.js')).length, { timeout: 200_000 }).toBeGreaterThan(0)
    end(child)
    await ended
    await expect.poll(() => processesWith(temporary), { timeout: 100_000 }).toEqual([])
    expect(await readdir(temporary)).toEqual([])
  })
})

describe('staleBuild()', () => {
  /** A project of one source and its build. */
  async function project(): Promise<string> {
    const root = await tempDir()
    for (const folder of ['src', 'dist/src']) await mkdir(join(root, folder), { recursive: true })
    await writeFile(join(root, 'src/a.ts'), 'export const a = 1\n')
    await writeFile(join(root, 'dist/src/a.js.map'), JSON.stringify({ sourcesContent: ['export const a = 1\n'] }))
    return root
  }

  it('takes the build of this run for fresh', () => {
    expect(staleBuild(ROOT)).toBe(undefined)
  })

  it('does not mind files that were written again as they were', async () => {
    const root = await project()
    await writeFile(join(root, 'src/a.ts'), 'export const a = 1\n')
    expect(staleBuild(root)).toBe(undefined)
  })

  it.each<readonly [string, (root: string) => Promise<unknown>, string]>([
    ['a source that was changed', (root) => writeFile(join(root, 'src/a.ts'), 'export const a = 2\n'), 'src/a.ts is not what dist was built from'],
    ['a source that was added', (root) => writeFile(join(root, 'src/b.ts'), ''), 'src/b.ts is not what dist was built from'],
    ['a source that was removed', (root) => rm(join(root, 'src/a.ts')), 'src/a.ts is no longer there'],
    ['a build that is not there', (root) => rm(join(root, 'dist'), { recursive: true }), 'src/a.ts is not what dist was built from'],
  ])('names %s', async (_, change, said) => {
    const root = await project()
    await change(root)
    expect(staleBuild(root)).toBe(`The build is stale: ${said}. Run npm run build first.`)
  })

  it('is what ends a run before its first test', async () => {
    const added = join(ROOT, 'test/support', `not-built-${process.pid}.ts`)
    const temporary = await tempDir()
    await writeFile(added, 'export const added = 1\n')
    onTestFinished(() => rm(added, { force: true }))
    const output = await startRun(temporary, ['test/util/text.test.ts']).ended
    await rm(added)
    expect(output).toContain('The build is stale: test/support/not-built-')
    expect(output).not.toContain('at staleBuild')
    expect(output).not.toMatch(/✓|passed/)
    expect(await readdir(temporary)).toEqual([])
  })
})
