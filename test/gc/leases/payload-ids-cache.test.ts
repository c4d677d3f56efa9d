import { randomUUID } from 'node:crypto'
import { mkdirSync, readdirSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { directoryCache, type PayloadIdsCache } from '../../../src/gc/leases/payload-ids-cache.ts'
import { type PayloadIdSet, PayloadIdSetBuilder } from '../../../src/payload-ids/payload-id-set.ts'
import { directoryUnionStore } from '../../../src/gc/holds/union-store.ts'
import { type Mark, sweepStateFile } from '../../../src/gc/sweep-state.ts'
import { collect } from '../../support/collect.ts'
import { canMount, smallDisk } from '../../support/small-disk.ts'
import { tempDir } from '../../support/temp-dir.ts'

async function setOf(count: number): Promise<PayloadIdSet> {
  const builder = new PayloadIdSetBuilder()
  for (let index = 0; index < count; index++) builder.add(`payload-${index}`)
  return await builder.finish()
}

function nameOf({ size, bytes, digest }: PayloadIdSet): { readonly count: number; readonly bytes: number; readonly sha256: string } {
  return { count: size, bytes, sha256: digest }
}

/** The bytes of a set that is kept. */
async function keptIn(cache: PayloadIdsCache, set: PayloadIdSet): Promise<Buffer | undefined> {
  const kept = await cache.get(nameOf(set))
  try {
    return kept && Buffer.concat(await collect(kept.read()))
  } finally {
    await kept?.close()
  }
}

describe('directoryCache()', () => {
  test('gives back what was put, from files of 0600 in a directory of 0700', async () => {
    const directory = join(await tempDir(), 'cache')
    const cache = directoryCache({ directory })
    const set = await setOf(100)
    expect(await cache.get(nameOf(set))).toBeUndefined()
    await cache.put(nameOf(set), set.encoded())
    expect(await keptIn(cache, set)).toEqual(Buffer.concat(await collect(set.encoded())))
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

  test('forgets sets that nothing holds any more, but for those that were used just now', async () => {
    const directory = await tempDir()
    const cache = directoryCache({ directory: join(directory, 'cache') })
    await cache.retain([])
    const sets = [await setOf(1), await setOf(2), await setOf(3)] as const
    for (const set of sets) await cache.put(nameOf(set), set.encoded())
    const ago = new Date(Date.now() - 2 * 60 * 60 * 1000)
    for (const set of sets.slice(0, 2)) utimesSync(join(directory, 'cache', `${set.digest}.payload-ids`), ago, ago)
    await cache.retain([nameOf(sets[1])])
    expect(await Promise.all(sets.map(async (set) => (await keptIn(cache, set)) !== undefined))).toEqual([false, true, true])
  })

  test('keeps no more bytes than it may, and those that were used last', async () => {
    const directory = await tempDir()
    const sets = [await setOf(1000), await setOf(1001), await setOf(1002)] as const
    const cache = directoryCache({ directory, maxBytes: sets[1].bytes + sets[2].bytes })
    mkdirSync(directory, { recursive: true })
    for (const set of sets) {
      await cache.put(nameOf(set), set.encoded())
      await new Promise((resolve) => setTimeout(resolve, 20))
      if (set === sets[1]) await keptIn(cache, sets[0])
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    expect(await Promise.all(sets.map(async (set) => (await keptIn(cache, set)) !== undefined))).toEqual([true, false, true])
  })
})

describe.skipIf(!canMount)('directories of held payload IDs on a disk that is full', () => {
  test('the cache and the union say that they are full, and where', async () => {
    const disk = await smallDisk('size=64k')
    const builder = new PayloadIdSetBuilder()
    for (let index = 0; index < 20_000; index++) builder.add(randomUUID())
    const set = await builder.finish()
    const cacheDirectory = join(disk, 'payload-ids')
    await expect(directoryCache({ directory: cacheDirectory }).put(nameOf(set), set.encoded())).rejects.toMatchObject({
      code: 'destination_no_space',
      message: `Cannot keep a set of payload IDs in "${cacheDirectory}": no space is left (ENOSPC)`,
    })
    const unionDirectory = join(disk, 'union')
    const draft = await directoryUnionStore(unionDirectory).create()
    await expect(draft.write('rows', [new Uint8Array(100_000)])).rejects.toMatchObject({
      code: 'destination_no_space',
      message: `Cannot keep the union of held payload IDs in "${unionDirectory}": no space is left (ENOSPC)`,
    })
    await draft.abort()
    const marks = join(disk, 'marks', 'x')
    const many = async function* (): AsyncGenerator<readonly Mark[]> {
      yield Array.from({ length: 5000 }, (_, at) => ({ payloadId: `payload-${at}`, version: 'v', bytes: 1, markedAtMs: 1 }))
    }
    await expect(sweepStateFile(marks).replace(many(), () => ({ epoch: 'e', after: undefined }))).rejects.toMatchObject({
      code: 'destination_no_space',
      message: `Cannot keep the marks of a sweep in "${join(disk, 'marks')}": no space is left (ENOSPC)`,
    })
    await set.close()
  })
})
