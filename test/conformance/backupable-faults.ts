/** Damage, refusals and interruptions: part of the conformance suite of `Backupable`. */
import { equal, ok, rejects } from 'node:assert/strict'
import type { Backupable, SnapshotSummary } from '../../src/contracts/backupable.ts'
import { openSnapshot } from '../../src/format/snapshot-reader.ts'
import { SnapshotWriter } from '../../src/format/snapshot-writer.ts'
import { type RegisterTest, type Snapshot, CollectingSink, CountingSource, refused, restoreBytes, snapshotOf } from './backupable-fixture.ts'

export interface FaultOptions {
  readonly random: () => number
  readonly faults: number
}

export function faultTests(test: RegisterTest, { random, faults }: FaultOptions): void {
  test(`restore() of ${faults} streams with a flipped bit each gives restore_corrupt and leaves the target empty`, async (make) => {
    await damaged(make, faults, (bytes) => {
      const at = Math.floor(random() * bytes.byteLength)
      bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random() * 8))
      return [bytes, `bit flipped at ${at}`]
    })
  })

  test(`restore() of ${faults} streams cut short gives restore_corrupt and leaves the target empty`, async (make) => {
    await damaged(make, faults, (bytes, round) => {
      const length = round === 0 ? 0 : round === 1 ? bytes.byteLength - 1 : Math.floor(random() * bytes.byteLength)
      return [bytes.subarray(0, length), `cut at ${length}`]
    })
  })

  test('restore() of a stream with bytes after it, missing in it, or twice in it gives restore_corrupt', async (make) => {
    await damaged(make, faults, (bytes, round) => {
      const from = Math.floor(random() * bytes.byteLength)
      const to = from + 1 + Math.floor(random() * (bytes.byteLength - from))
      const part = bytes.subarray(from, to)
      if (round % 3 === 0) return [Buffer.concat([bytes, part]), `${part.byteLength} bytes appended`]
      if (round % 3 === 1) return [Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]), `${from} to ${to} dropped`]
      return [Buffer.concat([bytes.subarray(0, to), bytes.subarray(from)]), `${from} to ${to} doubled`]
    })
  })

  test('restore() closes a damaged source', async (make) => {
    const source = new CountingSource(flipped((await populated(make, 3000)).bytes))
    await refused((await make()).store.restore(source), 'restore_corrupt')
    equal(source.isClosed, true)
  })

  test('restore() of another kind of store gives store_kind_mismatch and leaves the target empty', async (make) => {
    const bytes = await rewritten(await populated(make, 100), { storeKind: 'another-kind' })
    await leftEmpty(await make(), (store) => refused(restoreBytes(store, bytes), 'store_kind_mismatch'))
  })

  test('restore() of another schema version gives schema_version_mismatch, naming both, and leaves the target empty', async (make) => {
    const snapshot = await populated(make, 100)
    const { schemaVersion } = snapshot.summary
    const bytes = await rewritten(snapshot, { schemaVersion: schemaVersion + 7 })
    await leftEmpty(await make(), async (store) => {
      const { message } = await refused(restoreBytes(store, bytes), 'schema_version_mismatch')
      ok(message.includes(`${schemaVersion}`) && message.includes(`${schemaVersion + 7}`), message)
    })
  })
}

export function interruptionTests(test: RegisterTest): void {
  test('backup() by an aborted signal rejects with its reason and writes nothing', async (make) => {
    const { store, populate } = await make()
    await populate(10)
    const sink = new CollectingSink()
    const reason = new Error('no longer wanted')
    await rejects(store.backup(sink, { signal: AbortSignal.abort(reason) }), (error) => error === reason)
    equal(sink.chunks.length, 0)
  })

  test('backup() ends when its signal aborts, with the reason, also while the sink hangs, and never finishes the sink', async (make) => {
    const { store, populate, check } = await make()
    await populate(3000)
    const controller = new AbortController()
    const sink = new CollectingSink(async () => {
      controller.abort('stop')
      await new Promise(() => undefined)
    })
    await rejects(store.backup(sink, { signal: controller.signal }), (error) => error === 'stop')
    equal(sink.summary, undefined)
    await check()
    await snapshotOf(store)
  })

  test('backup() rejects with the very error of its sink', async (make) => {
    const { store, populate } = await make()
    await populate(3000)
    const failure = new Error('the sink is full')
    const onWrite = (): Promise<void> => Promise.reject(failure)
    await rejects(store.backup(new CollectingSink(onWrite)), (error) => error === failure)
    const finish = (): Promise<void> => Promise.reject(failure)
    await rejects(store.backup({ write: async () => undefined, finish }), (error) => error === failure)
  })

  test('restore() by an aborted signal rejects with its reason and reads nothing', async (make) => {
    const source = new CountingSource((await populated(make, 10)).bytes)
    const reason = new Error('no longer wanted')
    await leftEmpty(await make(), (store) => rejects(store.restore(source, { signal: AbortSignal.abort(reason) }), (error) => error === reason))
    equal(source.bytesRead, 0)
  })

  test('restore() ends when its signal aborts, with the reason, and leaves the target empty', async (make) => {
    const { bytes } = await populated(make, 5000)
    for (const hangs of [false, true]) {
      const controller = new AbortController()
      const onChunk = async (bytesRead: number): Promise<void> => {
        if (bytesRead < bytes.byteLength / 2) return
        controller.abort('stop')
        if (hangs) await new Promise(() => undefined)
      }
      const source = new CountingSource(bytes, { onChunk })
      await leftEmpty(await make(), (store) => rejects(store.restore(source, { signal: controller.signal }), (error) => error === 'stop'))
    }
  })

  test('restore() rejects with the very error of its source and leaves the target empty', async (make) => {
    const { bytes } = await populated(make, 5000)
    const failure = new Error('the source is gone')
    const onChunk = (bytesRead: number): void => {
      if (bytesRead > bytes.byteLength / 2) throw failure
    }
    await leftEmpty(await make(), (store) => rejects(store.restore(new CountingSource(bytes, { onChunk })), (error) => error === failure))
  })
}

type Make = Parameters<Parameters<RegisterTest>[1]>[0]

async function populated(make: Make, records: number): Promise<Snapshot> {
  const { store, populate } = await make()
  await populate(records)
  return await snapshotOf(store)
}

/** Restores damaged copies of a snapshot into one target, and in the end the whole one, which only an empty target takes. */
async function damaged(make: Make, faults: number, damage: (copy: Uint8Array, round: number) => readonly [Uint8Array, string]): Promise<void> {
  const { bytes } = await populated(make, 2500)
  await leftEmpty(await make(), async (store, empty) => {
    for (let round = 0; round < faults; round++) {
      const [copy, context] = damage(Uint8Array.from(bytes), round)
      if (Buffer.compare(copy, bytes) === 0) continue
      await refused(restoreBytes(store, copy), 'restore_corrupt', context)
      await empty()
    }
  })
}

async function leftEmpty(
  target: Awaited<ReturnType<Make>>,
  attempt: (store: Backupable, empty: () => Promise<void>) => Promise<unknown>,
): Promise<void> {
  const before = await target.dump()
  const empty = async (): Promise<void> => equal(await target.dump(), before)
  await attempt(target.store, empty)
  await empty()
}

function flipped(bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes)
  const middle = Math.floor(copy.byteLength / 2)
  copy[middle] = (copy[middle] ?? 0) ^ 1
  return copy
}

/** The same snapshot with another header. */
async function rewritten({ bytes, summary }: Snapshot, changes: Partial<Pick<SnapshotSummary, 'storeKind' | 'schemaVersion'>>): Promise<Uint8Array> {
  const sink = new CollectingSink()
  const { storeKind, storeId, schemaVersion, content, createdAtMs, backupId, payloadIds } = summary
  const reader = await openSnapshot(new CountingSource(bytes))
  try {
    const writer = new SnapshotWriter(sink, { storeKind, storeId, schemaVersion, content, createdAtMs, backupId, sections: reader.header.sections, ...changes })
    await writer.start()
    for await (const { section, data, records } of reader.frames()) await writer.writeRaw(section, data, records)
    await writer.finish(payloadIds)
  } finally {
    await reader.close()
  }
  return Buffer.concat(sink.chunks)
}
