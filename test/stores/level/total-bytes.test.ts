/** The total that progress of a snapshot tells, against what the snapshot of a real store comes to. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { expect, test } from 'vitest'
import type { Backupable, SnapshotProgress } from '../../../src/contracts/backupable.ts'
import type { MetadataStore } from '../../../src/contracts/metadata-store.ts'
import { levelBackupable, openLevelStore } from '../../../src/stores/level/index.ts'
import { openMemoryStore } from '../../../src/stores/memory/index.ts'
import { tempDir } from '../../support/temp-dir.ts'

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex')

async function fill<Store extends MetadataStore>(store: Store, files: number): Promise<Store> {
  const { root } = await store.createShare('share')
  const made = Array.from({ length: files }, (_, at) => store.create({ parent: root, name: `file ${at}` }, { type: 'file', size: at, content: { payloadId: digestOf(`${at}`) } }))
  await Promise.all(made)
  return store
}

const STORES: Readonly<Record<string, () => Promise<Backupable & { close(): Promise<void> }>>> = {
  'a store in memory': async () => await fill(await openMemoryStore(), 3000),
  'a LevelDB store that has nothing in files yet': async () => await fill(await openLevelStore(join(await tempDir(), 'store'), { durable: false }), 3000),
  async 'a LevelDB store'() {
    const path = join(await tempDir(), 'store')
    await (await fill(await openLevelStore(path, { durable: false }), 10_000)).close()
    return await openLevelStore(path)
  },
  async "an embedder's classic-level"() {
    const db = new ClassicLevel(await tempDir())
    for (let at = 0; at < 6000; at += 1000) await db.batch(Array.from({ length: 1000 }, (_, by) => ({ type: 'put', key: `key ${at + by}`, value: digestOf(`${at + by}`).repeat(1 + by % 30) })))
    return Object.assign(levelBackupable(db, { payloadIds: () => [] }), { close: () => db.close() })
  },
}

test.each(Object.keys(STORES))('of %s is about that, grows with what was read, and is never less than the bytes so far', async (name) => {
  const store = await STORES[name]?.()
  if (store === undefined) throw new Error('no store')
  const seen: SnapshotProgress[] = []
  let bytes = 0
  const set = await store.backup({ write: async (chunk) => void (bytes += chunk.byteLength), finish: async () => undefined }, { onProgress: (progress) => void seen.push(progress) })
  await Promise.all([set.close(), store.close()])
  // Nothing is known of the first kilobytes.
  const shares = seen.filter((progress) => progress.bytes > 5000).map((progress) => ({ told: progress.bytes / (progress.totalBytes ?? NaN), is: progress.bytes / bytes }))
  expect(shares.length).toBeGreaterThan(3)
  let before = 0
  for (const { told, is } of shares) {
    expect(told).toBeGreaterThanOrEqual(before)
    expect(told).toBeLessThanOrEqual(1)
    expect(Math.abs(told - is)).toBeLessThan(0.4)
    before = told - 1e-5
  }
})
