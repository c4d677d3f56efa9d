/** What goes wrong while a metadata store in Postgres is written to: others are quicker, the server's processes die, connections break. */
import { isDeepStrictEqual } from 'node:util'
import type pg from 'pg'
import { describe, expect, onTestFinished, test } from 'vitest'
import { checkTree } from '../../../src/metadata/check-tree.ts'
import type { MetadataStore } from '../../../src/contracts/metadata-store.ts'
import type { PostgresClient, PostgresPool } from '../../../src/stores/postgres/snapshot/postgres-backupable.ts'
import { PostgresMetadataStore } from '../../../src/stores/postgres/store/postgres-metadata-store.ts'
import { refused } from '../../conformance/backupable-fixture.ts'
import { dumpStore } from '../../support/dump-store.ts'
import { randomFrom, runs, seed } from '../../support/seed.ts'
import { alteredPool, losing } from './altered-pool.ts'
import { dropSchema, newSchemaName, openStore } from './metadata-stores.ts'
import { inSchema, quote, sharedPool } from './schemas.ts'
import { testPool } from './server.ts'

/** Has the server fail the first `times` changes of settings with this SQLSTATE; gives how many were tried. */
async function failSettings(schema: string, sqlState: string, times: number): Promise<() => Promise<number>> {
  const pool = await sharedPool()
  await inSchema(pool, schema, (client) =>
    client.query(`
      CREATE SEQUENCE tries;
      CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval(format('%I.tries', TG_TABLE_SCHEMA)) <= ${times} THEN RAISE 'made to fail' USING ERRCODE = '${sqlState}'; END IF;
        RETURN NULL;
      END $$;
      CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON settings DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()`),
  )
  return async () => Number((await inSchema(pool, schema, (client) => client.query<{ last_value: string }>('SELECT last_value FROM tries'))).rows[0]?.last_value)
}

describe('a mutation that fails', () => {
  for (const sqlState of ['40001', '40P01']) {
    test(`by ${sqlState} is tried again until it is made`, async () => {
      const store = await openStore()
      const tries = await failSettings(store.schema, sqlState, 5)
      await store.setSetting('a', 'b')
      expect([await store.setting('a'), await tries()]).toEqual(['b', 6])
    })

    test(`by ${sqlState} each time ends with store_unavailable, to be tried again, and changes nothing`, async () => {
      const store = await openStore()
      const tries = await failSettings(store.schema, sqlState, 1_000_000)
      expect(await refused(store.setSetting('a', 'b'), 'store_unavailable')).toMatchObject({ retryable: true, details: { sqlState } })
      expect([await store.setting('a'), await tries()]).toEqual([undefined, 12])
    })
  }

  test('by a fault that stays is not tried again', async () => {
    const store = await openStore()
    for (const [sqlState, code, retryable] of [['58030', 'store_unavailable', false], ['53300', 'store_unavailable', true], ['53100', 'destination_no_space', true]] as const) {
      const tries = await failSettings(store.schema, sqlState, 1)
      expect(await refused(store.setSetting(sqlState, 'b'), code)).toMatchObject({ retryable, details: { sqlState } })
      expect(await tries()).toBe(1)
      await inSchema(await sharedPool(), store.schema, (client) => client.query('DROP FUNCTION fail() CASCADE; DROP SEQUENCE tries'))
    }
  })
})

/** Has the server fail the first `times` reads of each setting that exists with this SQLSTATE. */
async function failReads(schema: string, sqlState: string, times: number): Promise<void> {
  await inSchema(await sharedPool(), schema, (client) =>
    client.query(`
      CREATE SEQUENCE reads;
      CREATE FUNCTION passes() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('${quote(schema)}.reads') <= ${times} THEN RAISE 'made to fail' USING ERRCODE = '${sqlState}'; END IF;
        RETURN true;
      END $$;
      ALTER TABLE settings RENAME TO kept_settings;
      CREATE VIEW settings AS SELECT * FROM kept_settings WHERE passes()`),
  )
}

describe('a read that fails', () => {
  test('by a deadlock, as with a swap that locks the tables in another order, is made again', async () => {
    const store = await openStore()
    await store.setSetting('a', 'b')
    await failReads(store.schema, '40P01', 2)
    expect(await store.setting('a')).toBe('b')
  })

  test('by a deadlock each time ends with store_unavailable, to be tried again; by a fault that stays at once', async () => {
    for (const [sqlState, retryable] of [['40P01', true], ['58030', false]] as const) {
      const store = await openStore()
      await store.setSetting('a', 'b')
      await failReads(store.schema, sqlState, sqlState === '40P01' ? 1_000_000 : 1)
      expect(await refused(store.setting('a'), 'store_unavailable')).toMatchObject({ retryable, details: { sqlState } })
    }
  })
})

/** A pool whose clients lose their server process right before (or after) the statement of a number was sent. */
function killingPool(pool: pg.Pool, killer: pg.Pool, plan: { at: number; isBefore: boolean; count: number }): PostgresPool {
  const kill = async (client: pg.PoolClient): Promise<void> => {
    await killer.query('SELECT pg_terminate_backend($1, 5000)', [(client as unknown as { processID: number }).processID])
  }
  return {
    async connect() {
      const client = await pool.connect()
      const query = async (text: string, values?: unknown[]): Promise<{ rows: unknown[] }> => {
        const isDue = ++plan.count === plan.at
        if (isDue && plan.isBefore) await kill(client)
        const result = await client.query(text, values)
        if (isDue && !plan.isBefore) await kill(client)
        return result
      }
      const wrapped: PostgresClient = {
        query,
        release: (destroy) => client.release(destroy),
        on: (event, listener) => client.on(event, listener),
        removeListener: (event, listener) => client.removeListener(event, listener),
      }
      return wrapped
    },
  }
}

/** Makes a share for one attempt; gives its root. */
async function makeTree(store: MetadataStore, attempt: string): Promise<number> {
  const { root } = await store.createShare(attempt)
  const a = await store.create({ parent: root, name: 'a' }, { type: 'directory' })
  const blocks = Array.from({ length: 3 }, (_, offset) => ({ payloadId: `${attempt}-${offset}`, offset, bytes: 5 }))
  await store.create({ parent: root, name: 'new' }, { type: 'file', size: 1, content: { payloadId: 'new' } })
  await store.create({ parent: a.inode, name: 'old' }, { type: 'file', size: 15, content: { blocks } })
  await store.putUpload({ uploadId: attempt, parent: a.inode, name: 'uploaded', startedAtMs: 0, blocks })
  return root
}

const MUTATIONS: Readonly<Record<string, (store: MetadataStore, root: number, attempt: string) => Promise<unknown>>> = {
  'rename() over a file': (store, root) => store.rename({ parent: root, name: 'new' }, { parent: root + 1, name: 'old' }),
  'completeUpload()': (store, _, attempt) => store.completeUpload(attempt),
  'setContent()': (store, root) => store.setContent(root + 3, { blocks: [{ payloadId: 'q', offset: 0, bytes: 1 }] }, { size: 1 }),
}

describe('a server process that is killed', () => {
  for (const [name, mutate] of Object.entries(MUTATIONS)) {
    for (const isBefore of [true, false]) {
      test(`${isBefore ? 'before' : 'after'} each statement of ${name} leaves all of it or nothing, and store_unavailable says so`, async () => {
        const [shared, pool] = [await sharedPool(), await testPool()]
        const store = await openStore()
        const plan = { at: 0, isBefore, count: 0 }
        const fragile = await PostgresMetadataStore.open(killingPool(pool, shared, plan), { schema: store.schema })
        onTestFinished(() => fragile.close())
        const outcomes: string[] = []
        for (let at = 1; plan.count >= plan.at; at++) {
          const attempt = `attempt-${at}`
          const root = await makeTree(store, attempt)
          const before = await dumpStore(store)
          Object.assign(plan, { at, count: 0 })
          const failure = await mutate(fragile, root, attempt).then(() => undefined, (error: unknown) => error)
          if (failure !== undefined) expect(failure).toMatchObject({ code: 'store_unavailable', retryable: true })
          const isMade = !isDeepStrictEqual(await dumpStore(store), before)
          expect(await checkTree(store)).toEqual([])
          outcomes.push(`${failure === undefined ? 'resolves' : 'rejects'}, ${isMade ? 'made' : 'not made'}`)
          // What was not made can be made.
          if (!isMade) await mutate(store, root, attempt)
        }
        expect(outcomes.length).toBeGreaterThan(5)
        expect([...new Set(outcomes)].toSorted()).toEqual(['rejects, not made', 'resolves, made'])
      })
    }
  }
})

for (const isBefore of [true, false]) {
  test(`a server process that is killed ${isBefore ? 'before' : 'after'} each statement of open() leaves no half-made store`, async () => {
    const [shared, pool] = [await sharedPool(), await testPool()]
    const plan = { at: 0, isBefore, count: 0 }
    const outcomes: string[] = []
    for (let at = 1; plan.count >= plan.at; at++) {
      const schema = newSchemaName()
      onTestFinished(() => dropSchema(schema))
      Object.assign(plan, { at, count: 0 })
      const failure = await PostgresMetadataStore.open(killingPool(pool, shared, plan), { schema }).then(() => undefined, (error: unknown) => error)
      if (failure !== undefined) expect(failure).toMatchObject({ code: 'store_unavailable', retryable: true })
      const { rows } = await shared.query<{ tables: string }>(`SELECT count(*) AS tables FROM pg_class WHERE relnamespace = to_regnamespace($1)`, [quote(schema)])
      outcomes.push(rows[0]?.tables === '0' ? 'nothing' : 'a store')
      const store = await openStore({ schema })
      await store.createShare('share')
      expect(await checkTree(store)).toEqual([])
    }
    expect([...new Set(outcomes)]).toEqual(['nothing', 'a store'])
  })
}

const RANGE = { owner: 'x', start: 0, end: 9 } as const

/** Every mutation of a tree of `makeTree`, with a share "empty" and a lock on "old". */
const ALL_MUTATIONS: Readonly<Record<string, (store: MetadataStore, root: number) => Promise<unknown>>> = {
  createShare: (store) => store.createShare('made'),
  removeShare: (store) => store.removeShare('empty'),
  create: (store, root) => store.create({ parent: root, name: 'made' }, { type: 'file' }),
  link: (store, root) => store.link({ parent: root, name: 'linked' }, root + 2),
  unlink: (store, root) => store.unlink({ parent: root, name: 'new' }),
  rename: (store, root) => store.rename({ parent: root, name: 'new' }, { parent: root + 1, name: 'old' }),
  setAttributes: (store, root) => store.setAttributes(root + 2, { uid: 7 }),
  setContent: (store, root) => store.setContent(root + 3, undefined, { size: 0 }),
  putUpload: (store, root) => store.putUpload({ uploadId: 'other', parent: root, name: 'other', startedAtMs: 0, blocks: [] }),
  completeUpload: (store) => store.completeUpload('tree'),
  removeUpload: (store) => store.removeUpload('tree'),
  lock: (store, root) => store.lock({ ...RANGE, inode: root + 2, kind: 'shared' }),
  unlock: (store, root) => store.unlock({ ...RANGE, inode: root + 3 }),
  setSetting: (store) => store.setSetting('a', 'b'),
}

/** A store whose COMMITs are made, and their answers lost, from `lose` on; and how many there were since. */
async function losingStore(schema: string): Promise<{ readonly store: PostgresMetadataStore; readonly lose: () => void; readonly commits: () => number }> {
  let [isLosing, commits] = [false, 0]
  const pool = alteredPool(await sharedPool(), 'COMMIT', (run, client) => {
    if (!isLosing) return run()
    commits += 1
    return losing(run, client)
  })
  const store = await PostgresMetadataStore.open(pool, { schema })
  onTestFinished(() => store.close())
  return { store, lose: () => void (isLosing = true), commits: () => commits }
}

const UNKNOWN = { retryable: true, details: { outcome: 'unknown' }, hint: expect.stringContaining('Look whether') as string }

describe('a commit whose answer is lost is told as of unknown outcome, and is not tried again', () => {
  test.each(Object.entries(ALL_MUTATIONS))('%s()', async (_, mutate) => {
    const store = await openStore()
    const root = await makeTree(store, 'tree')
    await store.createShare('empty')
    await store.lock({ ...RANGE, inode: root + 3, kind: 'shared' })
    const before = await dumpStore(store)
    const { store: other, lose, commits } = await losingStore(store.schema)
    lose()
    expect(await refused(mutate(other, root), 'store_unavailable')).toMatchObject(UNKNOWN)
    expect(commits()).toBe(1)
    expect(await dumpStore(store)).not.toEqual(before)
    expect(await checkTree(store)).toEqual([])
  })

  test('importView()', async () => {
    const [store, source] = [await openStore(), await openStore()]
    await makeTree(source, 'tree')
    const { store: other, lose, commits } = await losingStore(store.schema)
    lose()
    await using view = await source.view()
    expect(await refused(other.importView(view), 'store_unavailable')).toMatchObject(UNKNOWN)
    expect(commits()).toBe(1)
    expect(await dumpStore(store)).toEqual(await dumpStore(source))
  })
})

describe('two stores at once', () => {
  async function pair(): Promise<readonly [PostgresMetadataStore, PostgresMetadataStore, number]> {
    const store = await openStore()
    const other = await PostgresMetadataStore.open(await testPool(), { schema: store.schema })
    onTestFinished(() => other.close())
    return [store, other, (await store.createShare('share')).root]
  }

  test('that move two directories into each other never make a ring', async () => {
    const [store, other, root] = await pair()
    for (let round = 0; round < 25; round++) {
      const [a, b] = [await store.create({ parent: root, name: 'a' }, { type: 'directory' }), await store.create({ parent: root, name: 'b' }, { type: 'directory' })]
      const [deep, deeper] = [await store.create({ parent: a.inode, name: 'deep' }, { type: 'directory' }), await store.create({ parent: b.inode, name: 'deep' }, { type: 'directory' })]
      const codes = await Promise.all([
        store.rename({ parent: root, name: 'a' }, { parent: deeper.inode, name: 'a' }).then(() => 'done', codeOf),
        other.rename({ parent: root, name: 'b' }, { parent: deep.inode, name: 'b' }).then(() => 'done', codeOf),
      ])
      expect(codes.toSorted()).toEqual(['done', 'invalid_argument'])
      expect(await checkTree(store)).toEqual([])
      const left = (await store.readDirectory(root)).entries.filter(({ name }) => name.length === 1)
      expect(left.length).toBe(1)
      await store.rename({ parent: root, name: left[0]?.name ?? '' }, { parent: root, name: `round-${round}` })
    }
  })

  test(`that do all sorts of things in few places keep the tree whole, and end with refusals of the contract only (seed ${seed})`, async () => {
    const [store, other, root] = await pair()
    const random = randomFrom(seed)
    const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T
    const directories = [root]
    for (const name of ['a', 'b', 'c', 'd']) directories.push((await store.create({ parent: pick(directories), name }, { type: 'directory' })).inode)
    const place = (): { parent: number; name: string } => ({ parent: pick(directories), name: pick(['a', 'b', 'c', 'd', 'e']) })
    const inode = (): number => 1 + Math.floor(random() * 30)
    const acts: readonly ((on: MetadataStore) => Promise<unknown>)[] = [
      (on) => on.create(place(), { type: 'file', size: 3, content: { payloadId: 'p' } }),
      (on) => on.create(place(), { type: 'directory' }).then((made) => directories.push(made.inode)),
      (on) => on.link(place(), inode()),
      (on) => on.unlink(place()),
      (on) => on.rename(place(), place()),
      (on) => on.rename(place(), place()),
      (on) => on.rename(place(), place()),
      (on) => on.setContent(inode(), { blocks: [{ payloadId: 'q', offset: 0, bytes: 1 }] }, { size: 1 }),
      (on) => on.setAttributes(inode(), { size: 9 }),
      (on) => on.putUpload({ ...place(), uploadId: 'u', startedAtMs: 0, blocks: [{ payloadId: 'r', offset: 0, bytes: 2 }] }),
      (on) => on.completeUpload('u'),
      (on) => on.lock({ inode: inode(), owner: pick(['x', 'y']), kind: 'exclusive', start: 0, end: undefined }),
    ]
    const seen: Record<string, number> = {}
    for (let round = 0; round < runs(40); round++) {
      const codes = await Promise.all(Array.from({ length: 16 }, (_, at) => pick(acts)(at % 2 === 0 ? store : other).then(() => 'done', codeOf)))
      for (const code of codes) seen[code] = (seen[code] ?? 0) + 1
      expect(await checkTree(store)).toEqual([])
    }
    const { done = 0, ...refusals } = seen
    expect(done).toBeGreaterThan(runs(50))
    const known = ['entry_exists', 'entry_not_found', 'not_a_directory', 'is_a_directory', 'directory_not_empty', 'invalid_argument', 'lock_conflict']
    expect(Object.keys(refusals).filter((code) => !known.includes(code))).toEqual([])
  })
})

function codeOf(error: unknown): string {
  const { code, message } = error as { readonly code: string; readonly message: string }
  return ['store_unavailable', 'internal'].includes(code) ? `${code}: ${message}` : code
}
