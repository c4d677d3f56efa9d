/** The published suites notice implementations that are broken in one thing, by the test that is about it, and leave nothing running. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { fsDestination } from '../../destinations/fs/index.ts'
import { type Destination, type MetadataStore } from '../../src/index.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'
import { testDestination, testMetadataStore, type TestRunner } from '../conformance/index.ts'
import { altered } from '../support/altered.ts'
import { collect } from '../support/collect.ts'

/** Whether the test of a suite whose title begins so fails. */
async function fails(declare: (runner: TestRunner) => void, title: string): Promise<boolean> {
  const found: (() => Promise<void>)[] = []
  const test = (name: string, body: () => Promise<void>): void => void (name.startsWith(title) && found.push(body))
  declare({ describe: (_, body) => body(), test })
  expect(found).toHaveLength(1)
  return await (found[0] as () => Promise<void>)().then(() => false, () => true)
}

type Broken<Part> = (part: Part) => Partial<Part>

function destinations(broken: Broken<Destination>): (runner: TestRunner) => void {
  return (runner) =>
    testDestination({
      name: 'broken',
      runner,
      factory: async () => {
        const parent = await mkdtemp(join(tmpdir(), 'holdfast-test-'))
        const path = join(parent, 'root')
        const open = (): Destination => {
          const destination = fsDestination({ path })
          return altered(destination, broken(destination))
        }
        return {
          destination: open(),
          reopen: open,
          names: async () => ((await readdir(parent)).length === 0 ? [] : (await readdir(path, { recursive: true })).toSorted()),
          plant: (name, content) => writeFile(join(path, name), content),
          damage: (backupId, object) => rm(join(path, backupId, object)),
          cleanup: () => rm(parent, { recursive: true }),
        }
      },
    })
}

function stores(broken: Broken<MetadataStore>): (runner: TestRunner) => void {
  return (runner) =>
    testMetadataStore({
      name: 'broken',
      runner,
      factory: async () => {
        const store = await openMemoryStore()
        return altered<MetadataStore>(store, broken(store))
      },
    })
}

it.each<readonly [string, string, Broken<Destination>]>([
  ['a list that is not sorted', 'list() gives IDs in ascending order', (good) => ({
    async *list(options) {
      yield* (await collect(good.list(options))).toReversed()
    },
  })],
  ['put() that replaces', 'put() refuses the ID of a published backup', (good) => ({
    async put(backupId, options) {
      await good.delete(backupId)
      return await good.put(backupId, options)
    },
  })],
  ['open() that ignores where to start', 'open() starts at any byte', (good) => ({ open: (backupId, object, { signal } = {}) => good.open(backupId, object, { signal }) })],
  ['delete() that leaves', 'delete() removes the backup and nothing else', () => ({ delete: async () => {} })],
  ['cleanUp() that tells another newest backup', 'cleanUp() removes no listed backup', (good) => ({ cleanUp: async (options) => ({ ...(await good.cleanUp(options)), newest: null }) })],
])('testDestination() notices %s', async (_, title, broken) => {
  expect(await fails(destinations(broken), title)).toBe(true)
  expect(await fails(destinations(() => ({})), title)).toBe(false)
})

const NOT_PINNED: Broken<MetadataStore> = (good) => ({ view: async () => altered(await good.view(), { lookup: (place) => good.lookup(place), settings: () => good.settings(), payloadIds: () => good.payloadIds() }) })

it.each<readonly [string, string, Broken<MetadataStore>]>([
  ['a view that is not a snapshot', 'view() shows the store as it was', NOT_PINNED],
  ['a view that is not a snapshot, under writers', 'view() is one instant while writers go on', NOT_PINNED],
  ['a writer that fails', 'view() is one instant while writers go on', () => ({ rename: async () => Promise.reject(new Error('Cannot rename')) })],
  ['references that leave one out', 'payloadIds() gives every ID once', (good) => ({
    async *payloadIds() {
      yield* (await collect(good.payloadIds())).slice(1)
    },
  })],
])('testMetadataStore() notices %s', async (_, title, broken) => {
  expect(await fails(stores(broken), title)).toBe(true)
  expect(await fails(stores(() => ({})), title)).toBe(false)
})
