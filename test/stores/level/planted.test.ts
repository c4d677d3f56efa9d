/** What others may have put where a store keeps its files, and with which permissions it makes them. */
import { execFileSync } from 'node:child_process'
import { link, lstat, mkdir, readFile, readdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { fsDestination } from '../../../destinations/fs/index.ts'
import { newUlid } from '../../../src/util/ulid.ts'
import { restoreBackup } from '../../../src/restore/restore-backup.ts'
import { openLevelHome, openLevelStore } from '../../../src/stores/level/index.ts'
import { publish, takeBackup } from '../../restore/publish.ts'
import { dump, fillStore } from '../../restore/trees.ts'
import { tempDir } from '../../support/temp-dir.ts'

async function madeStore(): Promise<{ path: string; content: string; backups: string; backupId: string }> {
  const root = await tempDir()
  const [path, backups] = [join(root, 'store'), join(root, 'backups')]
  await using store = await openLevelStore(path)
  await fillStore(store, { seed: 1, files: 5 })
  const backupId = await publish(fsDestination({ path: backups }), await takeBackup(store))
  return { path, content: await dump(store), backups, backupId }
}

/** All names but those of the lock, in which LevelDB keeps notes. */
async function namesIn(path: string): Promise<readonly string[]> {
  return (await readdir(path, { recursive: true })).filter((name) => !name.startsWith('holdfast.lock/')).toSorted()
}

const canMakeDevices = process.platform === 'linux' && process.geteuid?.() === 0

const PLANTED: readonly (readonly [string, boolean, (path: string) => unknown])[] = [
  ['FIFO', process.platform !== 'win32', (path) => execFileSync('mkfifo', [path])],
  ['device', canMakeDevices, (path) => execFileSync('mknod', [path, 'c', '1', '5'])],
  ['directory', true, (path) => mkdir(path)],
]

describe.each(PLANTED.filter(([, isPossible]) => isPossible))('a %s planted', (_, __, plant) => {
  it.each(['holdfast.json', 'restore.json'])('in place of %s is refused without waiting, and nothing is removed', async (name) => {
    const { path } = await madeStore()
    await rename(join(path, name), join(path, 'moved')).catch(() => undefined)
    await plant(join(path, name))
    const before = await namesIn(path)
    await expect(openLevelStore(path)).rejects.toMatchObject({ code: 'store_unavailable' })
    await expect(openLevelHome(path)).rejects.toMatchObject({ code: 'store_unavailable' })
    expect(await namesIn(path)).toEqual(before)
  })
})

describe('a hard link planted', () => {
  it.each(['holdfast.json.tmp', 'restore.json.tmp'])('as %s is replaced by a restore, not written through', async (name) => {
    const { path, content, backups, backupId } = await madeStore()
    const precious = join(await tempDir(), 'precious')
    await writeFile(precious, 'precious')
    await link(precious, join(path, name))
    await using store = await openLevelStore(path)
    await restoreBackup({ target: store, destination: fsDestination({ path: backups }), backupId })
    expect(await readFile(precious, 'utf8')).toBe('precious')
    expect(await dump(store)).toBe(content)
  })
})

describe('the files of a store', () => {
  it.each([0o000, 0o022, 0o077])('are out of reach of others under umask %i, before a restore and after it', async (umask) => {
    const before = process.umask(umask)
    onTestFinished(() => void process.umask(before))
    const { path, backups, backupId } = await madeStore()
    await using store = await openLevelStore(path)
    await restoreBackup({ target: store, destination: fsDestination({ path: backups }), backupId })
    await store.close()
    const names = ['.', ...(await readdir(path, { recursive: true }))]
    const infos = await Promise.all(names.map(async (name) => ({ name, info: await lstat(join(path, name)) })))
    // The lock, two engines, and the directories around them.
    expect(infos.filter(({ info }) => info.isDirectory()).map(({ info }) => info.mode & 0o7777)).toEqual(Array(5).fill(0o700))
    expect((await lstat(join(path, 'holdfast.json'))).mode & 0o7777).toBe(0o600)
    // LevelDB gives its files what the umask leaves; the directories keep all other users out.
    const levelFiles = infos.filter(({ name }) => name.endsWith('/CURRENT'))
    expect(levelFiles.map(({ info }) => info.mode & 0o7777)).toEqual(Array(3).fill(0o666 & ~umask))
  })
})

describe('restoreBackup()', () => {
  it('into a directory that holds something else is refused, and changes no byte', async () => {
    const { backups, backupId } = await madeStore()
    const path = await tempDir()
    await writeFile(join(path, 'notes.txt'), 'mine')
    await mkdir(join(path, newUlid()))
    const before = await readdir(path)
    const restoring = openLevelHome(path).then((target) => restoreBackup({ target, destination: fsDestination({ path: backups }), backupId }))
    await expect(restoring).rejects.toMatchObject({ code: 'store_unavailable' })
    expect(await readdir(path)).toEqual(before)
    expect(await readFile(join(path, 'notes.txt'), 'utf8')).toBe('mine')
  })
})
