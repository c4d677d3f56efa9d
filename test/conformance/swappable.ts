/** What every `Swappable` must do, for any test runner: a store whose engine is replaced by restores and rollbacks. */
import { deepEqual, equal, notEqual, ok, rejects } from 'node:assert/strict'
import type { RestoreJournal, SideEngine, Swappable } from '../../src/contracts/swappable.ts'
import { newUlid } from '../../src/util/ulid.ts'
import { registerTest, type TestRunner } from './runner.ts'

/** A handle of a store, and what only its author knows how to do through it. */
export interface SwappableHandle {
  readonly store: Swappable
  /** Writes a text through the handle, in place of what was written before. */
  readonly write: (text: string) => Promise<void>
  /** Reads the text; `undefined` in a store into which nothing was written. */
  readonly read: () => Promise<string | undefined>
}

/** A store of the test's own, which has a live engine and no other. */
export interface SwappableFixture extends SwappableHandle {
  /** Closes the handle, and opens the store again, as the next process does. */
  readonly reopen: () => Promise<SwappableHandle>
  /** Opens another handle beside the first, as another process does. */
  readonly another: () => Promise<SwappableHandle>
  readonly cleanup: () => Promise<void>
}

export interface SwappableConformanceOptions {
  readonly name: string
  readonly runner: TestRunner
  /** Called once per test. */
  readonly factory: () => Promise<SwappableFixture>
  /** What the store can do beyond the least. */
  readonly supports?:
    | {
        /** The store is there when its handle was closed. @default true */
        readonly reopen?: boolean | undefined
        /** Several handles, of several processes too, have the store open at once. @default true */
        readonly manyHandles?: boolean | undefined
      }
    | undefined
}

type Declare = (title: string, body: (fixture: SwappableFixture) => Promise<void>, isSupported?: boolean) => void

/** How long a drain may take, on any machine. */
const DRAIN = { timeoutMs: 60_000 }

/** Registers the whole suite with the runner. */
export function testSwappable({ name, runner, factory, supports = {} }: SwappableConformanceOptions): void {
  const declare: Declare = (title, body, isSupported) => {
    const run = async (): Promise<void> => {
      const fixture = await factory()
      try {
        await body(fixture)
      } finally {
        await fixture.cleanup()
      }
    }
    registerTest(runner, title, run, isSupported)
  }
  runner.describe(`swappable ${name}`, () => {
    engineTests(declare)
    swapTests(declare)
    drainTests(declare, supports.manyHandles ?? true)
    journalTests(declare)
    reopenTests(declare, supports.reopen ?? true)
  })
}

function engineTests(test: Declare): void {
  test('a store has one live engine, an ID, a schema version, and space that is a number where it can be told', async ({ store }) => {
    const { live, ...others } = await store.engines()
    equal(typeof live, 'string')
    deepEqual(others, { previous: undefined, leftovers: [] })
    notEqual(await store.readStoreId(), undefined)
    ok(Number.isSafeInteger(store.schemaVersion) && store.kind !== '')
    const free = await store.freeBytes()
    ok(free === undefined || free >= 0)
    await store.checkLive()
  })

  test('openSide() makes an engine beside the live one, which neither serves nor is kept', async (fixture) => {
    const { store } = fixture
    await fixture.write('live')
    const before = await store.engines()
    const [engine, side] = await openSide(store)
    deepEqual([side.engine, side.kind], [engine, store.kind])
    deepEqual(await store.engines(), { ...before, leftovers: [engine] })
    equal(await fixture.read(), 'live')
    await side.discard()
    await side.discard()
    deepEqual(await store.engines(), before)
  })

  test('openSide() refuses a name that is taken, and one that is not a ULID', async ({ store }) => {
    const { live = '' } = await store.engines()
    const [engine, side] = await openSide(store)
    for (const name of [live, engine, '../x', '..', '/tmp/x', 'x', '', '"; DROP SCHEMA public; --']) {
      await rejects(store.openSide(name, { storeId: 'x' }), { code: 'internal' }, name)
    }
    await side.discard()
    equal((await store.engines()).live, live)
  })

  test('removeEngine() removes a leftover, refuses the live and the previous engine, and does nothing for one that is not there', async ({ store }) => {
    const { live = '' } = await store.engines()
    const [next, leftover] = [await sealedSide(store), await sealedSide(store)]
    await whileDrained(store, async () => store.swap(next, { storeId: await storeIdOf(store), previous: live }))
    for (const kept of [live, next]) await rejects(store.removeEngine(kept), { code: 'internal' })
    await store.removeEngine(leftover)
    await store.removeEngine(leftover)
    await store.removeEngine(newUlid())
    deepEqual(await store.engines(), { live: next, previous: live, leftovers: [] })
  })
}

function swapTests(test: Declare): void {
  test('swap() makes another engine serve through the same handle, and keeps the one before; swapped back that serves again', async (fixture) => {
    const { store } = fixture
    await fixture.write('before')
    const [storeId, { live: before = '' }, next] = [await storeIdOf(store), await store.engines(), await sealedSide(store)]
    await whileDrained(store, () => store.swap(next, { storeId, previous: before }))
    await store.checkLive()
    equal(await fixture.read(), undefined)
    await fixture.write('after')
    await whileDrained(store, () => store.swap(before, { storeId, previous: next }))
    equal(await fixture.read(), 'before')
    deepEqual([await store.engines(), await store.readStoreId()], [{ live: before, previous: next, leftovers: [] }, storeId])
  })

  test('swap() and unswap() change nothing when they are called again', async ({ store }) => {
    const [storeId, { live = '' }, next] = [await storeIdOf(store), await store.engines(), await sealedSide(store)]
    const state = async (): Promise<unknown> => [await store.engines(), await store.readStoreId()]
    await whileDrained(store, async () => {
      const steps = [() => store.swap(next, { storeId, previous: live }), () => store.swap(live, { storeId, previous: next }), () => store.swap(next, { storeId, previous: undefined })]
      for (const step of [...steps, () => store.unswap(), () => store.swap(live, { storeId, previous: undefined })]) {
        await step()
        const once = await state()
        await step()
        deepEqual(await state(), once)
      }
    })
    deepEqual(await state(), [{ live, previous: undefined, leftovers: [next] }, storeId])
  })

  test('unswap() leaves no engine live or previous, and removes none', async ({ store }) => {
    const [storeId, { live = '' }] = [await storeIdOf(store), await store.engines()]
    await whileDrained(store, async () => {
      await store.unswap()
      deepEqual([await store.engines(), await store.readStoreId()], [{ live: undefined, previous: undefined, leftovers: [live] }, undefined])
      await store.swap(live, { storeId, previous: undefined })
    })
    await store.checkLive()
  })
}

function drainTests(test: Declare, manyHandles: boolean): void {
  test('drainWrites() refuses writes with restore_in_progress, to be tried again, and lets reads go on, until resume()', async (fixture) => {
    await fixture.write('before')
    await fixture.store.drainWrites(DRAIN)
    await rejects(fixture.write('in the drain'), { code: 'restore_in_progress', retryable: true })
    equal(await fixture.read(), 'before')
    await fixture.store.resume()
    await fixture.store.resume()
    await fixture.write('after')
    equal(await fixture.read(), 'after')
  })

  test('drain() holds operations back until resume(), and they then see the engine that is live', async (fixture) => {
    const { store } = fixture
    await fixture.write('before')
    const [storeId, { live }, next] = [await storeIdOf(store), await store.engines(), await sealedSide(store)]
    await store.drainWrites(DRAIN)
    await store.drain(DRAIN)
    let found: readonly [string | undefined] | undefined
    const reading = fixture.read().then((text) => (found = [text]))
    await store.swap(next, { storeId, previous: live })
    equal(found, undefined)
    await store.resume()
    await reading
    deepEqual(found, [undefined])
  })

  const testMany = (title: string, body: (fixture: SwappableFixture) => Promise<void>): void => test(title, body, manyHandles)

  testMany('a drain refuses the writers of other handles, and lets their readers go on', async (fixture) => {
    const other = await fixture.another()
    await fixture.write('before')
    await fixture.store.drainWrites(DRAIN)
    await rejects(other.write('in the drain'), { code: 'restore_in_progress', retryable: true })
    equal(await other.read(), 'before')
    await fixture.store.resume()
    await other.write('after')
    equal(await fixture.read(), 'after')
  })

  testMany('while one handle has drained the store another gets restore_in_progress for every change', async ({ store, another }) => {
    const [{ store: second }, storeId, { live = '' }] = [await another(), await storeIdOf(store), await store.engines()]
    await store.drainWrites(DRAIN)
    const changes = [
      () => second.drainWrites(DRAIN),
      () => second.drain(DRAIN),
      () => second.openSide(newUlid(), { storeId }),
      () => second.swap(live, { storeId, previous: undefined }),
      () => second.clearJournal(),
    ]
    for (const change of changes) await rejects(change(), { code: 'restore_in_progress', retryable: true })
    await store.resume()
    await second.drainWrites(DRAIN)
    await second.resume()
  })

  testMany('a swap through one handle is served by another', async (fixture) => {
    const { store } = fixture
    const other = await fixture.another()
    await fixture.write('before')
    const [storeId, { live = '' }, next] = [await storeIdOf(store), await store.engines(), await sealedSide(store)]
    await whileDrained(store, () => store.swap(next, { storeId, previous: live }))
    equal(await other.read(), undefined)
    await other.write('after')
    equal(await fixture.read(), 'after')
  })
}

function journalTests(test: Declare): void {
  test('a store keeps one journal, whatever is in it, until it is cleared', async ({ store }) => {
    equal(await store.readJournal(), undefined)
    for (const journal of journals()) {
      await store.writeJournal(journal)
      deepEqual(await store.readJournal(), journal)
    }
    await store.clearJournal()
    await store.clearJournal()
    equal(await store.readJournal(), undefined)
    // What the first change took, the end of a restore gives back.
    await store.resume()
  })
}

function reopenTests(test: Declare, isSupported: boolean): void {
  const body = async (fixture: SwappableFixture): Promise<void> => {
    const { store } = fixture
    await fixture.write('before')
    const [storeId, { live: before = '' }, next] = [await storeIdOf(store), await store.engines(), await sealedSide(store)]
    await whileDrained(store, () => store.swap(next, { storeId, previous: before }))
    await fixture.write('after')
    const leftover = await sealedSide(store)
    await store.resume()
    const again = await fixture.reopen()
    const { leftovers, ...kept } = await again.store.engines()
    deepEqual([kept, await again.store.readStoreId(), await again.read()], [{ live: next, previous: before }, storeId, 'after'])
    deepEqual(leftovers.filter((engine) => engine !== leftover), [])
    equal(await again.store.readJournal(), undefined)
    await whileDrained(again.store, () => again.store.swap(before, { storeId, previous: next }))
    equal(await again.read(), 'before')
  }
  test('the next handle finds the engine that was swapped in, the one that is kept, and the ID', body, isSupported)
}

function journals(): readonly RestoreJournal[] {
  const [restoreId, backupId, from, to] = [newUlid(), newUlid(), newUlid(), newUlid()]
  return [
    { restoreId, backupId: undefined, from: undefined, to, startedAtMs: 1 },
    { restoreId, backupId, from, to, startedAtMs: Date.now() },
  ]
}

async function storeIdOf(store: Swappable): Promise<string> {
  const storeId = await store.readStoreId()
  ok(storeId !== undefined)
  return storeId
}

async function openSide(store: Swappable): Promise<readonly [engine: string, side: SideEngine]> {
  const engine = newUlid()
  return [engine, await store.openSide(engine, { storeId: await storeIdOf(store) })]
}

/** An engine that is ready to be swapped in. */
async function sealedSide(store: Swappable): Promise<string> {
  const [engine, side] = await openSide(store)
  await side.seal()
  return engine
}

/** Does something as a restore does it. */
async function whileDrained(store: Swappable, task: () => Promise<void>): Promise<void> {
  await store.drainWrites(DRAIN)
  await store.drain(DRAIN)
  try {
    await task()
  } finally {
    await store.resume()
  }
}
