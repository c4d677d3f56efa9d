import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { runBackup } from '../../src/backup/run-backup.ts'
import { directoryCache } from '../../src/holds/payload-ids-cache.ts'
import { type PayloadIdSet, PayloadIdSetBuilder } from '../../src/payload-ids.ts'
import { collect } from '../support/collect.ts'
import { altered } from '../support/altered.ts'
import { FakeStore } from '../support/fake-store.ts'
import { tempDir } from '../support/temp-dir.ts'
import { flipped, tamper } from '../backup/backups.ts'
import { newHolds } from './holds.ts'

async function setOf(count: number): Promise<PayloadIdSet> {
  const builder = new PayloadIdSetBuilder()
  for (let index = 0; index < count; index++) builder.add(`payload-${index}`)
  return await builder.finish()
}

function nameOf({ size, bytes, digest }: PayloadIdSet): { readonly count: number; readonly bytes: number; readonly sha256: string } {
  return { count: size, bytes, sha256: digest }
}

describe('directoryCache()', () => {
  test('gives back what was put, from files of 0600 in a directory of 0700', async () => {
    const directory = join(await tempDir(), 'cache')
    const cache = directoryCache({ directory })
    const set = await setOf(100)
    expect(await cache.get(nameOf(set))).toBeUndefined()
    await cache.put(nameOf(set), set.encoded())
    expect(Buffer.concat(await collect((await cache.get(nameOf(set)))?.() ?? set.encoded()))).toEqual(Buffer.concat(await collect(set.encoded())))
    const [name = ''] = readdirSync(directory)
    expect([statSync(directory).mode & 0o777, statSync(join(directory, name)).mode & 0o777]).toEqual([0o700, 0o600])
  })

  test('keeps nothing whose bytes are not those of the name', async () => {
    const directory = await tempDir()
    const cache = directoryCache({ directory })
    const [set, other] = [await setOf(100), await setOf(101)]
    await expect(cache.put(nameOf(set), other.encoded())).rejects.toMatchObject({ code: 'checksum_mismatch' })
    expect(readdirSync(directory)).toEqual([])
  })

  test('keeps no more bytes than it may, and those that were used last', async () => {
    const directory = await tempDir()
    const sets = [await setOf(1000), await setOf(1001), await setOf(1002)] as const
    const cache = directoryCache({ directory, maxBytes: sets[1].bytes + sets[2].bytes })
    mkdirSync(directory, { recursive: true })
    for (const set of sets) {
      await cache.put(nameOf(set), set.encoded())
      await new Promise((resolve) => setTimeout(resolve, 20))
      if (set === sets[1]) await cache.get(nameOf(sets[0]))
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    expect(await Promise.all(sets.map(async (set) => (await cache.get(nameOf(set))) !== undefined))).toEqual([true, false, true])
  })
})

test('what is held is fetched once, and again when the copy is damaged', async () => {
  let opened = 0
  const place = await newHolds({
    destinations: (destination) => [
      altered(destination, {
        open: (backupId, object, options) => {
          opened += 1
          return destination.open(backupId, object, options)
        },
      }),
    ],
  })
  const { destination, catalog, holds, directory } = place
  for (const count of [3, 5]) await runBackup({ store: FakeStore.of(count), destination, catalog })
  const united = async (): Promise<string[]> => await collect(await holds.unite((await holds.find()).sources))
  const all = ['p0', 'p1', 'p2', 'p3', 'p4']
  expect(await united()).toEqual(all)
  expect(await united()).toEqual(all)
  expect(opened).toBe(2)
  const cached = join(directory, 'payload-ids')
  for (const name of readdirSync(cached)) tamper(join(cached, name), (bytes) => flipped(bytes, 8 * (bytes.byteLength - 1)))
  expect(await united()).toEqual(all)
  for (const name of readdirSync(cached)) writeFileSync(join(cached, name), 'short')
  expect(await united()).toEqual(all)
})

test('backups of the same set share it', async () => {
  const { destination, catalog, holds } = await newHolds()
  for (let count = 0; count < 3; count++) await runBackup({ store: FakeStore.of(4), destination, catalog })
  const { holders, sources } = await holds.find()
  expect([holders.length, sources.length, sources[0]?.holders.length]).toEqual([3, 1, 3])
})
