import { chmod, chown, mkdir, readdir, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openLevelTrial } from '../../../src/stores/level/level-trial.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { holdfast, holdfastJson, writeTree } from '../../cli/holdfast.ts'

const DAY_MS = 24 * 60 * 60 * 1000
const tomorrow = (): number => Date.now() + DAY_MS + 60_000

async function trialIn(parent: string, options: { readonly clock?: () => number } = {}): Promise<{ discard(): Promise<void>; readonly warnings: Error[] }> {
  const warnings: Error[] = []
  const trial = await openLevelTrial(parent, { ...options, onWarning: (warning) => void warnings.push(warning) })
  return { discard: () => trial.discard(), warnings }
}

/** Runs one trial a day later, which removes what old ones left; gives what it warned of. */
async function trialTomorrow(parent: string): Promise<readonly Error[]> {
  const trial = await trialIn(parent, { clock: tomorrow })
  await trial.discard()
  return trial.warnings
}

/** A directory as a killed trial leaves it. */
async function leftover(parent: string, name: string): Promise<string> {
  const path = join(parent, name)
  await mkdir(join(path, 'store/engines'), { recursive: true, mode: 0o700 })
  await writeFile(join(path, 'store/holdfast.json'), 'cut off')
  return path
}

describe('openLevelTrial()', () => {
  it('leaves nothing when it is discarded', async () => {
    const parent = await tempDir()
    const trial = await trialIn(parent)
    expect((await readdir(parent)).length).toBe(1)
    await trial.discard()
    expect(await readdir(parent)).toEqual([])
  })

  it('leaves nothing when the store cannot be opened', async () => {
    // So deep that the directory can be made, and the files of a store in it cannot: a path has at most 4095 bytes.
    let parent = await tempDir()
    while (parent.length < 3800) parent = join(parent, 'd'.repeat(200))
    parent = join(parent, 'd'.repeat(4065 - parent.length))
    await mkdir(parent, { recursive: true })
    await expect(trialIn(parent)).rejects.toMatchObject({ code: 'store_unavailable' })
    expect(await readdir(parent)).toEqual([])
  })

  it('names its directory, and the options for another, where it cannot be made', async () => {
    const parent = await tempDir()
    await writeFile(join(parent, 'file'), '')
    for (const [name, code] of [['missing', 'entry_not_found'], ['file', 'not_a_directory']] as const) {
      const directory = join(parent, name)
      await expect(trialIn(directory)).rejects.toMatchObject({
        code,
        message: expect.stringContaining(`Cannot make a trial store in "${directory}": `) as string,
        hint: expect.stringContaining('--trial-dir DIR (at: ["level:DIR"]) or TMPDIR') as string,
      })
    }
  })

  it('removes what a trial that was killed a day ago left, whatever state it is in, and nothing younger', async () => {
    const parent = await tempDir()
    await leftover(parent, 'holdfast-trial-aB3xY9')
    await mkdir(join(parent, 'holdfast-trial-empty1'), { mode: 0o700 })
    expect((await readdir(parent)).length).toBe(2)
    const trial = await trialIn(parent)
    await trial.discard()
    expect(await readdir(parent)).toEqual(['holdfast-trial-aB3xY9', 'holdfast-trial-empty1'])
    expect(await trialTomorrow(parent)).toEqual([])
    expect(await readdir(parent)).toEqual([])
  })

  it('leaves a trial that still goes on', async () => {
    const parent = await tempDir()
    const running = await trialIn(parent)
    const [name] = await readdir(parent)
    expect(await trialTomorrow(parent)).toEqual([])
    expect(await readdir(parent)).toEqual([name])
    await running.discard()
  })

  it('follows no link, and leaves what others may write to and what has another name', async () => {
    const parent = await tempDir()
    const elsewhere = await leftover(await tempDir(), 'holdfast-trial-target')
    await symlink(elsewhere, join(parent, 'holdfast-trial-linked'))
    await chmod(await leftover(parent, 'holdfast-trial-shared'), 0o770)
    if (process.getuid?.() === 0) await chown(await leftover(parent, 'holdfast-trial-theirs'), 65_534, 65_534)
    await leftover(parent, 'holdfast-trial-mine')
    await symlink(elsewhere, join(await leftover(parent, 'holdfast-trial-within'), 'link'))
    expect(await trialTomorrow(parent)).toEqual([])
    const theirs = process.getuid?.() === 0 ? ['holdfast-trial-theirs'] : []
    expect((await readdir(parent)).toSorted()).toEqual(['holdfast-trial-linked', 'holdfast-trial-mine', 'holdfast-trial-shared', ...theirs])
    expect(await readdir(elsewhere)).toEqual(['store'])
  })

  it('warns of what it cannot remove, and goes on', async () => {
    const parent = await tempDir()
    const path = join(parent, 'holdfast-trial-broken')
    await mkdir(path, { mode: 0o700 })
    await writeFile(join(path, 'store'), 'a file')
    await utimes(path, 0, 0)
    const trial = await trialIn(parent)
    expect(trial.warnings.map(({ message }) => message)).toEqual([expect.stringContaining(path)])
    await trial.discard()
  })
})

/** A directory with a store and its backup. */
async function backedUp(): Promise<string> {
  const cwd = await tempDir()
  await writeTree(join(cwd, 'tree'), { file: 'x' })
  await holdfastJson(['import', 'tree', '--store', 'level:store'], { cwd })
  await holdfastJson(['backup', '--store', 'level:store', '--to', 'file:backups'], { cwd })
  return cwd
}

describe('holdfast verify --trial-dir', () => {
  const VERIFY = ['verify', 'latest', '--from', 'file:backups', '--level', 'restore', '--trial-dir', 'trials']

  it('makes the trial store there and nowhere else, and leaves nothing of it, nor of one that was killed', async () => {
    const cwd = await backedUp()
    const temporary = join(cwd, 'tmp')
    await mkdir(temporary)
    await utimes(await leftover(join(cwd, 'trials'), 'holdfast-trial-killed'), 0, 0)
    const outcome = await holdfast(VERIFY, { cwd, env: { TMPDIR: temporary } })
    expect(outcome).toMatchObject({ code: 0, stderr: '' })
    expect(outcome.stdout).toMatch(/; a trial restore gave back the same records\n$/)
    expect(await readdir(join(cwd, 'trials'))).toEqual([])
    expect(await readdir(temporary)).toEqual([])
  })

  it('ends with exit code 1 where there is no such directory', async () => {
    const { code, stderr } = await holdfast(VERIFY, { cwd: await backedUp() })
    expect(code).toBe(1)
    expect(stderr).toMatch(/^error: entry_not_found: [^\n]*trials[^\n]*\nhint: /)
  })
})
