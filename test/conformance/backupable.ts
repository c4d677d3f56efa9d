/** What every `Backupable` must do, for any test runner. */
import { deepEqual, equal, notEqual, ok } from 'node:assert/strict'
import { isBackupable } from '../../src/contracts/backupable.ts'
import { faultTests, interruptionTests } from './backupable-faults.ts'
import {
  type BackupableConformanceOptions,
  type BackupableFixture,
  type RegisterTest,
  CountingSource,
  dataFrames,
  refused,
  restoreBytes,
  snapshotOf,
} from './backupable-fixture.ts'
import { randomFrom } from './random.ts'
import { registerTest } from './runner.ts'

export type { BackupableConformanceOptions, BackupableFixture }

/** Registers the whole suite with the runner. */
export function testBackupable({ name, runner, factory, seed = Date.now() % 2 ** 31, faults = 40, supports = {} }: BackupableConformanceOptions): void {
  const register: RegisterTest = (title, body, isSupported) => {
    const run = async (): Promise<void> => {
      const fixtures: BackupableFixture[] = []
      try {
        await body(async () => {
          const fixture = await factory()
          fixtures.push(fixture)
          return fixture
        })
      } finally {
        await Promise.all(fixtures.map((fixture) => fixture.cleanup()))
      }
    }
    registerTest(runner, title, run, isSupported)
  }
  runner.describe(`backupable ${name} (seed ${seed})`, () => {
    roundTripTests(register)
    storeIdTests(register, supports.storeId ?? true)
    concurrencyTests(register)
    faultTests(register, { random: randomFrom(seed), faults })
    interruptionTests(register)
  })
}

function roundTripTests(test: RegisterTest): void {
  test('is a Backupable', async (make) => {
    ok(isBackupable((await make()).store))
  })

  test('restore() of a snapshot gives the same content, and its snapshot has the same data frames', async (make) => {
    const [source, target] = [await make(), await make()]
    await source.populate(4321)
    const snapshot = await snapshotOf(source.store)
    await restoreBytes(target.store, snapshot.bytes)
    equal(await target.dump(), await source.dump())
    const again = await snapshotOf(target.store)
    deepEqual(await dataFrames(again.bytes), await dataFrames(snapshot.bytes))
    deepEqual(again.summary.records, snapshot.summary.records)
    deepEqual(again.payloadIds, snapshot.payloadIds)
  })

  test('restore() takes a stream in chunks of any size', async (make) => {
    const source = await make()
    await source.populate(300)
    const { bytes } = await snapshotOf(source.store)
    for (const chunkBytes of [7, 4096, bytes.byteLength]) {
      const target = await make()
      await target.store.restore(new CountingSource(bytes, { chunkBytes }))
      equal(await target.dump(), await source.dump())
    }
  })

  test('backup() and restore() of an empty store', async (make) => {
    const [source, target] = [await make(), await make()]
    const snapshot = await snapshotOf(source.store)
    deepEqual(snapshot.payloadIds, [])
    await restoreBytes(target.store, snapshot.bytes)
    equal(await target.dump(), await source.dump())
    await target.populate(10)
    notEqual(await target.dump(), await source.dump())
  })

  test('backup() gives exactly the payload IDs that the store refers to, ascending, each once', async (make) => {
    const { store, populate, payloadIds } = await make()
    await populate(3000)
    const expected = [...new Set(await payloadIds())].toSorted()
    ok(expected.length > 0)
    deepEqual((await snapshotOf(store)).payloadIds, expected)
  })

  test('backup() reports progress that never falls and ends with all records', async (make) => {
    const { store, populate } = await make()
    await populate(3000)
    const seen: number[] = []
    const { summary } = await snapshotOf(store, { onProgress: ({ records }) => void seen.push(records) })
    deepEqual(seen, seen.toSorted((left, right) => left - right))
    equal(seen.at(-1), Object.values(summary.records).reduce((sum, count) => sum + count, 0))
  })

  test('restore() into a populated store gives restore_destination_not_empty, reads nothing and changes nothing', async (make) => {
    const [source, target] = [await make(), await make()]
    for (const { populate } of [source, target]) await populate(10)
    const stream = new CountingSource((await snapshotOf(source.store)).bytes)
    const before = await target.dump()
    await refused(target.store.restore(stream), 'restore_destination_not_empty')
    deepEqual([stream.bytesRead, await target.dump()], [0, before])
  })

}

function storeIdTests(test: RegisterTest, isSupported: boolean): void {
  const body: Parameters<RegisterTest>[1] = async (make) => {
    const [source, target] = [await make(), await make()]
    ok(source.storeId !== undefined && target.storeId !== undefined, 'the fixture has no storeId(), and supports.storeId is not false')
    await source.populate(10)
    const [sourceId, targetId] = [await source.storeId(), await target.storeId()]
    notEqual(sourceId, targetId)
    const snapshot = await snapshotOf(source.store)
    await restoreBytes(target.store, snapshot.bytes)
    deepEqual([snapshot.summary.storeId, await target.storeId()], [sourceId, targetId])
    equal((await snapshotOf(target.store)).summary.storeId, targetId)
  }
  test('restore() leaves the store its own ID; a snapshot names it', body, isSupported)
}

function concurrencyTests(test: RegisterTest): void {
  test('backup() under writers is one instant, and does not hold them up', async (make) => {
    const [source, target] = [await make(), await make()]
    await source.populate(5000)
    let steps = 0
    const { bytes, payloadIds } = await snapshotOf(source.store, { onWrite: () => source.mutate(steps++) })
    ok(steps > 0)
    await source.check()
    await restoreBytes(target.store, bytes)
    await target.check()
    deepEqual(payloadIds, [...new Set(await target.payloadIds())].toSorted())
    notEqual(await target.dump(), await source.dump())
  })

  test('backup() twice at once gives the same twice', async (make) => {
    const { store, populate } = await make()
    await populate(3000)
    const [left, right] = await Promise.all([snapshotOf(store), snapshotOf(store)])
    deepEqual(await dataFrames(left.bytes), await dataFrames(right.bytes))
    deepEqual(left.payloadIds, right.payloadIds)
  })

  test('backup() never calls the sink before it took the chunk before', async (make) => {
    const { store, populate } = await make()
    await populate(5000)
    let busy = 0
    const { summary } = await snapshotOf(store, {
      onWrite: async () => {
        equal(++busy, 1)
        await new Promise((resolve) => setTimeout(resolve, 2))
        busy--
      },
    })
    ok(summary.bytes > 0)
  })
}
