import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { idsOf, listOf } from '../../src/payload-ids/id-list.ts'
import { mergeRuns } from '../../src/payload-ids/merge.ts'
import type { IdLists } from '../../src/payload-ids/merge.ts'
import { runs, seed } from '../support/seed.ts'

const hex = (length: number): fc.Arbitrary<string> => fc.stringMatching(new RegExp(`^[0-9a-f]{${length}}$`))
/** Of a long prefix that all have in common, and few different ends. */
const crowded = fc.nat(40).map((number) => `00112233445566${String(number).padStart(4, '0')}${String(number % 3).padStart(14, '0')}`)
const wide = fc.tuple(fc.constantFrom('00112233445566', 'ffeeddccbbaa99'), fc.nat(30)).map(([prefix, number]) => `${prefix}${String(number).padStart(18, '0')}`)
const payloadId = fc.oneof(hex(8), hex(6), wide, fc.stringMatching(/^[!-~]{1,12}$/))
const listsOf = (id: fc.Arbitrary<string>): fc.Arbitrary<string[][]> => fc.array(fc.array(id, { maxLength: 60 }), { maxLength: 9 })
const anyLists = fc.oneof(listsOf(hex(4)), listsOf(crowded), listsOf(wide), listsOf(payloadId))

/** A run of some IDs in any order, so many in a list. */
async function* runOf(payloadIds: readonly string[], listIds: number): IdLists {
  const ascending = [...new Set(payloadIds)].toSorted()
  for (let from = 0; from < ascending.length; from += listIds) {
    await setImmediate()
    yield listOf(ascending.slice(from, from + listIds))
  }
}

async function merged(lists: readonly (readonly string[])[], listIds = 5): Promise<[string, number][]> {
  const found: [string, number][] = []
  for await (const list of mergeRuns(lists.map((list) => runOf(list, listIds)))) {
    found.push(...idsOf(list).map((id, index): [string, number] => [id, list.runs[index] ?? -1]))
  }
  return found
}

/** The same with sets. */
function expected(lists: readonly (readonly string[])[]): [string, number][] {
  const all = [...new Set(lists.flat())].toSorted()
  return all.map((id) => [id, lists.reduce((bits, list, index) => (list.includes(id) ? bits + 2 ** index : bits), 0)])
}

describe('mergeRuns()', () => {
  it('gives every ID of all runs once, in order, and says which runs have it', async () => {
    await fc.assert(
      fc.asyncProperty(anyLists, fc.constantFrom(1, 2, 7, 100), async (lists, listIds) => {
        expect(await merged(lists, listIds)).toEqual(expected(lists))
      }),
      { seed, numRuns: runs(500) },
    )
  })

  it('tells 32 runs apart', async () => {
    const lists = Array.from({ length: 32 }, (_, index) => ['aaaa', String(1000 + index)])
    expect(await merged(lists)).toEqual(expected(lists))
    const texts = lists.map((list) => [...list, 'x'])
    expect(await merged(texts)).toEqual(expected(texts))
  })

  it('merges many lists, also where the width of IDs changes on the way', async () => {
    const digits = (from: number): string[] => Array.from({ length: 30_000 }, (_, index) => (from + 3 * index).toString(16).padStart(16, '0'))
    const lists = [digits(0), digits(1), digits(0), [...digits(2), ...Array.from({ length: 3000 }, (_, index) => `f${String(index).padStart(20, '0')}`)]]
    const found = await merged(lists, 1024)
    expect(found.map(([id]) => id)).toEqual([...new Set(lists.flat())].toSorted())
    expect(found.map(([, bits]) => bits).reduce((sum, bits) => sum + bits, 0)).toBe(30_000 * (5 + 2 + 8) + 3000 * 8)
  })

  it('throws what a run throws, and leaves no run open', async () => {
    let open = 0
    const run = async function* (isBroken: boolean): IdLists {
      open += 1
      try {
        yield* runOf(['aa', 'bb'], 1)
        if (isBroken) throw new Error('Broken off')
      } finally {
        open -= 1
      }
    }
    const merge = async (): Promise<void> => {
      for await (const _ of mergeRuns([run(false), run(true), run(false)]));
    }
    await expect(merge()).rejects.toThrow('Broken off')
    expect(open).toBe(0)
  })
})
