import { expect, test } from 'vitest'
import type { MetadataStore } from '../../../src/contracts/metadata-store.ts'
import { OpenStores } from '../../../src/stores/postgres/home/open-stores.ts'

/** Engines that are open and shut, one after the other. */
function engines(): { readonly open: () => Promise<MetadataStore>; readonly made: () => number; readonly closed: () => number } {
  const count = { made: 0, closed: 0 }
  return {
    open: async () => {
      count.made++
      return { close: async () => void count.closed++ } as unknown as MetadataStore
    },
    made: () => count.made,
    closed: () => count.closed,
  }
}

test('OpenStores opens an engine once for all who ask at the same time, and again where it has moved; it closes every one', async () => {
  const stores = new OpenStores('meta')
  const { open, made, closed } = engines()
  const ask = (schema: string): Promise<MetadataStore> => stores.opened('engine', { schema, open })
  const [first, second] = await Promise.all([ask('meta'), ask('meta')])
  expect([first === second, made(), closed()]).toEqual([true, 1, 0])
  const [third, fourth] = await Promise.all([ask('meta_old'), ask('meta_old')])
  expect([third === fourth, third === first, made(), closed()]).toEqual([true, false, 2, 1])
  await stores.closeAll()
  expect([made(), closed()]).toEqual([2, 2])
})

test('OpenStores closes an engine that was still being opened when all were closed', async () => {
  const stores = new OpenStores('meta')
  const { open, made, closed } = engines()
  const opening = stores.opened('engine', { schema: 'meta', open })
  await stores.closeAll()
  await opening
  expect([made(), closed()]).toEqual([1, 1])
})
