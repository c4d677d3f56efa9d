import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { MetadataStore } from '../../src/contracts/metadata-store.ts'
import { OpenEngines } from '../../src/metadata/open-engines.ts'

const toError = (place: string, error: unknown): Error => new Error(`Cannot open "${place}": ${String(error)}`)

/** Engines that are open and shut, one after the other. */
function countedEngines(): { readonly open: () => Promise<MetadataStore>; readonly made: () => number; readonly closed: () => number } {
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

test('OpenEngines opens an engine once for all calls at the same time, and again where it has moved; it closes every one', async () => {
  const stores = new OpenEngines('"meta"', toError)
  const { open, made, closed } = countedEngines()
  const ask = (place: string): Promise<MetadataStore> => stores.opened('engine', { place, open })
  const [first, second] = await Promise.all([ask('meta'), ask('meta')])
  expect([first === second, made(), closed()]).toEqual([true, 1, 0])
  const [third, fourth] = await Promise.all([ask('meta_old'), ask('meta_old')])
  expect([third === fourth, third === first, made(), closed()]).toEqual([true, false, 2, 1])
  await stores.closeAll()
  expect([made(), closed()]).toEqual([2, 2])
})

test('OpenEngines closes an engine that was still being opened when all were closed', async () => {
  const stores = new OpenEngines('"meta"', toError)
  const { open, made, closed } = countedEngines()
  const opening = stores.opened('engine', { place: 'meta', open })
  await stores.closeAll()
  await opening
  expect([made(), closed()]).toEqual([1, 1])
})

test('OpenEngines opens an engine again only once it has been closed', async () => {
  const engines = new OpenEngines('"meta"', toError)
  const steps: string[] = []
  const open = async (): Promise<MetadataStore> => {
    steps.push('open')
    return { close: async () => void (await setImmediate(), steps.push('closed')) } as unknown as MetadataStore
  }
  const ask = (): Promise<MetadataStore> => engines.opened('engine', { place: 'meta', open })
  await ask()
  await Promise.all([engines.close('engine'), ask()])
  await engines.closeAll()
  expect(steps).toEqual(['open', 'closed', 'open', 'closed'])
  await expect(ask()).rejects.toMatchObject({ code: 'store_unavailable', message: 'Cannot use the store "meta": it was closed' })
})

test('OpenEngines tells every caller why an engine was not opened, and tries again for the next', async () => {
  const engines = new OpenEngines('"meta"', toError)
  const { open, made } = countedEngines()
  const fail = async (): Promise<MetadataStore> => await Promise.reject(new TypeError('no'))
  const failures = await Promise.allSettled([1, 2].map(() => engines.opened('engine', { place: 'meta', open: fail })))
  expect(failures.map((failure) => (failure as PromiseRejectedResult).reason.message)).toEqual(Array(2).fill('Cannot open "meta": TypeError: no'))
  await engines.opened('engine', { place: 'meta', open })
  expect(made()).toBe(1)
  await engines.closeAll()
})
