/** Callbacks that reject: they end the work as those that throw do, and never the process. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { join } from 'node:path'
import { MemoryLevel } from 'memory-level'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  type Backupable, convertStore, openHolds, rebuildCatalog, restoreBackup, restoreInto, restoreSubtree, rollback, runBackup, sweepPayloads, verifyBackup,
} from '../../src/index.ts'
import { PayloadDirectory, payloadIdOf } from '../../src/payload-stores/directory/index.ts'
import { levelBackupable } from '../../src/stores/level/index.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'
import { listener } from '../../src/util/listener.ts'
import { newPlace } from '../backup/backups.ts'
import { FakeStore } from '../support/fake-store.ts'
import { tempDir } from '../support/temp-dir.ts'

/** The warnings of the process until the test ends. */
function processWarnings(): string[] {
  const told: string[] = []
  const onWarning = ({ message }: Error): void => void told.push(message)
  process.on('warning', onWarning)
  onTestFinished(() => void process.off('warning', onWarning))
  return told
}

const gone = new Error('The row is gone')
const rejects = async (): Promise<never> => Promise.reject(gone)

describe('listener()', () => {
  it('throws what the callback throws, each time', () => {
    const tell = listener((value: number) => {
      if (value > 1) throw gone
    })
    tell(1)
    expect(() => tell(2)).toThrow(gone)
    tell(1)
  })

  it('does not wait for a promise; a rejection warns, and is thrown by the next call', async () => {
    const told = processWarnings()
    const calls: number[] = []
    const tell = listener((value: number) => {
      calls.push(value)
      return rejects()
    })
    tell(1)
    await nextTurn()
    expect(() => tell(2)).toThrow(gone)
    expect(calls).toEqual([1])
    expect(told).toContain('A callback that Holdfast called failed: The row is gone')
  })
})

describe('an async onProgress that rejects ends', () => {
  const open = (): Promise<Awaited<ReturnType<typeof openMemoryStore>>> => openMemoryStore()

  it.each<readonly [string, (place: Awaited<ReturnType<typeof newPlace>> & { readonly onProgress: () => void; readonly backupId: string }) => Promise<unknown>]>([
    ['runBackup', ({ destination, onProgress }) => runBackup({ store: FakeStore.of(500), destination, onProgress })],
    ['verifyBackup', ({ destination, backupId, onProgress }) => verifyBackup({ destination, backupId, onProgress })],
    ['rebuildCatalog', ({ destination, catalog, onProgress }) => rebuildCatalog({ catalog, destinations: [destination], onProgress })],
    ['restoreBackup', async ({ destination, onProgress }) => {
      const { backupId } = await runBackup({ store: await open(), destination })
      return await restoreBackup({ target: await open(), destination, backupId, allowStoreId: true, onProgress })
    }],
    ['rollback', async ({ destination, onProgress }) => {
      const target = await open()
      const { backupId } = await runBackup({ store: target, destination })
      await restoreBackup({ target, destination, backupId })
      return await rollback({ target, onProgress })
    }],
    ['restoreInto', ({ destination, backupId, onProgress }) => restoreInto({ target: new FakeStore(), destination, backupId, onProgress })],
    ['restoreSubtree', async ({ destination, onProgress }) => {
      const store = await open()
      await store.createShare('photos')
      const { backupId } = await runBackup({ store, destination })
      const openTrial = async (): Promise<never> => Object.assign(await open(), { discard: async () => {} }) as never
      return await restoreSubtree({ store, destination, backupId, path: 'photos', toPath: 'photos/again', openTrial, onProgress })
    }],
    ['convertStore', async ({ onProgress }) => {
      const from = await open()
      for (let share = 0; share < 20; share++) await from.createShare(`share-${share}`)
      return await convertStore({ from, to: await open(), onProgress })
    }],
    ['sweepPayloads', async ({ catalog, destination, path, onProgress }) => {
      const payloads = await PayloadDirectory.open(`${path}-payloads`, { create: true })
      for (const bytes of ['one', 'two', 'three'].map((text) => Buffer.from(text))) await payloads.put(payloadIdOf(bytes), bytes)
      const holds = openHolds({ catalog, destinations: [destination], directory: join(await tempDir(), 'holds') })
      return await sweepPayloads({ payloads, stores: [await open()], holds, minAgeMs: 0, onProgress })
    }],
    ['backup of a store', async ({ onProgress }) => await backUp(levelBackupable(await filled(), { payloadIds: () => [] }), onProgress)],
  ])('%s, or warns', async (_, run) => {
    const told = processWarnings()
    const place = await newPlace()
    const { backupId } = await runBackup({ store: FakeStore.of(500), destination: place.destination })
    let calls = 0
    const onProgress = (): unknown => {
      calls += 1
      return rejects()
    }
    const outcome: unknown = await run({ ...place, backupId, onProgress: onProgress as () => void }).catch((error: unknown) => error)
    await nextTurn()
    expect(calls, String(outcome)).toBeGreaterThan(0)
    expect(told).toContain('A callback that Holdfast called failed: The row is gone')
    // Where nothing was told after the rejection, the work was done.
    if (outcome instanceof Error) expect(outcome.message).toContain(gone.message)
  })

  async function filled(): Promise<MemoryLevel> {
    const db = new MemoryLevel()
    for (let key = 0; key < 100; key++) await db.put(`key-${key}`, 'value')
    return db
  }

  async function backUp(store: Backupable, onProgress: () => void): Promise<void> {
    await (await store.backup({ write: async () => {}, finish: async () => {} }, { onProgress })).close()
  }
})

it('a verification waits for onManifest, and ends with what it rejects with', async () => {
  const { destination } = await newPlace()
  const { backupId } = await runBackup({ store: FakeStore.of(5), destination })
  await expect(verifyBackup({ destination, backupId, onManifest: rejects })).rejects.toBe(gone)
})
