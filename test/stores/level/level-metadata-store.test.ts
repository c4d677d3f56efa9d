import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { MemoryLevel } from 'memory-level'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { ErrorCode } from '../../../src/errors/errors.ts'
import { checkTree } from '../../../src/metadata/check-tree.ts'
import { LevelMetadataStore } from '../../../src/stores/level/store/level-metadata-store.ts'
import type { LevelDatabase } from '../../../src/stores/level/engine/text-database.ts'
import { checkLevelRecords } from '../../support/check-level-records.ts'
import { dumpStore } from '../../support/dump-store.ts'
import { fillStore } from '../../support/fill-store.ts'
import { tempDir } from '../../support/temp-dir.ts'

async function refused(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  await expect(promise).rejects.toMatchObject({ code })
}

describe('LevelMetadataStore.open()', () => {
  test('gives a new store an ID, or takes the one it is given; both are kept', async () => {
    const path = join(await tempDir(), 'db')
    for (const storeId of ['chosen', 'chosen', undefined]) {
      await using store = await LevelMetadataStore.open(new ClassicLevel(path), { kind: 'level', storeId })
      expect([store.storeId, store.kind, store.schemaVersion]).toEqual(['chosen', 'level', 1])
    }
    await refused(LevelMetadataStore.open(new ClassicLevel(path), { kind: 'level', storeId: 'other' }), 'store_id_mismatch')
    await using fresh = await LevelMetadataStore.open(new MemoryLevel(), { kind: 'memory' })
    expect(fresh.storeId).toMatch(/^[0-9A-Z]{26}$/)
    for (const storeId of ['', 'a b', 'é', 'x'.repeat(65)]) {
      await refused(LevelMetadataStore.open(new MemoryLevel(), { kind: 'memory', storeId }), 'invalid_argument')
    }
  })

  test('finds everything as it was before it was closed', async () => {
    const path = join(await tempDir(), 'db')
    const before = await LevelMetadataStore.open(new ClassicLevel(path), { kind: 'level' })
    await fillStore(before)
    const dump = await dumpStore(before)
    await before.close()
    const db = new ClassicLevel(path)
    await using after = await LevelMetadataStore.open(db, { kind: 'level' })
    expect(await dumpStore(after)).toEqual(dump)
    const [share] = await after.shares()
    const { inode } = await after.create({ parent: share?.root ?? 0, name: 'fresh' }, { type: 'file' })
    expect(Math.max(...Object.keys(dump.inodes).map(Number))).toBeLessThan(inode)
    expect(await checkTree(after)).toEqual([])
    expect(await checkLevelRecords(db)).toEqual([])
  })

  test('refuses records of another schema version with schema_version_mismatch, naming both, and changes nothing', async () => {
    const path = join(await tempDir(), 'db')
    await (await LevelMetadataStore.open(new ClassicLevel(path), { kind: 'level' })).close()
    await withDatabase(path, (db) => db.put('store/schema-version', '2'))
    const opened = LevelMetadataStore.open(new ClassicLevel(path), { kind: 'level' })
    await expect(opened).rejects.toMatchObject({ code: 'schema_version_mismatch', message: expect.stringMatching(/version 2\b.*\b1$/) })
    await withDatabase(path, async (db) => expect(await db.get('store/schema-version')).toBe('2'))
  })

  test('refuses a database that holds something else with store_unavailable, and changes nothing', async () => {
    const path = join(await tempDir(), 'db')
    await withDatabase(path, (db) => db.put('\u{10ffff}', 'x'))
    await refused(LevelMetadataStore.open(new ClassicLevel(path), { kind: 'level' }), 'store_unavailable')
    await withDatabase(path, async (db) => expect(await db.iterator().all()).toEqual([['\u{10ffff}', 'x']]))
  })

  test('refuses a path that another process has open with store_not_drained', async () => {
    const path = join(await tempDir(), 'db')
    const holder = spawn(process.execPath, ['--input-type=module', '-e', holdOpen(path)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    const ended = once(holder, 'exit')
    onTestFinished(async () => {
      holder.kill('SIGKILL')
      await ended
    })
    await Promise.race([once(holder, 'message'), ended])
    await refused(LevelMetadataStore.open(new ClassicLevel(path), { kind: 'level' }), 'store_not_drained')
  })

  test('refuses a missing database with store_unavailable', async () => {
    const db = new ClassicLevel(join(await tempDir(), 'none'), { createIfMissing: false })
    await refused(LevelMetadataStore.open(db, { kind: 'level' }), 'store_unavailable')
  })

  test('refuses a database without snapshots with backup_unsupported', async () => {
    const db = new MemoryLevel()
    db.supports.explicitSnapshots = false
    await refused(LevelMetadataStore.open(db, { kind: 'memory' }), 'backup_unsupported')
  })
})

describe('LevelMetadataStore mutations', () => {
  test('that are asked for at once share few writes, each with sync', async () => {
    const db = new WatchedLevel()
    await using store = await LevelMetadataStore.open(db, { kind: 'memory' })
    const { root } = await store.createShare('s')
    db.writes.length = 0
    await Promise.all(Array.from({ length: 500 }, (_, at) => store.create({ parent: root, name: `${at}` }, { type: 'file' })))
    expect(db.writes.length).toBeLessThan(5)
    expect(new Set(db.writes)).toEqual(new Set([true]))
  })

  test('of a store that is not durable are written without sync; flush() writes with it', async () => {
    const db = new WatchedLevel()
    await using store = await LevelMetadataStore.open(db, { kind: 'memory', durable: false })
    db.writes.length = 0
    await store.createShare('s')
    expect(db.writes).toEqual([false])
    await store.flush()
    expect(db.writes).toEqual([false, true])
  })

  test('reject, all of a batch and with nothing done, when the write fails; later ones go on', async () => {
    const db = new WatchedLevel()
    await using store = await LevelMetadataStore.open(db, { kind: 'memory' })
    const { root } = await store.createShare('s')
    const before = await dumpStore(store)
    db.failure = new Error('EIO')
    const lost = await Promise.allSettled([
      store.create({ parent: root, name: 'a' }, { type: 'file', size: 4, content: { payloadId: 'p' } }),
      // Refused only because of the one before, which is not there in the end.
      store.create({ parent: root, name: 'a' }, { type: 'file' }),
      store.setSetting('a', 'b'),
    ])
    for (const outcome of lost) expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'store_unavailable', cause: db.failure } })
    db.failure = undefined
    expect(await dumpStore(store)).toEqual(before)
    await store.create({ parent: root, name: 'a' }, { type: 'file' })
    expect(await checkTree(store)).toEqual([])
  })

  test('of very many blocks are one atomic write, and leave no record out', async () => {
    const db = new WatchedLevel()
    await using store = await LevelMetadataStore.open(db, { kind: 'memory' })
    const { root } = await store.createShare('s')
    const { inode } = await store.create({ parent: root, name: 'a' }, { type: 'file' })
    const blocks = Array.from({ length: 30_500 }, (_, at) => ({ payloadId: `p${at}`, offset: 0, bytes: 1 }))
    db.writes.length = 0
    await Promise.all([store.setContent(inode, { blocks }, { size: 30_500 }), store.setSetting('after', 'x'), store.setSetting('that', 'y')])
    expect(db.writes.length).toBe(2)
    expect((await store.settings()).size).toBe(2)
    expect(await checkLevelRecords(db)).toEqual([])
    const longest = Math.max(...(await db.values().all()).map((value) => value.length))
    expect(longest).toBeLessThan(64 * 1024)
    await store.unlink({ parent: root, name: 'a' })
    expect(await db.keys({ gte: 'blocks/', lt: 'references0' }).all()).toEqual(['counters/next-inode', 'counters/used-bytes', `inodes/${String(root).padStart(16, '0')}`])
  })

  test('and reads of a record that cannot be decoded reject with record_invalid and its key', async () => {
    const db = new MemoryLevel()
    await using store = await LevelMetadataStore.open(db, { kind: 'memory' })
    const { root } = await store.createShare('s')
    const place = { parent: root, name: 'a' }
    const { inode } = await store.create(place, { type: 'file' })
    const key = `inodes/${String(inode).padStart(16, '0')}`
    for (const value of ['', '{}', (await db.get(key))?.replace('"file"', '"door"') ?? '']) {
      await db.put(key, value)
      for (const call of [store.inode(inode), store.lookup(place), store.setAttributes(inode, { mode: 0 }), store.unlink(place)]) {
        await expect(call).rejects.toMatchObject({ code: 'record_invalid', details: { key } })
      }
    }
    await db.put(`entries/${String(root).padStart(16, '0')}/b`, '{"inode":1}')
    await refused(store.readDirectory(root), 'record_invalid')
  })

  test('take the time from the clock, one that steps before 1970 too', async () => {
    let nowMs = 0
    await using store = await LevelMetadataStore.open(new MemoryLevel(), { kind: 'memory', clock: () => nowMs })
    nowMs = -1500
    const { root, createdAtMs } = await store.createShare('s')
    const { inode, createdAtNs } = await store.create({ parent: root, name: 'a' }, { type: 'file' })
    expect([createdAtMs, createdAtNs]).toEqual([-1500, -1_500_000_000n])
    nowMs = 2
    expect((await store.setContent(inode, undefined, { size: 0 })).modifiedAtNs).toBe(2_000_000n)
  })
})

test('LevelMetadataStore lookup() and readDirectory() see one instant, whatever happens between their reads', async () => {
  const db = new WatchedLevel()
  await using store = await LevelMetadataStore.open(db, { kind: 'memory' })
  const { root } = await store.createShare('s')
  const place = { parent: root, name: 'a' }
  const file = await store.create(place, { type: 'file' })
  db.beforeInode = () => store.unlink(place)
  expect(await store.lookup(place)).toEqual(file)
  expect(await store.lookup(place)).toBeUndefined()
  db.beforeInode = async () => void (await store.create(place, { type: 'file' }))
  expect((await store.readDirectory(root)).entries).toEqual([])
  expect((await store.readDirectory(root)).entries.length).toBe(1)
})

/** A database that says which writes had `sync`, and fails them on demand. */
class WatchedLevel extends MemoryLevel {
  readonly writes: unknown[] = []
  failure: Error | undefined
  /** Called once, before the next inode is read from a snapshot. */
  beforeInode: (() => Promise<void>) | undefined

  override async get(key: string, options?: object): Promise<never> {
    if (key.startsWith('inodes/') && (options as { readonly snapshot?: unknown }).snapshot !== undefined) {
      const { beforeInode } = this
      this.beforeInode = undefined
      await beforeInode?.()
    }
    return (await super.get<string, string>(key, options ?? {})) as never
  }

  override batch(...args: readonly unknown[]): never {
    const batch = (super.batch as (...args: readonly unknown[]) => ReturnType<LevelDatabase['batch']>)(...args)
    const write = batch.write.bind(batch)
    batch.write = async (options?: object) => {
      if (this.failure !== undefined) {
        await batch.close()
        throw this.failure
      }
      this.writes.push((options as { readonly sync?: boolean })?.sync)
      await write(options ?? {})
    }
    return batch as never
  }
}

async function withDatabase(path: string, work: (db: ClassicLevel) => Promise<unknown>): Promise<void> {
  await using db = new ClassicLevel(path)
  await work(db)
}

function holdOpen(path: string): string {
  return `import { ClassicLevel } from 'classic-level'; await new ClassicLevel(${JSON.stringify(path)}).open(); process.send('open'); setInterval(() => {}, 1000)`
}
