/** The union of what is held, kept between sweeps. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { deleteBackup } from '../../../src/repository/delete-backups.ts'
import { runBackup } from '../../../src/backup/run-backup.ts'
import type { Destination } from '../../../src/contracts/destination.ts'
import type { HoldSource } from '../../../src/gc/holds/hold-source.ts'
import { uniteHolds } from '../../../src/gc/holds/hold-set.ts'
import { readUnion } from '../../../src/gc/holds/hold-union.ts'
import { directoryCache, type PayloadIdsCache } from '../../../src/gc/leases/payload-ids-cache.ts'
import { sweepPayloads } from '../../../src/gc/sweep/sweep-payloads.ts'
import { directoryUnionStore } from '../../../src/gc/holds/union-store.ts'
import { PayloadIdSetBuilder } from '../../../src/payload-ids/payload-id-set.ts'
import { altered } from '../../support/altered.ts'
import { collect } from '../../support/collect.ts'
import { FakeStore } from '../../support/fake-store.ts'
import { runs, seed } from '../../support/seed.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { flipped, tamper } from '../../backup/backups.ts'
import { type HoldsPlace, newHolds } from '../holds.ts'
import { collectHeld } from './collect-held.ts'
import { memorySets, memoryUnions, sourceWithCopy } from './memory-unions.ts'
import { openFilesIn } from './open-files.ts'
import { PayloadMap, referencesTo } from '../payload-map.ts'

/** A set of IDs that counts how often it is read. */
class CountedSource {
  reads = 0
  readonly payloadIds: readonly string[]

  constructor(payloadIds: Iterable<string>) {
    this.payloadIds = [...new Set(payloadIds)].toSorted()
  }

  async source(sets?: PayloadIdsCache): Promise<HoldSource> {
    const builder = new PayloadIdSetBuilder()
    for (const payloadId of this.payloadIds) builder.add(payloadId)
    const set = await builder.finish()
    const bytes = Buffer.concat(await collect(set.encoded()))
    const read = async function* (this: CountedSource): AsyncGenerator<Uint8Array> {
      this.reads += 1
      yield bytes
    }
    return sourceWithCopy({ count: set.size, bytes: set.bytes, sha256: set.digest }, () => read.call(this), sets)
  }
}

const all = (sets: readonly CountedSource[]): string[] => [...new Set(sets.flatMap(({ payloadIds }) => payloadIds))].toSorted()
const sourcesOf = async (sets: readonly CountedSource[], copies?: PayloadIdsCache): Promise<HoldSource[]> => await Promise.all(sets.map((set) => set.source(copies)))

describe('readUnion()', () => {
  const id = fc.oneof(fc.nat(60).map((number) => createHash('sha256').update(String(number)).digest('hex')), fc.nat(40).map((number) => `p${number}`))
  const set = fc.array(id, { maxLength: 40 })

  test('is what is in the sets, whichever come and go between two times, with damage and without', async () => {
    // Some add more than stay beside the union, some fewer.
    const which = fc.oneof(fc.array(fc.nat(50), { maxLength: 45 }), fc.array(fc.nat(6), { maxLength: 7 }))
    const steps = fc.array(fc.tuple(which, fc.boolean()), { minLength: 1, maxLength: 8 })
    await fc.assert(
      fc.asyncProperty(fc.array(set, { minLength: 1, maxLength: 50 }), steps, fc.nat(), async (lists, times, salt) => {
        const sets = lists.map((list) => new CountedSource(list))
        const [unions, copies] = [memoryUnions(), memorySets()]
        for (const [which, isDamaged] of times) {
          const random = (): number => ((salt * 7919 + which.length * 104_729) % 1000) / 1000
          if (isDamaged) unions.damage(random)
          if (isDamaged) copies.damage(random)
          const held = [...new Set(which.map((index) => index % sets.length))].map((index) => sets[index] as CountedSource)
          await using union = await uniteHolds(await sourcesOf(held, copies), unions)
          expect(await collectHeld(union)).toEqual(all(held))
        }
      }),
      { seed, numRuns: runs(80) },
    )
  })

  test('reads only what is new, and nothing when sets are held no more', async () => {
    const directory = await tempDir()
    const [unions, copies] = [directoryUnionStore(join(directory, 'union')), directoryCache({ directory: join(directory, 'payload-ids') })]
    const sets = Array.from({ length: 40 }, (_, index) => new CountedSource(['shared', `own-${String(index).padStart(2, '0')}`]))
    const reads = (): number => sets.reduce((sum, one) => sum + one.reads, 0)
    const united = async (held: readonly CountedSource[]): Promise<string[]> => {
      await using union = await readUnion(await sourcesOf(held, copies), unions)
      return await collectHeld(union)
    }
    expect(await united(sets.slice(0, 38))).toEqual(all(sets.slice(0, 38)))
    expect(reads()).toBe(38)
    expect(await united(sets.slice(0, 39))).toEqual(all(sets.slice(0, 39)))
    expect(reads()).toBe(39)
    expect(await united(sets.slice(5, 39))).toEqual(all(sets.slice(5, 39)))
    expect(reads()).toBe(39)
    expect(await united(sets.slice(6))).toEqual(all(sets.slice(6)))
    expect(reads()).toBe(40)
    expect(await united([])).toEqual([])
    expect(await united(sets.slice(6))).toEqual(all(sets.slice(6)))
    expect(reads()).toBe(40)
  })

  test('keeps it in files of 0600 in a directory of 0700: one union, and copies of up to four new sets', async () => {
    const directory = await tempDir()
    const [unionPath, copiesPath] = [join(directory, 'union'), join(directory, 'payload-ids')]
    const copies = directoryCache({ directory: copiesPath })
    const sets = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name) => new CountedSource([name]))
    const made: number[] = []
    let union = ''
    for (const held of [1, 2, 5, 6, 7]) {
      await (await readUnion(await sourcesOf(sets.slice(0, held), copies), directoryUnionStore(unionPath))).close()
      const names = readdirSync(unionPath)
      expect(names.map((name) => name.replace(/^[0-9a-f]{64}/, '')).toSorted()).toEqual(['.payload-ids', '.rows', 'union.json'])
      const isNew = names.join() !== union
      union = names.join()
      if (isNew) made.push(held)
      for (const path of [unionPath, copiesPath].filter((path) => existsSync(path))) {
        expect(statSync(path).mode & 0o777).toBe(0o700)
        expect(readdirSync(path).filter((name) => statSync(join(path, name)).mode % 0o1000 !== 0o600)).toEqual([])
      }
    }
    // Merged when there were more than four.
    expect(made).toEqual([1, 6])
    expect(readdirSync(copiesPath).length).toBe(5)
    expect(sets.map(({ reads }) => reads)).toEqual(sets.map(() => 1))
  })

  test('leaves nothing behind when a source fails, and is what it was then', async () => {
    const directory = join(await tempDir(), 'union')
    const unions = directoryUnionStore(directory)
    const good = new CountedSource(['a'])
    await (await readUnion(await sourcesOf([good]), unions)).close()
    const before = readdirSync(directory)
    const broken = { ...(await new CountedSource(['b']).source()), read: () => failing() }
    await expect(readUnion([await good.source(), broken], unions)).rejects.toThrow('Broken off')
    expect(readdirSync(directory)).toEqual(before)
    await using held = await readUnion([await good.source()], unions)
    expect([await collectHeld(held), good.reads]).toEqual([['a'], 1])
  })

  describe('with sets beside the union', () => {
    const four = ['b', 'c', 'd', 'e'].map((name) => new CountedSource(['a', 'shared', name]))
    const first = new CountedSource(['a', 'z'])
    interface Place {
      readonly united: (held: readonly CountedSource[]) => Promise<string[]>
      readonly open: (held: readonly CountedSource[], more?: readonly HoldSource[]) => ReturnType<typeof uniteHolds>
      readonly copies: () => string[]
    }
    const newPlace = async (): Promise<Place> => {
      const directory = await tempDir()
      const copies = directoryCache({ directory: join(directory, 'payload-ids') })
      const open: Place['open'] = async (held, more = []) => await uniteHolds([...(await sourcesOf(held, copies)), ...more], directoryUnionStore(join(directory, 'union')))
      const united = async (held: readonly CountedSource[]): Promise<string[]> => {
        await using union = await open(held)
        return await collectHeld(union)
      }
      await united([first])
      for (const one of [first, ...four]) one.reads = 0
      return { open, united, copies: () => readdirSync(join(directory, 'payload-ids')).map((name) => join(directory, 'payload-ids', name)) }
    }

    test('takes a set that is held no more from what is held, and takes it in again when it returns', async () => {
      const { united } = await newPlace()
      expect(await united([first, ...four])).toEqual(['a', 'b', 'c', 'd', 'e', 'shared', 'z'])
      expect(await united([first, ...four.slice(2)])).toEqual(['a', 'd', 'e', 'shared', 'z'])
      expect(await united([])).toEqual([])
      expect(await united(four.slice(1))).toEqual(['a', 'c', 'd', 'e', 'shared'])
      expect(four.map(({ reads }) => reads)).toEqual([1, 1, 1, 1])
    })

    test('fetches one again when a byte of it is another, or it is shorter, also to merge it', async () => {
      const { united, copies } = await newPlace()
      await united([first, ...four])
      const damages: ((bytes: Buffer) => Buffer)[] = [(bytes) => flipped(bytes, 8 * 20), (bytes) => flipped(bytes, 8 * (bytes.byteLength - 1)), (bytes) => bytes.subarray(1)]
      for (const more of [[], [], [], [new CountedSource(['x'])]]) {
        const reads = four.reduce((sum, one) => sum + one.reads, 0)
        tamper(copies()[0] ?? '', damages.shift() ?? ((bytes) => flipped(bytes, 8 * 20)))
        expect(await united([first, ...four, ...more])).toEqual(['a', 'b', 'c', 'd', 'e', 'shared', ...more.map(() => 'x'), 'z'])
        expect(four.reduce((sum, one) => sum + one.reads, 0)).toBeGreaterThan(reads)
      }
    })

    test('keeps nothing of one that cannot be read, and refuses what is not a list of payload IDs', async () => {
      const { open, united, copies } = await newPlace()
      const bytes = Buffer.from('not a list of payload IDs')
      const name = { count: 1, bytes: bytes.byteLength, sha256: createHash('sha256').update(bytes).digest('hex') }
      const copy = memorySets()
      for (const [read, message] of [
        [failing, 'Broken off'],
        [async function* () { yield bytes }, 'the list does not begin like'],
      ] as const) {
        await expect(open([first, ...four.slice(0, 1)], [sourceWithCopy(name, read, copy)])).rejects.toThrow(message)
        expect(copies().filter((file) => file.endsWith('.tmp'))).toEqual([])
      }
      expect(await united([first, ...four.slice(0, 1)])).toEqual(['a', 'b', 'shared', 'z'])
    })

    test('reads what it opened, whatever another process merges and evicts meanwhile', async () => {
      const { open, united, copies } = await newPlace()
      await using union = await open([first, ...four])
      await united([first, ...four, new CountedSource(['x'])])
      for (const path of copies()) rmSync(path)
      expect(await collectHeld(union)).toEqual(['a', 'b', 'c', 'd', 'e', 'shared', 'z'])
    })
  })

  test('leaves no file open when what was kept before cannot be removed', async () => {
    const directory = join(await tempDir(), 'union')
    mkdirSync(join(directory, 'not-a-file'), { recursive: true })
    await expect(readUnion(await sourcesOf([new CountedSource(['a'])]), directoryUnionStore(directory))).rejects.toThrow(/directory/)
    expect(openFilesIn(directory)).toEqual([])
  })

  test('gives way while it checks what was kept, so that a new lease need not wait for that', async () => {
    const unions = directoryUnionStore(join(await tempDir(), 'union'))
    const sources = await sourcesOf([new CountedSource(['a', 'b'])])
    let turns = 0
    const united = async (): Promise<void> => await (await readUnion(sources, unions, { onTurn: async () => void turns++ })).close()
    await united()
    turns = 0
    await united()
    expect(turns).toBeGreaterThan(0)
  })

  test('is made anew when any byte of it is another, or a file of it is gone', async () => {
    const directory = join(await tempDir(), 'union')
    const sets = [new CountedSource(['a', 'b']), new CountedSource(['b', 'c'])]
    const united = async (): Promise<string[]> => {
      await using union = await readUnion(await sourcesOf(sets), directoryUnionStore(directory))
      return await collectHeld(union)
    }
    await united()
    const names = readdirSync(directory)
    for (const name of names) {
      const { byteLength } = readFileSync(join(directory, name))
      const places = byteLength < 100 ? Array.from({ length: byteLength }, (_, at) => at) : [0, 1, byteLength >> 2, byteLength >> 1, byteLength - 70, byteLength - 1]
      for (const at of places) {
        const reads = sets[0]?.reads ?? 0
        // The line feed after the last checksum says nothing.
        if (name === 'union.json' && at === byteLength - 1) continue
        tamper(join(directory, name), (bytes) => flipped(bytes, 8 * at + 1))
        expect(await united(), `${name} ${at}`).toEqual(['a', 'b', 'c'])
        expect(sets[0]?.reads, `${name} ${at}`).toBe(reads + 1)
      }
      rmSync(join(directory, name))
      expect(await united()).toEqual(['a', 'b', 'c'])
      writeFileSync(join(directory, name), 'short')
      expect(await united()).toEqual(['a', 'b', 'c'])
    }
  })
})

async function* failing(): AsyncGenerator<Uint8Array> {
  yield* []
  throw new Error('Broken off')
}

/** Holds of a destination that counts how often payload IDs were fetched from it. */
async function newCountedHolds(): Promise<HoldsPlace & { readonly fetched: () => number }> {
  let fetched = 0
  const counted = (destination: Destination): Destination =>
    altered(destination, {
      open: (backupId, object, options) => {
        fetched += 1
        return destination.open(backupId, object, options)
      },
    })
  const place = await newHolds({ destinations: (destination) => [counted(destination)] })
  return { ...place, fetched: () => fetched }
}

describe('sweepPayloads()', () => {
  test('fetches a set once, and releases what only a deleted backup held without fetching anything', async () => {
    const { destination, catalog, holds, fetched } = await newCountedHolds()
    const payloads = new PayloadMap(['p0', 'p1', 'p2', 'p3', 'p4', 'p5', 'x'])
    const backUp = async (count: number): Promise<string> => (await runBackup({ store: FakeStore.of(count), destination, catalog })).backupId
    const swept = async (): Promise<readonly string[]> => {
      await sweepPayloads({ payloads, stores: [referencesTo(() => [])], holds, minAgeMs: 0 })
      return payloads.ids
    }
    await backUp(2)
    const largest = await backUp(5)
    expect(await swept()).toEqual(['p0', 'p1', 'p2', 'p3', 'p4'])
    expect(fetched()).toBe(2)
    await backUp(4)
    expect(await swept()).toEqual(['p0', 'p1', 'p2', 'p3', 'p4'])
    expect(fetched()).toBe(3)
    await deleteBackup({ destination, catalog, backupId: largest, force: true })
    expect(await swept()).toEqual(['p0', 'p1', 'p2', 'p3'])
    expect(fetched()).toBe(3)
  })

  test('says how many payloads each holder keeps, and how many it alone', async () => {
    const { destination, catalog, holds } = await newCountedHolds()
    const payloads = new PayloadMap(['p0', 'p1', 'p2', 'p3', 'p4', 'p5', 'x'])
    const backUp = async (count: number): Promise<string> => (await runBackup({ store: FakeStore.of(count), destination, catalog })).backupId
    const [small, large] = [await backUp(2), await backUp(5)]
    const heldBy = async (): Promise<unknown> => {
      const report = await sweepPayloads({ payloads, stores: [referencesTo(() => ['p0', 'p3'])], holds, minAgeMs: 0, dryRun: true })
      return report.heldBy.map(({ holder, payloads: kept, alone }) => [holder.kind === 'backup' && holder.backupId, kept, alone.payloads])
    }
    expect(await heldBy()).toEqual([
      [small, { payloads: 1, bytes: 10 }, 0],
      [large, { payloads: 3, bytes: 30 }, 2],
    ])
    const again = await backUp(5)
    expect(await heldBy()).toEqual([
      [small, { payloads: 1, bytes: 10 }, 0],
      [large, { payloads: 3, bytes: 30 }, 0],
      [again, { payloads: 3, bytes: 30 }, 0],
    ])
    // Sets that are new since: one of them is all that has p5.
    const [three, six] = [await backUp(3), await backUp(6)]
    expect(await heldBy()).toEqual([
      [small, { payloads: 1, bytes: 10 }, 0],
      [large, { payloads: 3, bytes: 30 }, 0],
      [again, { payloads: 3, bytes: 30 }, 0],
      [three, { payloads: 2, bytes: 20 }, 0],
      [six, { payloads: 4, bytes: 40 }, 1],
    ])
    for (const backupId of [three, six]) await deleteBackup({ destination, catalog, backupId, force: true })
    await deleteBackup({ destination, catalog, backupId: small, force: true })
    await deleteBackup({ destination, catalog, backupId: again, force: true })
    expect(await heldBy()).toEqual([[large, { payloads: 3, bytes: 30 }, 3]])
  })
})
