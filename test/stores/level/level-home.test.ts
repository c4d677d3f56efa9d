import { existsSync } from 'node:fs'
import { cp, lstat, mkdir, readFile, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { describe, expect, it, onTestFinished } from 'vitest'
import { fsDestination } from '../../../destinations/fs/index.ts'
import { newUlid } from '../../../src/util/ulid.ts'
import { runBackup } from '../../../src/backup/run-backup.ts'
import { type Files, nodeFiles } from '../../../src/util/files.ts'
import { restoreBackup } from '../../../src/restore/restore-backup.ts'
import { RESTORE_STEPS } from '../../../src/restore/steps.ts'
import { adoptedFiles } from '../../../src/stores/level/home/home-survey.ts'
import { type LevelHome, LevelMetadataStore, type LevelStore, openLevelHome, openLevelStore } from '../../../src/stores/level/index.ts'
import { dump, fillStore } from '../../restore/trees.ts'
import { type Child, startChild } from '../../support/child.ts'
import { CrashFiles, materialise } from '../../support/crash-files.ts'
import { tempDir } from '../../support/temp-dir.ts'

const holder = new URL('./home-holder.js', import.meta.url.replace('/test/', '/dist/test/'))

async function madeStore(path: string): Promise<{ readonly storeId: string; readonly content: string }> {
  await using store = await openLevelStore(path)
  await fillStore(store, { seed: 1, files: 12 })
  return { storeId: store.storeId, content: await dump(store) }
}

async function contentAt(path: string): Promise<string> {
  await using store = await openLevelStore(path, { create: false })
  return await dump(store)
}

async function pointerAt(path: string): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(join(path, 'holdfast.json'), 'utf8')) as Record<string, unknown>
}

async function liveDirectory(path: string): Promise<string> {
  return join(path, 'engines', String((await pointerAt(path))['engine']))
}

async function using<T>(home: Promise<LevelHome>, task: (home: LevelHome) => Promise<T>): Promise<T> {
  const opened = await home
  try {
    return await task(opened)
  } finally {
    await opened.close()
  }
}

async function elsewhere(path: string): Promise<string> {
  const target = join(await tempDir(), 'elsewhere')
  await rename(path, target)
  await symlink(target, path)
  return target
}

async function hold(path: string): Promise<Child> {
  const child = startChild(holder, [path])
  onTestFinished(() => child.kill())
  expect(await child.line()).toBe('open')
  return child
}

async function plainStore(path: string): Promise<string> {
  await using store = await LevelMetadataStore.open(new ClassicLevel(path), { kind: 'level', storeId: 'plain' })
  await fillStore(store, { seed: 2, files: 5 })
  return await dump(store)
}

/** Every path below a directory with the content of files, to show that nothing was touched. The lock's own files do not count. */
async function snapshotOf(directory: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const entry of await readdir(directory, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name)
    if (path.includes('holdfast.lock')) continue
    found[path] = entry.isFile() ? await readFile(path, 'base64') : String((await lstat(path)).mode)
  }
  return found
}

describe('openLevelStore', () => {
  it('makes a store where nothing is, directories above it too, and opens the same one again', async () => {
    const path = join(await tempDir(), 'a', 'b')
    const { storeId, content } = await madeStore(path)
    await using again = await openLevelStore(path, { create: false })
    expect(again.storeId).toBe(storeId)
    expect(await dump(again)).toBe(content)
    expect((await lstat(path)).mode & 0o777).toBe(0o700)
    expect((await lstat(join(path, 'holdfast.json'))).mode & 0o777).toBe(0o600)
    expect((await again.engines()).leftovers).toEqual([])
  })

  it('gives a new store the ID it is told, and refuses to open it as another', async () => {
    const path = await tempDir()
    await (await openLevelStore(path, { storeId: 'mine' })).close()
    expect(await pointerAt(path)).toMatchObject({ storeId: 'mine' })
    await expect(openLevelStore(path, { storeId: 'yours' })).rejects.toMatchObject({ code: 'store_id_mismatch', hint: expect.stringContaining('"storeId"') as string })
    await (await openLevelStore(path, { storeId: 'mine' })).close()
  })

  it('with create: false refuses a path where no store is and makes nothing', async () => {
    const path = join(await tempDir(), 'none')
    await expect(openLevelStore(path, { create: false })).rejects.toMatchObject({ code: 'store_unavailable' })
    expect(existsSync(path)).toBe(false)
  })

  it('refuses operations after close, and lets the next handle in', async () => {
    const path = await tempDir()
    const store = await openLevelStore(path)
    await Promise.all([store.close(), store.close()])
    await expect(store.shares()).rejects.toMatchObject({ code: 'store_unavailable' })
    await expect(store.openSide(newUlid(), { storeId: 'x' })).rejects.toMatchObject({ code: 'store_unavailable' })
    await (await openLevelStore(path)).close()
  })

  it('refuses a directory that holds something else, and leaves it as it is', async () => {
    const path = await tempDir()
    await writeFile(join(path, 'thesis.txt'), 'all of it')
    const before = await snapshotOf(path)
    await expect(openLevelStore(path)).rejects.toMatchObject({ code: 'store_unavailable', message: expect.stringContaining('thesis.txt') as string })
    await expect(openLevelHome(path)).rejects.toMatchObject({ code: 'store_unavailable' })
    expect(await snapshotOf(path)).toEqual(before)
    expect(await readdir(path)).toEqual(['thesis.txt'])
  })

  it('refuses a file in place of the directory', async () => {
    const path = join(await tempDir(), 'file')
    await writeFile(path, 'x')
    await expect(openLevelStore(path)).rejects.toMatchObject({ code: 'store_unavailable' })
  })

  describe('links', () => {
    it.each([
      ['the path itself', async (path: string) => path],
      ['the pointer', async (path: string) => join(path, 'holdfast.json')],
      ['the directory of the engines', async (path: string) => join(path, 'engines')],
      ['the live engine', liveDirectory],
      ['the lock', async (path: string) => join(path, 'holdfast.lock')],
    ])('refuses a link in place of %s, and leaves what it leads to as it is', async (_, place) => {
      const path = join(await tempDir(), 'store')
      await madeStore(path)
      const target = await elsewhere(await place(path))
      const before = (await lstat(target)).isDirectory() ? await snapshotOf(target) : await readFile(target, 'utf8')
      await expect(openLevelStore(path)).rejects.toMatchObject({ code: 'store_unavailable' })
      expect((await lstat(target)).isDirectory() ? await snapshotOf(target) : await readFile(target, 'utf8')).toEqual(before)
    })

    it('removes a link among the engines that is named like one, and nothing it leads to', async () => {
      const path = await tempDir()
      const { content } = await madeStore(path)
      const precious = await tempDir()
      await writeFile(join(precious, 'data'), 'precious')
      await symlink(precious, join(path, 'engines', newUlid()))
      expect(await contentAt(path)).toBe(content)
      expect(await readdir(precious)).toEqual(['data'])
      expect(await readdir(join(path, 'engines'))).toHaveLength(1)
    })
  })

  describe('pointer', () => {
    it.each([
      ['junk', 'junk'],
      ['empty', ''],
      ['one that climbs out', '{"format":1,"storeId":"a","engine":"../../x"}'],
      ['one that is too large', `{"format":1,"storeId":"a","engine":"."${' '.repeat(8192)}}`],
    ])('damaged (%s): refuses to open and removes no engine', async (_, text) => {
      const path = await tempDir()
      await madeStore(path)
      await writeFile(join(path, 'holdfast.json'), text)
      const before = await snapshotOf(path)
      await expect(openLevelStore(path)).rejects.toMatchObject({ code: 'store_unavailable', message: expect.stringContaining('holdfast.json') as string })
      await expect(openLevelHome(path)).rejects.toMatchObject({ code: 'store_unavailable' })
      expect(await snapshotOf(path)).toEqual(before)
    })

    it('missing beside engines: says so, guesses nothing, removes nothing', async () => {
      const path = await tempDir()
      await madeStore(path)
      const engine = String((await pointerAt(path))['engine'])
      await rm(join(path, 'holdfast.json'))
      const before = await snapshotOf(path)
      const lost = { code: 'store_unavailable', message: expect.stringContaining('missing') as string, details: { engines: [engine] } }
      await expect(openLevelStore(path)).rejects.toMatchObject(lost)
      await expect(openLevelStore(path, { adopt: true })).rejects.toMatchObject(lost)
      expect(await snapshotOf(path)).toEqual(before)
    })

    it('of an engine that is of another store: refuses to serve it', async () => {
      const path = await tempDir()
      await madeStore(path)
      await writeFile(join(path, 'holdfast.json'), JSON.stringify({ ...(await pointerAt(path)), storeId: 'another' }))
      await expect(openLevelStore(path)).rejects.toMatchObject({ code: 'store_id_mismatch', hint: expect.stringContaining('restore a backup there') as string })
    })
  })

  describe('damaged live engine', () => {
    it.each<readonly [string, (engine: string) => Promise<void>]>([
      ['its directory is gone', (engine) => rm(engine, { recursive: true })],
      ['it is empty', async (engine) => {
        await rm(engine, { recursive: true })
        await mkdir(engine)
      }],
      ['its CURRENT is garbage', (engine) => writeFile(join(engine, 'CURRENT'), 'garbage')],
      ['its CURRENT is gone', (engine) => rm(join(engine, 'CURRENT'))],
      ['its tables are gone', async (engine) => {
        for (const name of await readdir(engine)) if (/\.(ldb|log)$/.test(name)) await rm(join(engine, name))
      }],
      ['it is another, empty LevelDB', async (engine) => {
        await rm(engine, { recursive: true })
        const db = new ClassicLevel(engine)
        await db.open()
        await db.close()
      }],
    ])('%s: openLevelStore refuses, openLevelHome opens and knows the store ID', async (_, wreck) => {
      const path = await tempDir()
      const { storeId } = await madeStore(path)
      await wreck(await liveDirectory(path))
      await expect(openLevelStore(path)).rejects.toMatchObject({ code: 'store_unavailable' })
      await using(openLevelHome(path), async (home) => {
        expect(await home.readStoreId()).toBe(storeId)
        await expect(home.checkLive()).rejects.toMatchObject({ code: 'store_unavailable' })
      })
    })
  })

  describe('lock', () => {
    it('refuses a second handle of this process', async () => {
      const path = await tempDir()
      await using first = await openLevelStore(path)
      await expect(openLevelStore(path)).rejects.toMatchObject({ code: 'store_not_drained', retryable: true, hint: 'Use the handle that has it open, or close that first' })
      await expect(openLevelHome(path)).rejects.toMatchObject({ code: 'store_not_drained' })
      await first.createShare('goes on')
      const child = startChild(holder, [path])
      await expect(child.line()).rejects.toThrow('store_not_drained')
    })

    it('refuses a store that another process has open, says so, and opens it when that was killed', async () => {
      const path = await tempDir()
      const { content } = await madeStore(path)
      const child = await hold(path)
      await expect(openLevelStore(path)).rejects.toMatchObject({ code: 'store_not_drained', message: expect.stringContaining('another process') as string })
      await expect(openLevelHome(path)).rejects.toMatchObject({ code: 'store_not_drained' })
      await child.kill()
      expect(await contentAt(path)).toBe(content)
    })

    it('is not kept from opening by garbage in the files beside the lock', async () => {
      const path = await tempDir()
      const { content } = await madeStore(path)
      for (const name of await readdir(join(path, 'holdfast.lock'))) await writeFile(join(path, 'holdfast.lock', name), 'garbage')
      expect(await contentAt(path)).toBe(content)
    })
  })

  describe('adopt', () => {
    it('refuses a plain LevelDB directory that was not asked for, with a hint, and leaves it as it is', async () => {
      const path = await tempDir()
      await plainStore(path)
      const before = await snapshotOf(path)
      await expect(openLevelStore(path)).rejects.toMatchObject({ code: 'store_unavailable', hint: expect.stringContaining('--adopt (adopt: true)') as string })
      await expect(openLevelStore(path, { adopt: false })).rejects.toMatchObject({ code: 'store_unavailable', hint: 'Name a directory that does not exist or is empty' })
      expect(await snapshotOf(path)).toEqual(before)
    })

    it('takes it over where it is, with its ID, and opens it again without being asked', async () => {
      const path = await tempDir()
      const content = await plainStore(path)
      const adopted = await openLevelStore(path, { adopt: true })
      expect(adopted.storeId).toBe('plain')
      expect(await dump(adopted)).toBe(content)
      await adopted.close()
      expect(await pointerAt(path)).toEqual({ format: 1, storeId: 'plain', engine: '.' })
      expect(await contentAt(path)).toBe(content)
    })

    it('refuses a LevelDB that holds no metadata store', async () => {
      const path = await tempDir()
      const db = new ClassicLevel(path)
      await db.put('some', 'thing')
      await db.close()
      await expect(openLevelStore(path, { adopt: true })).rejects.toMatchObject({
        code: 'store_unavailable',
        message: expect.stringContaining(path) as string,
        hint: 'The database of another program is backed up from within that program, with levelBackupable() of the library',
      })
      expect((await readdir(path)).filter((name) => !adoptedFiles([name]).includes(name))).toEqual([])
    })

    it('removes the adopted files alone, once neither live nor previous', async () => {
      const path = await tempDir()
      await plainStore(path)
      await (await openLevelStore(path, { adopt: true })).close()
      await writeFile(join(path, 'notes.txt'), 'mine')
      await using(openLevelHome(path), async (home) => {
        await expect(home.removeEngine('.')).rejects.toMatchObject({ code: 'internal' })
        const engine = newUlid()
        const side = await home.openSide(engine, { storeId: 'plain' })
        await side.seal()
        await home.swap(engine, { storeId: 'plain', previous: undefined })
        expect((await home.engines()).leftovers).toEqual(['.'])
        await home.removeEngine('.')
        expect((await home.engines()).leftovers).toEqual([])
      })
      expect((await readdir(path)).toSorted()).toEqual(['engines', 'holdfast.json', 'holdfast.lock', 'notes.txt'])
    })
  })

  describe('leftovers', () => {
    it('are swept at open: engines that are neither live nor previous, and nothing of another name', async () => {
      const path = await tempDir()
      const { content } = await madeStore(path)
      const leftover = newUlid()
      await cp(await liveDirectory(path), join(path, 'engines', leftover), { recursive: true })
      await mkdir(join(path, 'engines', 'not-an-engine'))
      await writeFile(join(path, 'engines', 'README'), 'mine')
      expect(await contentAt(path)).toBe(content)
      const live = String((await pointerAt(path))['engine'])
      expect((await readdir(join(path, 'engines'))).toSorted()).toEqual([live, 'README', 'not-an-engine'].toSorted())
    })

    it('that cannot be removed are warned of and do not keep the store from opening', async () => {
      const path = await tempDir()
      const { content } = await madeStore(path)
      await mkdir(join(path, 'engines', newUlid()))
      const files: Files = { ...nodeFiles, removeDirectory: (at) => Promise.reject(Object.assign(new Error(`EACCES "${at}"`), { code: 'EACCES' })) }
      const warnings: Error[] = []
      await using store = await openLevelStore(path, { files, onWarning: (warning) => warnings.push(warning) })
      expect(await dump(store)).toBe(content)
      expect(warnings).toMatchObject([{ code: 'store_unavailable' }])
    })
  })

  it('finishes a home that was begun and not finished, wherever its making was cut off', async () => {
    const root = await tempDir()
    const begun: ((path: string) => Promise<unknown>)[] = [
      (path) => mkdir(path),
      (path) => mkdir(join(path, 'holdfast.lock'), { recursive: true }),
      (path) => mkdir(join(path, 'engines'), { recursive: true }),
      async (path) => {
        await mkdir(path)
        await writeFile(join(path, 'holdfast.json.tmp'), '{"for')
      },
      async (path) => {
        await mkdir(join(path, 'engines', newUlid()), { recursive: true })
        await writeFile(join(path, 'holdfast.json'), '{"format":1}\n')
      },
    ]
    for (const [at, begin] of begun.entries()) {
      const path = join(root, `${at}`)
      await begin(path)
      await expect(openLevelStore(path, { create: false })).rejects.toMatchObject({ code: 'store_unavailable' })
      await using store = await openLevelStore(path)
      await store.createShare('works')
      expect((await store.engines()).leftovers).toEqual([])
      expect(await readdir(join(path, 'engines'))).toHaveLength(1)
    }
  })
})

describe('LevelHome', () => {
  it('swap, writeJournal and clearJournal are durable when they resolve, and a sealed engine is', async () => {
    const root = await tempDir()
    const path = join(root, 'store')
    await madeStore(path)
    const crash = new CrashFiles(root)
    const home = await openLevelHome(path, { files: crash.files })
    const engine = newUlid()
    const journal = { restoreId: engine, backupId: undefined, from: (await home.engines()).live, to: engine, startedAtMs: 1 }
    const storeId = (await home.readStoreId()) ?? ''

    const side = await home.openSide(engine, { storeId })
    await side.seal()
    const sealed = crash.crash(1)
    await home.writeJournal(journal)
    const journalled = states(crash)
    await home.swap(engine, { storeId, previous: journal.from })
    const swapped = states(crash)
    await home.clearJournal()
    const cleared = states(crash)
    await home.close()

    expect([...sealed.keys()].some((name) => name.startsWith(join('store', 'engines', engine, 'MANIFEST')))).toBe(true)
    for (const state of journalled) expect(state.has(join('store', 'restore.json'))).toBe(true)
    for (const state of swapped) expect(JSON.parse(String(state.get(join('store', 'holdfast.json'))))).toMatchObject({ engine, previous: journal.from })
    for (const state of cleared) expect(state.has(join('store', 'restore.json'))).toBe(false)
    const after = await tempDir()
    materialise(cleared[0] ?? sealed, after)
    await using store: LevelStore = await openLevelStore(join(after, 'store'), { create: false })
    expect(store.storeId).toBe(storeId)
  })
})

function states(crash: CrashFiles): readonly ReadonlyMap<string, Buffer | undefined>[] {
  return Array.from({ length: 40 }, (_, seed) => crash.crash(seed))
}

describe('LiveMetadataStore.close()', () => {
  it('in a restore, at whatever step: nothing in the home changes after it, and the next opening has one store or the other, whole', async () => {
    const path = join(await tempDir(), 'store')
    const destination = fsDestination({ path: join(await tempDir(), 'backups') })
    await madeStore(path)
    for (const at of RESTORE_STEPS) {
      const store = await openLevelStore(path)
      await store.setSetting('changed', 'no')
      const same = await dump(store)
      const { backupId } = (await runBackup({ store, destination })).manifest
      await store.setSetting('changed', 'yes')
      const changed = await dump(store)
      let closing: Promise<Record<string, string>> | undefined
      const onProgress = ({ step }: { readonly step: string }): void => {
        if (step === at) closing ??= store.close().then(() => snapshotOf(path))
      }
      await restoreBackup({ target: store, destination, backupId, onProgress }).catch(() => undefined)
      expect(await snapshotOf(path), at).toEqual(await closing)
      expect([same, changed], at).toContain(await contentAt(path))
    }
  })

  it('ends a backup that is running with store_unavailable, and leaves a store that opens again', async () => {
    const path = join(await tempDir(), 'store')
    const { storeId } = await madeStore(path)
    const store = await openLevelStore(path)
    let isWriting: () => void = () => undefined
    const writing = new Promise<void>((resolve) => (isWriting = resolve))
    const backup = store.backup({
      // Never takes the first chunk.
      write: () => new Promise(isWriting),
      finish: async () => undefined,
    })
    const ended = backup.then(
      () => 'no failure',
      (error: unknown) => (error as { code: string }).code,
    )
    await writing
    await store.close()
    expect(await ended).toBe('store_unavailable')
    await using again = await openLevelStore(path)
    expect(again.storeId).toBe(storeId)
  })
})
