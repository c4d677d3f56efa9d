/** Views of a metadata store in Postgres, and imports into one: connections, transactions, others at work beside them, faults. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { MemoryLevel } from 'memory-level'
import { describe, expect, onTestFinished, test } from 'vitest'
import { checkTree } from '../../../src/metadata/check-tree.ts'
import type { ListedInode, MetadataStore, MetadataView } from '../../../src/contracts/metadata-store.ts'
import { LevelMetadataStore } from '../../../src/stores/level/store/level-metadata-store.ts'
import { PostgresMetadataStore } from '../../../src/stores/postgres/store/postgres-metadata-store.ts'
import { lockKey } from '../../../src/stores/postgres/connection/advisory-locks.ts'
import { refused } from '../../conformance/backupable-fixture.ts'
import { collect } from '../../support/collect.ts'
import { dumpStore } from '../../support/dump-store.ts'
import { fillStore } from '../../support/fill-store.ts'
import { openStore } from './metadata-stores.ts'
import { describeSchema, dumpSchema, inSchema, sharedPool } from './schemas.ts'
import { testPool } from './server.ts'

interface OwnStore {
  readonly store: PostgresMetadataStore & { readonly schema: string }
  /** How many connections of its pool are in use. */
  readonly inUse: () => number
  /** Kills the server processes of its open transactions; gives their number. */
  readonly kill: () => Promise<number>
}

/** A store on a pool of its own. */
async function storeOfOwnPool(): Promise<OwnStore> {
  const name = `holdfast ${Math.random()}`
  const pool = await testPool({ application_name: name })
  const kill = async (): Promise<number> => {
    const { rowCount } = await (await sharedPool()).query(
      `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = $1 AND state = 'idle in transaction'`,
      [name],
    )
    return rowCount ?? 0
  }
  return { store: await openStore({ pool }), inUse: () => pool.totalCount - pool.idleCount, kill }
}

async function memoryStore(): Promise<MetadataStore> {
  const store = await LevelMetadataStore.open(new MemoryLevel(), { kind: 'memory' })
  onTestFinished(() => store.close())
  return store
}

/** A filled store and a view of it, which are closed after the test. */
async function filledView(): Promise<MetadataView> {
  const store = await memoryStore()
  await fillStore(store)
  const view = await store.view()
  onTestFinished(() => view.close())
  return view
}

async function makeFiles(store: MetadataStore, count: number): Promise<number> {
  const { root } = await store.createShare('share')
  await Promise.all(Array.from({ length: count }, (_, at) => store.create({ parent: root, name: `f${at}` }, { type: 'file', size: at, content: { payloadId: `p${at}` } })))
  return root
}

/** The view with some of its methods replaced. */
function overlaid(view: MetadataView, replaced: Partial<MetadataView>): MetadataView {
  return new Proxy(view, {
    get(target, name) {
      const value: unknown = Reflect.get(name in replaced ? replaced : target, name)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

describe('view()', () => {
  test('keeps one connection until it is closed, whatever is read and left', async () => {
    const { store, inUse } = await storeOfOwnPool()
    await fillStore(store)
    const view = await store.view()
    expect(inUse()).toBe(1)
    for await (const _ of view.inodes()) break
    await Promise.all([collect(view.entries()), collect(view.payloadIds()), view.shares()])
    expect(inUse()).toBe(1)
    await Promise.all([view.close(), view.close()])
    expect(inUse()).toBe(0)
  })

  test('reads several lists at once, each in full', async () => {
    const { store } = await storeOfOwnPool()
    await makeFiles(store, 1100)
    await using view = await store.view()
    const lists: readonly AsyncIterator<unknown>[] = [view.inodes(), view.entries(), view.inodes()].map((list: AsyncIterable<unknown>) => list[Symbol.asyncIterator]())
    const seen = lists.map(() => 0)
    for (let isMore = true; isMore; ) {
      const steps = await Promise.all(lists.map(async (list) => await list.next()))
      for (const [at, { done }] of steps.entries()) if (done !== true) seen[at] = (seen[at] ?? 0) + 1
      isMore = steps.some(({ done }) => done !== true)
    }
    expect(seen).toEqual([1101, 1100, 1101])
  })

  test('close() waits for an iteration to end, which shows all that is left, and refuses what begins after it', async () => {
    const { store, inUse } = await storeOfOwnPool()
    await makeFiles(store, 1100)
    const view = await store.view()
    const list = view.entries()[Symbol.asyncIterator]()
    await list.next()
    let isClosed = false
    const closing = view.close().then(() => (isClosed = true))
    await refused(view.shares(), 'store_unavailable')
    await refused(view.nextInode(), 'store_unavailable')
    let left = 0
    while ((await list.next()).done !== true) {
      left++
      expect(isClosed).toBe(false)
    }
    await closing
    expect([left, inUse()]).toEqual([1099, 0])
  })

  test('outlasts the limits of time that a server sets for transactions', async () => {
    const pool = await testPool({ options: '-c idle_in_transaction_session_timeout=50 -c statement_timeout=2000' })
    const store = await openStore({ pool })
    await store.createShare('share')
    await using view = await store.view()
    // The server's own clock says when twice the limit is over.
    await (await sharedPool()).query('SELECT pg_sleep(0.1)')
    expect((await view.shares()).length).toBe(1)
  })

  test('whose server process is killed says store_unavailable, and close() resolves', async () => {
    const { store, inUse, kill } = await storeOfOwnPool()
    await fillStore(store)
    const view = await store.view()
    expect(await kill()).toBe(1)
    expect(await refused(collect(view.inodes()), 'store_unavailable')).toMatchObject({ retryable: true })
    await view.close()
    expect(inUse()).toBe(0)
    expect((await store.shares()).length).toBeGreaterThan(0)
  })

  test('shows numbers of inodes below nextInode() only, while others are made', async () => {
    const { store } = await storeOfOwnPool()
    const { root } = await store.createShare('share')
    const making = Promise.all(Array.from({ length: 100 }, (_, at) => store.create({ parent: root, name: `${at}` }, { type: 'file' })))
    for (let round = 0; round < 10; round++) {
      await using view = await store.view()
      const next = await view.nextInode()
      const numbers = (await collect(view.inodes())).map(({ inode }) => inode)
      expect(Math.max(...numbers)).toBeLessThan(next)
      expect(await view.nextInode()).toBe(next)
    }
    await making
  })
})

describe('importView()', () => {
  test('keeps writers off with restore_in_progress until it is done, and readers see an empty store', async () => {
    const { store } = await storeOfOwnPool()
    const other = await PostgresMetadataStore.open(await testPool(), { schema: store.schema })
    onTestFinished(() => other.close())
    const view = await filledView()
    await using before = await other.view()
    const check = async (): Promise<void> => {
      await refused(other.createShare('x'), 'restore_in_progress')
      expect(await other.shares()).toEqual([])
    }
    await store.importView(view, { check })
    expect(await dumpStore(other)).toEqual(await dumpStore(view))
    expect([await before.shares(), await collect(before.inodes()), await before.nextInode()]).toEqual([[], [], 1])
    await other.createShare('x')
    expect(await checkTree(other)).toEqual([])
  })

  test('at once by two stores fills the schema once, and refuses the other', async () => {
    const { store } = await storeOfOwnPool()
    const other = await PostgresMetadataStore.open(await testPool(), { schema: store.schema })
    onTestFinished(() => other.close())
    const view = await filledView()
    const codes = await Promise.all([store, other].map((each) => each.importView(view).then(() => 'done', (error: unknown) => (error as { readonly code: string }).code)))
    expect(codes.filter((code) => code !== 'done').map((code) => ['restore_destination_not_empty', 'restore_in_progress'].includes(code))).toEqual([true])
    expect(await dumpStore(other)).toEqual(await dumpStore(view))
  })

  test('waits for a writer under way, and refuses what it has made', async () => {
    const { store } = await storeOfOwnPool()
    const pool = await sharedPool()
    const [view, key] = [await filledView(), lockKey('writes', store.schema)]
    const imported = await inSchema(pool, store.schema, async (writer) => {
      await writer.query('SELECT pg_advisory_xact_lock_shared($1, $2)', [...key])
      await writer.query(`INSERT INTO settings VALUES ('a', 'b')`)
      const importing = refused(store.importView(view), 'restore_destination_not_empty')
      const waiting = `SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND classid::bigint::bit(32)::int = $1 AND objid::bigint::bit(32)::int = $2`
      while ((await pool.query(waiting, [...key])).rowCount === 0) await nextTurn()
      return { importing }
    })
    await imported.importing
    expect([...(await store.settings())]).toEqual([['a', 'b']])
  })

  test('refuses a store that has ever given an inode number', async () => {
    const { store } = await storeOfOwnPool()
    await (await sharedPool()).query(`SELECT nextval('"${store.schema.replaceAll('"', '""')}".inode_numbers')`)
    await refused(store.importView(await filledView()), 'restore_destination_not_empty')
  })

  test('leaves everything as it was when the server process is killed before the commit, and can be done again', async () => {
    const { store, inUse, kill } = await storeOfOwnPool()
    const pool = await sharedPool()
    const view = await filledView()
    const state = async (): Promise<readonly unknown[]> => [await describeSchema(pool, store.schema), await dumpSchema(pool, store.schema)]
    const before = await state()
    const check = async (imported: MetadataView): Promise<void> => {
      expect((await imported.shares()).length).toBeGreaterThan(0)
      expect(await kill()).toBe(1)
    }
    await refused(store.importView(view, { check }), 'store_unavailable')
    expect(await state()).toEqual(before)
    expect(inUse()).toBe(0)
    await store.importView(view)
    expect(await dumpStore(store)).toEqual(await dumpStore(view))
    expect(await describeSchema(pool, store.schema)).toEqual(before[0])
  })

  test('takes an upload whose directory is gone', async () => {
    const source = await memoryStore()
    const { root } = await source.createShare('share')
    const { inode } = await source.create({ parent: root, name: 'd' }, { type: 'directory' })
    await source.putUpload({ uploadId: 'u', parent: inode, name: 'n', startedAtMs: 1, blocks: [{ payloadId: 'p', offset: 0, bytes: 1 }] })
    await source.unlink({ parent: root, name: 'd' })
    const { store } = await storeOfOwnPool()
    await using view = await source.view()
    await store.importView(view)
    expect(await dumpStore(store)).toEqual(await dumpStore(source))
    await refused(store.completeUpload('u'), 'entry_not_found')
    await store.removeUpload('u')
  })

  /** What a broken view may show; the rest of it is whole. */
  const TORN: Readonly<Record<string, (view: MetadataView) => Partial<MetadataView>>> = {
    'too many links': (view) => ({ inodes: changed(view, ({ type }) => type === 'file', (inode) => ({ links: inode.links + 1 })) }),
    'a directory with too few links': (view) => ({ inodes: changed(view, ({ type, links }) => type === 'directory' && links > 2, ({ links }) => ({ links: links - 1 })) }),
    'a file that is a fifo': (view) => ({ inodes: changed(view, ({ type, payloadId, blockCount }) => type === 'file' && payloadId === undefined && blockCount === 0, () => ({ type: 'fifo' })) }),
    'a wrong number of blocks': (view) => ({ inodes: changed(view, ({ blockCount }) => blockCount > 0, ({ blockCount }) => ({ blockCount: blockCount + 1 })) }),
    'a share that is missing': () => ({ shares: async () => [] }),
    'a share whose root is in another directory': (view) => ({
      shares: async () => {
        const [share] = await view.shares()
        for await (const { type, inode } of view.entries()) if (share !== undefined && type === 'directory') return [{ ...share, root: inode }]
        return []
      },
    }),
    'a file without entries': (view) => ({ inodes: withOneMore(view) }),
    'an inode that is missing': (view) => ({ inodes: changed(view, ({ type }) => type === 'file', () => undefined) }),
    'every inode twice': (view) => ({
      inodes: async function* () {
        yield* view.inodes()
        yield* view.inodes()
      },
    }),
    'a next inode number that was given': (view) => ({ nextInode: async () => await lastInodeOf(view) }),
  }

  test.each(Object.entries(TORN))('refuses a view that shows %s with record_invalid, and leaves the store empty', async (_, tear) => {
    const { store } = await storeOfOwnPool()
    const view = await filledView()
    await refused(store.importView(overlaid(view, tear(view))), 'record_invalid')
    expect(await store.shares()).toEqual([])
    await store.importView(view)
    expect(await dumpStore(store)).toEqual(await dumpStore(view))
  })
})

async function lastInodeOf(view: MetadataView): Promise<number> {
  return (await collect(view.inodes())).at(-1)?.inode ?? 0
}

/** The inodes of a view, the first of a sort changed (or, by `undefined`, left out). */
function changed(view: MetadataView, isIt: (inode: ListedInode) => boolean, change: (inode: ListedInode) => Partial<ListedInode> | undefined): () => AsyncGenerator<ListedInode, void, undefined> {
  return async function* () {
    let isDone = false
    for await (const inode of view.inodes()) {
      const changes = !isDone && isIt(inode) ? change(inode) : {}
      isDone ||= isIt(inode)
      if (changes !== undefined) yield { ...inode, ...changes }
    }
  }
}

/** The inodes of a view, and one with the number after them that nothing names. */
function withOneMore(view: MetadataView): () => AsyncGenerator<ListedInode, void, undefined> {
  return async function* () {
    let last: ListedInode | undefined
    for await (const inode of view.inodes()) yield (last = inode)
    if (last !== undefined) yield { ...last, inode: last.inode + 1, type: 'file', links: 0, symlinkTarget: undefined, payloadId: undefined, blockCount: 0 }
  }
}
