/** The command line where its surroundings are odd: umask, working directory, signals, output, disks. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, lstat, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openLevelStore } from '../../src/stores/level/index.ts'
import { compareTrees } from '../../src/trees/index.ts'
import { shellWord } from '../../src/util/text.ts'
import { canMount, fillDisk, smallDisk } from '../support/small-disk.ts'
import { tempDir } from '../support/temp-dir.ts'
import { holdfastJson, holdfastProcess, MAIN, type Outcome, writeTree } from './holdfast.ts'

const IMPORT = ['import', 'tree', '--store', 'level:store', '--payloads', 'payloads']
const BACKUP = ['backup', '--store', 'level:store', '--to', 'file:backups']
const EXPORT = ['export', 'out', '--store', 'level:store', '--payloads', 'payloads']
const NOBODY = 65534
/** A user of whom the system knows nothing. */
const UNKNOWN = 54_321

/** Runs one command by a shell script, whose `"$@"` is the command. */
function byShell(script: string, words: readonly string[], options: { readonly cwd: string; readonly uid?: number }): Outcome {
  const { status, stdout, stderr } = spawnSync('sh', ['-c', script, 'sh', process.execPath, MAIN, ...words], { ...options, gid: options.uid, encoding: 'utf8' })
  return { code: status, stdout, stderr }
}

const canUnshare = spawnSync('unshare', ['-r', 'true']).status === 0
const canScript = spawnSync('script', ['-qec', 'true', '/dev/null'], { stdio: 'ignore' }).status === 0
const hasDevFull = spawnSync('sh', ['-c', 'test -c /dev/full']).status === 0

describe('holdfast under a umask', () => {
  it('makes everything private under 000, LevelDB\'s own files too', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { 'a/file': 'content' })
    for (const words of [IMPORT, BACKUP]) expect(byShell('umask 000; exec "$@"', words, { cwd: dir })).toMatchObject({ code: 0 })
    for (const root of ['store', 'payloads', 'backups']) {
      for (const name of ['', ...(await readdir(join(dir, root), { recursive: true }))]) {
        const stats = await lstat(join(dir, root, name))
        expect(stats.mode & 0o777, join(root, name)).toBe(stats.isDirectory() ? 0o700 : 0o600)
      }
    }
  })

  it('imports, backs up, restores and exports under 0777, as any user', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { 'a/file': 'content' })
    // Root may do anything whatever the mode. Another user can be tried only where it reaches Node and the build.
    const isReached = process.getuid?.() === 0 && byShell('exec "$@"', ['--version'], { cwd: '/', uid: NOBODY }).code === 0
    const uid = isReached ? NOBODY : undefined
    if (uid !== undefined) await chown(dir, uid, uid)
    const restore = ['restore', 'latest', '--from', 'file:backups', '--store', 'level:store', '--yes', '--quiet']
    for (const words of [IMPORT, BACKUP, restore, EXPORT]) {
      const { code, stderr } = byShell('umask 0777; exec "$@"', words, { cwd: dir, ...(uid !== undefined && { uid }) })
      expect({ code, stderr: stderr.replace(/^note: .*\n/m, '') }).toEqual({ code: 0, stderr: '' })
    }
    expect((await compareTrees(join(dir, 'tree'), join(dir, 'out'))).differences).toEqual([])
  })
})

describe('holdfast in a working directory that was removed', () => {
  const script = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'

  const SENTENCE = 'error: entry_not_found: Cannot go on: the working directory was removed\nhint: Change to a directory that is there, then run the command again\n'

  it('says so for a relative path', async () => {
    const { code, stdout, stderr } = byShell(script, BACKUP, { cwd: await tempDir() })
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toBe(SENTENCE)
  })

  it('takes absolute paths, where no worker thread is needed: Node cannot start one there', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { file: 'content' })
    await holdfastJson(IMPORT, { cwd: dir })
    await holdfastJson(BACKUP, { cwd: dir })
    expect(byShell(script, ['list', '--from', `file:${dir}/backups`], { cwd: dir })).toMatchObject({ code: 0, stderr: '' })
    const { code, stderr } = byShell(`rmdir gone 2>/dev/null; ${script}`, ['backup', '--store', `level:${dir}/store`, '--to', `file:${dir}/backups`], { cwd: dir })
    expect({ code, stderr }).toEqual({ code: 1, stderr: SENTENCE })
  })
})

/** A backup that takes longer than any test, and writes soon. */
const SLOW_BACKUP = [...BACKUP, '--max-rate', '4096']

/** A directory with a store of several MiB. */
async function withLargeStore(): Promise<string> {
  const dir = await tempDir()
  await using store = await openLevelStore(join(dir, 'store'))
  await Promise.all(Array.from({ length: 120 }, (_, at) => store.setSetting(`setting ${at}`, String(at % 10).repeat(60_000))))
  return dir
}

/** Resolves when the backup writes, or its process has ended. */
async function untilUploading(dir: string, child: ChildProcess): Promise<void> {
  const isUploading = async (): Promise<boolean> => {
    const [name = ''] = (await readdir(join(dir, 'backups')).catch(() => [])).filter((found) => found.endsWith('.tmp'))
    return (await stat(join(dir, 'backups', name, 'payload')).catch(() => undefined))?.isFile() === true
  }
  while (child.exitCode === null && !(await isUploading())) await new Promise((resolve) => setTimeout(resolve, 5))
}

describe('holdfast and SIGHUP', () => {
  it('goes on under nohup until it is told to end', async () => {
    const dir = await withLargeStore()
    const child = spawn('nohup', [process.execPath, MAIN, ...SLOW_BACKUP], { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] })
    const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
    await untilUploading(dir, child)
    child.kill('SIGHUP')
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect([child.exitCode, child.signalCode]).toEqual([null, null])
    child.kill('SIGTERM')
    expect(await closed).toEqual([143, null])
  })

  it.skipIf(!canScript)('ends cleanly when its terminal goes away: Node itself would abort there', async () => {
    const dir = await withLargeStore()
    // The kernel signals the leader of the terminal's session alone.
    await writeFile(join(dir, 'leader'), `trap 'kill -HUP $!' HUP\n"$@" &\nwait $!\nwait $!\necho $? > code.tmp\nmv code.tmp code\n`)
    const child = spawn('script', ['-qec', `exec sh leader ${[process.execPath, MAIN, ...SLOW_BACKUP].map(shellWord).join(' ')}`, '/dev/null'], { cwd: dir, stdio: 'ignore' })
    await untilUploading(dir, child)
    child.kill('SIGKILL')
    await expect.poll(() => readFile(join(dir, 'code'), 'utf8').catch(() => undefined)).toBe('129\n')
    expect(await holdfastJson(['jobs', '--store', 'level:store'], { cwd: dir })).toMatchObject({ jobs: [{ state: 'interrupted', error: { code: 'backup_aborted' } }] })
  })
})

describe('holdfast as a user of whom the system knows nothing, without HOME', () => {
  it.each([
    [['list', '--from', 'file:~/backups'], 'entry_not_found', 'Set HOME, or write paths in full'],
    [['list', '--from', 's3://bucket/backups?region=us-east-1&endpoint=http://127.0.0.1:1'], 'destination_config_invalid', 'Set HOME; '],
  ])('says for %j that HOME is needed', async (words, code, hint) => {
    const env = 'exec env -i AWS_ACCESS_KEY_ID=key AWS_SECRET_ACCESS_KEY=secret "$@"'
    // Only root can be another user, and only where that reaches Node and the build.
    if (process.getuid?.() !== 0 || byShell(env, ['--version'], { cwd: '/', uid: UNKNOWN }).code !== 0) return
    const outcome = byShell(env, words, { cwd: '/', uid: UNKNOWN })
    expect(outcome.stderr).toContain(`error: ${code}: `)
    expect(outcome.stderr).toContain(`home directory: HOME is not set, and the system does not know this user`)
    expect(outcome.stderr).toContain(`\nhint: ${hint}`)
  })
})

describe.skipIf(!hasDevFull)('holdfast with its output on a full disk', () => {
  it.each([[['--help']], [['list', '--from', 'file:backups', '--json']], [['list', '--from', 'file:backups']]])('%j says so in a sentence, and fails', async (words) => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { file: 'content' })
    await holdfastJson(IMPORT, { cwd: dir })
    await holdfastJson(BACKUP, { cwd: dir })
    const { code, stderr } = byShell('exec "$@" > /dev/full', words, { cwd: dir })
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: 'error: destination_no_space: Cannot write to the standard output: no space is left (ENOSPC)\nhint: Free space on that file system, then try again\n',
    })
  })
})

describe.skipIf(!canUnshare || process.getuid?.() !== 0)('holdfast export in a user namespace', () => {
  it('leaves out owners that the namespace does not map, and warns', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { mine: 'content', other: 'content' })
    await chown(join(dir, 'tree/other'), 1234, 1234)
    await chmod(join(dir, 'tree/other'), 0o640)
    await holdfastJson(IMPORT, { cwd: dir })
    const { code, stderr } = byShell('exec unshare -r "$@"', EXPORT, { cwd: dir })
    expect({ code, stderr }).toEqual({ code: 0, stderr: 'warning: 1 owner left out: the file system or the user namespace does not take them\n' })
    expect((await compareTrees(join(dir, 'tree'), join(dir, 'out'))).differences).toEqual([])
  })
})

describe('holdfast delete', () => {
  it('removes what is Holdfast\'s, names the rest, and succeeds', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { file: 'content' })
    await holdfastJson(IMPORT, { cwd: dir })
    const { backupId } = await holdfastJson<{ readonly backupId: string }>(BACKUP, { cwd: dir })
    await writeFile(join(dir, 'backups', backupId, 'NOTE.txt'), 'of the operator')
    const { code, stdout, stderr } = await holdfastProcess(['delete', backupId, '--from', 'file:backups', '--force', '--yes', '--quiet'], { cwd: dir })
    expect({ code, stdout }).toEqual({ code: 0, stdout: `Deleted ${backupId}\n` })
    expect(stderr).toBe(`warning: "${join(dir, 'backups', backupId)}" stays, because it has files in it that are not Holdfast's: "NOTE.txt"\n`)
    expect(await readdir(join(dir, 'backups', backupId))).toEqual(['NOTE.txt'])
  })
})

describe.skipIf(!canMount)('holdfast on disks that are full or read-only', () => {
  it('says in one line what of a store could not be cleaned up, and goes on', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { file: 'content' })
    await holdfastJson(IMPORT, { cwd: dir })
    const leftover = join(dir, 'store/engines/01J00000000000000000000000')
    await mkdir(leftover)
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', leftover])
    const { code, stderr } = await holdfastProcess(['check', '--store', 'level:store'], { cwd: dir }).finally(() => execFileSync('umount', [leftover]))
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringMatching(/^warning: Cannot remove the store at "[^\n]+EBUSY[^\n]+\n$/) as string })
  })

  it.each([
    ['payloads', /^error: destination_no_space: Cannot write payload "(DISK)\/payloads\/[0-9a-f/]+": no space is left \(ENOSPC\)\nhint: Free space on that file system, then try again\n$/],
    ['store', /^error: destination_no_space: Cannot [^\n]*(DISK)\/store\/[^\n]*No space left on device/],
  ])('import says when the disk of the %s is full', async (what, said) => {
    const [dir, disk] = [await tempDir(), await smallDisk('size=4m')]
    await writeTree(join(dir, 'small'), { file: 'x' })
    await writeTree(join(dir, 'tree'), Object.fromEntries(Array.from({ length: 300 }, (_, at) => [`${'n'.repeat(200)}${at}`, Buffer.alloc(8192, String(at))])))
    const places = { store: join(dir, 'store'), payloads: join(dir, 'payloads'), [what]: join(disk, what) }
    const into = ['--store', `level:${places.store}`, '--payloads', places.payloads]
    await holdfastJson(['import', 'small', ...into], { cwd: dir })
    fillDisk(disk, 20_000)
    const { code, stderr } = await holdfastProcess(['import', 'tree', ...into], { cwd: dir })
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(new RegExp(said.source.replace('(DISK)', disk))) as string })
  })

  it('a backup of a store on a read-only file system says what to do', async () => {
    const disk = await smallDisk('size=8m')
    await writeTree(join(disk, 'tree'), { file: 'content' })
    await holdfastJson(IMPORT, { cwd: disk })
    await mkdir(join(disk, 'elsewhere'))
    execFileSync('mount', ['-o', 'remount,ro', disk])
    const dir = await tempDir()
    const { code, stderr } = await holdfastProcess(['backup', '--store', `level:${disk}/store`, '--to', `file:${dir}/backups`], { cwd: dir })
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/^error: store_unavailable: Cannot open "[^\n]+read-only file system[^\n]*\nhint: LevelDB writes to its directory even to read it: /i) as string })
    expect(stderr).toContain(disk)
  })
})
