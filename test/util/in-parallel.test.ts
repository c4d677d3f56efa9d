import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { mapInOrder } from '../../src/util/in-parallel.ts'
import { collect } from '../support/collect.ts'

describe('mapInOrder()', () => {
  test('gives results in the order of the items, at most so many at once', async () => {
    let running = 0
    let most = 0
    const items = Array.from({ length: 20 }, (_, index) => index)
    const results = await collect(
      mapInOrder(items, 4, async (item) => {
        running += 1
        most = Math.max(most, running)
        await delay(item % 3)
        running -= 1
        return item * 2
      }),
    )
    expect(results).toEqual(items.map((item) => item * 2))
    expect(most).toBe(4)
  })

  test.each([
    ['a failure', async (results: AsyncIterable<number>) => await expect(collect(results)).rejects.toThrow('At 5')],
    [
      'the caller leaving it',
      async (results: AsyncIterable<number>) => {
        for await (const _ of results) break
      },
    ],
  ])('%s ends it when all that was running has ended', async (_, use) => {
    let running = 0
    const work = async (item: number): Promise<number> => {
      running += 1
      await delay(item % 4)
      running -= 1
      if (item >= 5) throw new Error(`At ${item}`)
      return item
    }
    await use(mapInOrder([1, 2, 3, 4, 5, 6, 7, 8, 9], 4, work))
    expect(running).toBe(0)
  })
})
