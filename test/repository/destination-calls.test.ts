/** Destinations of other makers: their mistakes are told as theirs, and none can keep a cancelled call from ending. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, it, onTestFinished, test, vi } from 'vitest'
import type { BackupUpload, Destination } from '../../src/contracts/destination.ts'
import { messageOf } from '../../src/errors/error-message.ts'
import { type BackupRecord, findHolders, openRepository, restoreInto, runBackup, verifyBackup } from '../../src/index.ts'
import { newPlace } from '../backup/backups.ts'
import { altered } from '../support/altered.ts'
import { collect } from '../support/collect.ts'
import { deferred } from '../support/deferred.ts'
import { FakeStore } from '../support/fake-store.ts'

const ID = '01HZZZZZZZZZZZZZZZZZZZZZZZ'
const LATER = '01J00000000000000000000000'

type Methods = Readonly<Record<string, unknown>>
type Run = (destination: Destination, backupId: string) => Promise<unknown>

const latest: Run = (destination) => openRepository(destination).resolve('latest')
const verify: Run = (destination, backupId) => verifyBackup({ destination, backupId })
const back: Run = (destination) => runBackup({ store: FakeStore.of(3), destination })

async function* each<T>(...items: readonly T[]): AsyncGenerator<T, void, undefined> {
  yield* items
}

async function backedUp(): Promise<{ readonly destination: Destination; readonly backupId: string }> {
  const { destination } = await newPlace()
  const { backupId } = await runBackup({ store: FakeStore.of(3), destination })
  return { destination, backupId }
}

function withMethods(destination: Destination, methods: Methods): Destination {
  return altered<Destination>(destination, methods as Partial<Destination>)
}

describe('a destination that breaks its contract is named', () => {
  it.each<readonly [string, Methods, Run]>([
    ['list() returned undefined, not an async iterable', { list: () => undefined }, latest],
    ['list() returned a promise (is an "await" missing?), not an async iterable', { list: async () => each(ID) }, latest],
    ['list() gave a number, which is not a ULID', { list: () => each(7) }, latest],
    ['list() gave "backup.tar", which is not a ULID', { list: () => each('backup.tar') }, latest],
    ['list() gave "backup.tar", which is not a ULID', { list: () => each('backup.tar') }, (destination) => collect(openRepository(destination).list())],
    ['list() gave "backup.tar", which is not a ULID', { list: () => each('backup.tar') }, (destination, backupId) => openRepository(destination).delete([backupId])],
    ['list() gave "backup.tar", which is not a ULID', { list: () => each('backup.tar') }, (destination) => findHolders({ catalog: undefined, destinations: [destination] })],
    ['list() gave "backup.tar", which is not a ULID', { list: () => each('backup.tar'), cleanUp: async () => ({ removed: [], kept: [] }) }, back],
    [`list() gave ${ID} after ${LATER}: IDs must ascend`, { list: () => each(LATER, ID) }, latest],
    ['manifest() resolved with undefined, not a Uint8Array', { manifest: async () => undefined }, verify],
    ['manifest() resolved with a string, not a Uint8Array', { manifest: () => '{}' }, verify],
    ['stat() resolved with undefined without "bytes"', { stat: async () => undefined }, verify],
    ['stat() says that "payload" has a string of bytes, not a number', { stat: async () => ({ bytes: { payload: '7', 'payload-ids': '7' } }) }, verify],
    ['open() returned a promise (is an "await" missing?), not an async iterable', { open: async () => each(Buffer.from('x')) }, verify],
    ['open() gave a string, not a Uint8Array', { open: () => each('x') }, verify],
    ['open() gave a string, not a Uint8Array', { open: () => each('x') }, (destination, backupId) => restoreInto({ target: new FakeStore(), destination, backupId })],
    ['put() resolved with undefined without write()', { put: async () => undefined }, back],
    ['put() resolved with an object without abort()', { put: async () => ({ write: async () => {}, publish: async () => {} }) }, back],
  ])('%s', async (what, methods, run) => {
    const { destination, backupId } = await backedUp()
    const error: unknown = await run(withMethods(destination, methods), backupId).catch((thrown: unknown) => thrown)
    expect(messageOf(error)).toContain(`The destination "${destination.url}" breaks its contract: ${what}`)
    expect(error).toMatchObject({ hint: expect.stringContaining('Report this to the maker of the destination, who can test it with testDestination()') })
  })

  it.each<readonly [string, Methods]>([
    ['cleanUp() resolved with undefined, not a report', { cleanUp: async () => undefined }],
    ['cleanUp() says that the newest backup is "yesterday", which is not a ULID', { cleanUp: async () => ({ newest: 'yesterday', removed: [], kept: [] }) }],
    ['takeWarnings() does not return warnings', { takeWarnings: async () => [] }],
  ])('in a warning of a backup that can do without: %s', async (what, methods) => {
    const { destination } = await backedUp()
    const { warnings } = (await back(withMethods(destination, methods), '')) as BackupRecord
    expect(warnings.map(messageOf)).toEqual([expect.stringContaining(`The destination "${destination.url}" breaks its contract: ${what}`)])
  })
})

describe('a cancelled call ends although the destination ignores its signal and hangs in', () => {
  /** Aborts when a method hangs, and lets the grace time pass once for each that does. */
  async function cancelled(run: (signal: AbortSignal) => Promise<unknown>, hangs: Hanging): Promise<unknown> {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const controller = new AbortController()
    const outcome: { ended?: true } = {}
    const running = run(controller.signal).finally(() => (outcome.ended = true)).catch((error: unknown) => error)
    await hangs.called
    controller.abort(new Error('Enough'))
    for (let [passed, turns] = [0, 0]; outcome.ended !== true && turns < 100_000; turns++, await nextTurn()) {
      if (passed < hangs.calls()) vi.advanceTimersByTime(60_000)
      passed = hangs.calls()
    }
    return await running
  }

  interface Hanging {
    readonly hang: () => Promise<never>
    /** Resolves when it was called. */
    readonly called: Promise<void>
    readonly calls: () => number
  }

  function hanging(): Hanging {
    const { promise, resolve } = deferred()
    let calls = 0
    const hang = async (): Promise<never> => {
      calls += 1
      resolve()
      return await new Promise(() => undefined)
    }
    return { hang, called: promise, calls: () => calls }
  }

  const UPLOADED = 'what was uploaded may still be there, unlisted; a backup of a day later removes it'

  test.each<readonly [string, readonly (keyof BackupUpload)[], RegExp]>([
    ['write', ['write'], new RegExp(`^The backup was cancelled; ".*" did not take what was written within 5 seconds and was left behind: ${UPLOADED}$`)],
    ['publish', ['publish'], /did not publish the backup within 5 seconds and was left behind: backup \w+ may be listed; "holdfast list" shows it$/],
    ['write and abort', ['write', 'abort'], new RegExp(`the upload \\w+ could not be removed; a later backup removes it: .* did not remove the upload .*: ${UPLOADED}$`)],
  ])('the upload: %s', async (_, methods, message) => {
    const { destination, catalog } = await newPlace()
    const hangs = hanging()
    const put: Destination['put'] = async (backupId, options) => {
      const upload = await destination.put(backupId, options)
      return altered<BackupUpload>(upload, Object.fromEntries(methods.map((name) => [name, hangs.hang])))
    }
    const error = await cancelled((signal) => runBackup({ store: FakeStore.of(3), destination: withMethods(destination, { put }), catalog, signal }), hangs)
    expect(error).toMatchObject({ code: 'backup_aborted', message: expect.stringMatching(message) })
    expect(await collect(catalog.jobs())).toMatchObject([{ state: 'interrupted', error: { code: 'backup_aborted' } }])
  })

  test('put, whose upload is removed when it begins after all', async () => {
    const { destination, catalog } = await newPlace()
    const hangs = hanging()
    const [late, removed] = [deferred(), deferred()]
    const put = async (): Promise<BackupUpload> => {
      await Promise.race([hangs.hang(), late.promise])
      return { write: async () => {}, publish: async () => {}, abort: async () => removed.resolve() }
    }
    const error = await cancelled((signal) => runBackup({ store: FakeStore.of(3), destination: withMethods(destination, { put }), catalog, signal }), hangs)
    expect(error).toMatchObject({ code: 'backup_aborted', message: expect.stringContaining('did not begin the upload within 5 seconds') })
    expect(await catalog.leases()).toEqual([])
    late.resolve()
    await removed.promise
  })

  test.each<readonly [string, (hangs: Hanging) => Methods, (destination: Destination, backupId: string, signal: AbortSignal) => Promise<unknown>]>([
    ['cleanUp', ({ hang }) => ({ cleanUp: hang }), (destination, _, signal) => runBackup({ store: FakeStore.of(3), destination, signal })],
    ['list', ({ hang }) => ({ list: () => ({ [Symbol.asyncIterator]: () => ({ next: hang }) }) }), (destination, _, signal) => openRepository(destination).resolve('latest', { signal })],
    ['manifest', ({ hang }) => ({ manifest: hang }), (destination, backupId, signal) => verifyBackup({ destination, backupId, signal })],
    ['stat', ({ hang }) => ({ stat: hang }), (destination, backupId, signal) => verifyBackup({ destination, backupId, signal })],
    ['open', ({ hang }) => ({ open: () => ({ [Symbol.asyncIterator]: () => ({ next: hang, return: hang }) }) }), (destination, backupId, signal) => verifyBackup({ destination, backupId, signal })],
  ])('%s', async (_, methods, run) => {
    const { destination, backupId } = await backedUp()
    const hangs = hanging()
    const error = await cancelled((signal) => run(withMethods(destination, methods(hangs)), backupId, signal), hangs)
    expect(messageOf(error)).toMatch(/^(?:Enough|The backup was cancelled)$/)
  })
})
