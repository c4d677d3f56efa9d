/** What every payload store must do, for any test runner. It is what garbage collection deletes from: a fault here loses data. */
import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { MAX_PAYLOADS_PER_CALL, type PayloadStore, type StoredPayload } from '../../src/contracts/payload-store.ts'
import { registerTest, type TestRunner } from './runner.ts'

/** A fresh, empty payload store of the tests' own. */
export interface PayloadStoreFixture {
  readonly payloads: PayloadStore
  /** The ID of the payload of a number: another one for each, of the form that the store's payloads have. */
  readonly idOf: (index: number) => string
  /** Writes the payload of a number, or renews it when it is there already, as the server's writers do. */
  readonly put: (index: number) => Promise<void>
  /** Makes the payloads unreadable, as the loss of a mount or a server does. Called last. */
  readonly breakDown: () => Promise<void>
  readonly cleanup: () => Promise<void>
}

export interface PayloadStoreConformanceOptions {
  readonly name: string
  readonly runner: TestRunner
  /** Called once per test. */
  readonly factory: () => Promise<PayloadStoreFixture>
  /** What the store can do beyond the least. */
  readonly supports?:
    | {
        /** A payload that is renewed through `put` at the very instant it is deleted stays. Without it, writers must be kept off while a sweep deletes. @default true */
        readonly atomicDelete?: boolean | undefined
        /** The store knows how long ago a payload was written or renewed. @default true */
        readonly ages?: boolean | undefined
      }
    | undefined
}

/** IDs that no payload has: traversal, tricks of encoding, too long, none. */
export const ODD_PAYLOAD_IDS: readonly string[] = ['', '.', '..', '../../etc/passwd', '/etc/passwd', '..\\..\\x', 'a/../b', 'a\0b', 'a\nb', ' ', '%2e%2e%2f', '\u2024\u2024/x', 'ä', '__proto__', 'x'.repeat(10_000)]

const WORD = /^[\x21-\x7e]{1,255}$/
const COUNT = 40
const RACES = 40

/** Declares one test; where what it tries is not supported it is shown as skipped. */
type Declare = (title: string, body: (fixture: PayloadStoreFixture) => Promise<void>, isSupported?: boolean) => void

/** Declares the suite with the runner that was passed in. */
export function testPayloadStore(options: PayloadStoreConformanceOptions): void {
  const { name, runner, factory, supports = {} } = options
  const test: Declare = (title, body, isSupported) => {
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
  runner.describe(`PayloadStore: ${name}`, () => {
    testList(test)
    testVersions(test, supports.ages ?? true)
    testExists(test)
    testDeletes(test)
    testRaces((title, body) => test(title, body, supports.atomicDelete ?? true))
    testAborts(test)
  })
}

function testList(test: Declare): void {
  test('the factory gives an empty store with a URL', async ({ payloads }) => {
    ok(payloads.url.length > 0)
    deepEqual(await listed(payloads), [])
  })

  test('list() gives every payload once, in ascending order, whatever the order of writing', async (fixture) => {
    const { payloads } = fixture
    const ids = await fill(fixture, COUNT)
    const found = (await listed(payloads)).map(({ payloadId }) => payloadId)
    deepEqual(found, ids)
  })

  test('list({ after }) gives those with greater IDs, after an ID that is there, is not, or comes before or after all', async (fixture) => {
    const { payloads, idOf } = fixture
    const ids = await fill(fixture, COUNT)
    for (const after of [...ids, idOf(COUNT), idOf(COUNT + 1), idOf(COUNT + 2), '', '!', '~']) {
      const found = (await listed(payloads, after)).map(({ payloadId }) => payloadId)
      deepEqual(found, ids.filter((payloadId) => payloadId > after), `after ${JSON.stringify(after)}`)
    }
  })

  test('list() may be left early, again and again', async (fixture) => {
    const ids = await fill(fixture, 3)
    for (let round = 0; round < 20; round++) {
      for await (const page of fixture.payloads.list()) {
        if (page.length === 0) continue
        equal(page[0]?.payloadId, ids[0])
        break
      }
    }
    equal((await listed(fixture.payloads)).length, 3)
  })

  test('list() goes on while payloads come and go, and misses none that stays', async (fixture) => {
    const { payloads, put } = fixture
    const ids = await fill(fixture, COUNT)
    const before = await listed(payloads)
    const going = before.filter((_, index) => index % 4 === 0)
    const found: string[] = []
    let isChanged = false
    for await (const page of payloads.list()) {
      found.push(...page.map(({ payloadId }) => payloadId))
      if (isChanged) continue
      isChanged = true
      await payloads.deleteUnchanged(going)
      for (let index = COUNT; index < COUNT + 10; index++) await put(index)
    }
    const gone = new Set(going.map(({ payloadId }) => payloadId))
    deepEqual(ids.filter((payloadId) => !gone.has(payloadId) && !found.includes(payloadId)), [])
    deepEqual(found, [...new Set(found)].toSorted())
  })

  test('list() rejects when it cannot be completed', async (fixture) => {
    await fill(fixture, 3)
    await fixture.breakDown()
    await rejects(listed(fixture.payloads))
  })
}

function testVersions(test: Declare, ages: boolean): void {
  test('a payload is listed with a version, its bytes and its age', async (fixture) => {
    await fill(fixture, 5)
    for (const { version, bytes, ageMs } of await listed(fixture.payloads)) {
      ok(WORD.test(version), JSON.stringify(version))
      ok(Number.isSafeInteger(bytes) && bytes >= 0, String(bytes))
      ok(ageMs === undefined ? !ages : Number.isFinite(ageMs) && ageMs < 60 * 60 * 1000, String(ageMs))
    }
  })

  test('a version stays as long as its payload is not renewed, and is another one each time it is', async (fixture) => {
    const ids = await fill(fixture, 3)
    const before = await listed(fixture.payloads)
    deepEqual((await listed(fixture.payloads)).map(versionOf), before.map(versionOf))
    const seen = new Set([before.find(({ payloadId }) => payloadId === fixture.idOf(1))?.version])
    for (let round = 1; round <= 10; round++) {
      await fixture.put(1)
      const now = await listed(fixture.payloads)
      seen.add(now.find(({ payloadId }) => payloadId === fixture.idOf(1))?.version)
      equal(seen.size, round + 1, `round ${round}`)
      for (const payloadId of ids.filter((id) => id !== fixture.idOf(1))) equal(versionIn(now, payloadId), versionIn(before, payloadId))
    }
  })
}

function testExists(test: Declare): void {
  test('exists() answers in the order of the IDs, for as many as one call may have', async (fixture) => {
    await fill(fixture, 5)
    const indexes = Array.from({ length: MAX_PAYLOADS_PER_CALL }, (_, index) => MAX_PAYLOADS_PER_CALL - 1 - index)
    deepEqual(await fixture.payloads.exists(indexes.map(fixture.idOf)), indexes.map((index) => index < 5))
    deepEqual(await fixture.payloads.exists([]), [])
    const twice = fixture.idOf(0)
    deepEqual(await fixture.payloads.exists([twice, fixture.idOf(7), twice]), [true, false, true])
  })

  test('exists() is false for an ID that no payload can have', async (fixture) => {
    await fill(fixture, 1)
    const there = fixture.idOf(0)
    const asked = ODD_PAYLOAD_IDS.flatMap((payloadId) => [payloadId, there])
    deepEqual(await fixture.payloads.exists(asked), asked.map((payloadId) => payloadId === there))
  })
}

function testDeletes(test: Declare): void {
  test('deleteUnchanged() deletes what it is given and nothing else, and resolves with the IDs', async (fixture) => {
    const ids = await fill(fixture, COUNT)
    const given = (await listed(fixture.payloads)).filter((_, index) => index % 3 === 0)
    const deleted = await fixture.payloads.deleteUnchanged(given)
    deepEqual(deleted.toSorted(), given.map(idIn))
    const rest = ids.filter((payloadId) => !deleted.includes(payloadId))
    deepEqual((await listed(fixture.payloads)).map(idIn), rest)
    deepEqual(await fixture.payloads.exists(ids), ids.map((payloadId) => rest.includes(payloadId)))
    deepEqual(await fixture.payloads.deleteUnchanged([]), [])
  })

  test('deleteUnchanged() leaves a payload that was renewed since it was listed', async (fixture) => {
    await fill(fixture, 10)
    const before = await listed(fixture.payloads)
    for (const index of [2, 5]) await fixture.put(index)
    const deleted = await fixture.payloads.deleteUnchanged(before)
    equal(deleted.length, 8)
    deepEqual((await listed(fixture.payloads)).map(idIn), [fixture.idOf(2), fixture.idOf(5)].toSorted())
  })

  test('deleteUnchanged() leaves a payload that was deleted and written again since it was listed', async (fixture) => {
    await fill(fixture, 2)
    const before = await listed(fixture.payloads)
    await fixture.payloads.deleteUnchanged(before)
    await new Promise((resolve) => setTimeout(resolve, 20))
    await fixture.put(0)
    deepEqual(await fixture.payloads.deleteUnchanged(before), [])
    deepEqual((await listed(fixture.payloads)).map(idIn), [fixture.idOf(0)])
  })

  test('deleteUnchanged() leaves a payload whose version is not the one given', async (fixture) => {
    const ids = await fill(fixture, 3)
    const found = await listed(fixture.payloads)
    for (const version of ['', 'none', '*', `${found[0]?.version ?? ''}x`]) {
      deepEqual(await fixture.payloads.deleteUnchanged(found.map((payload) => ({ ...payload, version }))), [], version)
    }
    deepEqual((await listed(fixture.payloads)).map(idIn), ids)
  })

  test('deleteUnchanged() does nothing for what is gone, or never was, for as many as one call may have', async (fixture) => {
    await fill(fixture, 5)
    const before = await listed(fixture.payloads)
    await fixture.payloads.deleteUnchanged(before)
    deepEqual(await fixture.payloads.deleteUnchanged(before), [])
    await fixture.put(5)
    const [there] = await listed(fixture.payloads)
    const missing = Array.from({ length: MAX_PAYLOADS_PER_CALL - 1 }, (_, index) => ({ payloadId: fixture.idOf(1000 + index), version: 'v1', bytes: 1, ageMs: 1 }))
    deepEqual(await fixture.payloads.deleteUnchanged([...missing, there as StoredPayload]), [fixture.idOf(5)])
  })

  test('deleteUnchanged() does nothing for an ID that no payload can have', async (fixture) => {
    const ids = await fill(fixture, 3)
    const [{ version }] = (await listed(fixture.payloads)) as [StoredPayload]
    deepEqual(await fixture.payloads.deleteUnchanged(ODD_PAYLOAD_IDS.map((payloadId) => ({ payloadId, version, bytes: 1, ageMs: 1 }))), [])
    deepEqual((await listed(fixture.payloads)).map(idIn), ids)
  })

  test('two deletions of the same payloads at once end well for both', async (fixture) => {
    await fill(fixture, 10)
    const found = await listed(fixture.payloads)
    const both = await Promise.all([fixture.payloads.deleteUnchanged(found), fixture.payloads.deleteUnchanged(found)])
    deepEqual([...new Set(both.flat())].toSorted(), found.map(idIn))
    deepEqual(await listed(fixture.payloads), [])
  })
}

function testRaces(test: Declare): void {
  test('a payload that is renewed at the same time is there afterwards, whichever came first', async (fixture) => {
    for (let round = 0; round < RACES; round++) {
      for (let index = 0; index < 5; index++) await fixture.put(index)
      const found = await listed(fixture.payloads)
      const renewed = [round % 5, (round + 2) % 5]
      const renewing = async (): Promise<void> => {
        // At another moment of the deletion each time.
        for (let turn = 0; turn < round % 8; turn++) await new Promise((resolve) => setImmediate(resolve))
        await Promise.all(renewed.map((index) => fixture.put(index)))
      }
      await Promise.all(round % 2 === 0 ? [fixture.payloads.deleteUnchanged(found), renewing()] : [renewing(), fixture.payloads.deleteUnchanged(found)])
      deepEqual(await fixture.payloads.exists(renewed.map(fixture.idOf)), [true, true], `round ${round}`)
    }
  })
}

function testAborts(test: Declare): void {
  test('every method ends with the reason of an aborted signal, and deletes nothing', async (fixture) => {
    const ids = await fill(fixture, 3)
    const found = await listed(fixture.payloads)
    const reason = new Error('enough')
    const signal = AbortSignal.abort(reason)
    await rejects(fixture.payloads.exists(ids, { signal }), reason)
    await rejects(fixture.payloads.deleteUnchanged(found, { signal }), reason)
    await rejects(async () => {
      for await (const page of fixture.payloads.list({ signal })) ok(page.length === 0)
    }, reason)
    deepEqual((await listed(fixture.payloads)).map(idIn), ids)
  })
}

/** Writes payloads in another order than that of their IDs; resolves with these, sorted. */
async function fill({ put, idOf }: PayloadStoreFixture, count: number): Promise<readonly string[]> {
  const indexes = Array.from({ length: count }, (_, index) => index)
  for (const index of indexes.toReversed()) await put(index)
  return indexes.map(idOf).toSorted()
}

async function listed(payloads: PayloadStore, after?: string): Promise<StoredPayload[]> {
  const found: StoredPayload[] = []
  for await (const page of payloads.list({ after })) found.push(...page)
  return found
}

function idIn({ payloadId }: StoredPayload): string {
  return payloadId
}

function versionOf({ payloadId, version }: StoredPayload): string {
  return `${payloadId} ${version}`
}

function versionIn(payloads: readonly StoredPayload[], payloadId: string): string | undefined {
  return payloads.find((payload) => payload.payloadId === payloadId)?.version
}
