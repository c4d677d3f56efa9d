/** What a store in Postgres does beside the contract: being made, migrated, opened by many, held off, closed. */
import { Pool, types as pgTypes } from 'pg'
import { describe, expect, onTestFinished, test } from 'vitest'
import { PostgresMetadataStore } from '../../../src/stores/postgres/store/postgres-metadata-store.ts'
import { lockKey } from '../../../src/stores/postgres/connection/advisory-locks.ts'
import { refused } from '../../conformance/backupable-fixture.ts'
import { all } from '../../conformance/metadata-fixture.ts'
import { startChild } from '../../support/child.ts'
import { dumpStore } from '../../support/dump-store.ts'
import { fillStore } from '../../support/fill-store.ts'
import { dropSchema, newSchemaName, openStore } from './metadata-stores.ts'
import { dumpSchema, newSchema, quote, sharedPool } from './schemas.ts'
import { serverUrl, testPool } from './server.ts'

const opener = new URL('./open-store-child.js', import.meta.url.replace('/test/', '/dist/test/'))

function missingSchema(): string {
  const schema = newSchemaName()
  onTestFinished(() => dropSchema(schema))
  return schema
}

async function exists(schema: string): Promise<boolean> {
  return (await (await sharedPool()).query('SELECT FROM pg_namespace WHERE nspname = $1', [schema])).rows.length === 1
}

describe('PostgresMetadataStore.open()', () => {
  test('by processes and pools at once makes one store, each migration once', async () => {
    const schema = missingSchema()
    const url = await serverUrl()
    const opened = [1, 2].map(() => startChild(opener, [url, schema]))
    onTestFinished(async () => void (await Promise.all(opened.map((child) => child.kill()))))
    const pools = await Promise.all([testPool({ max: 1 }), testPool({ max: 1 }), testPool()])
    const stores = await Promise.all(pools.map((pool) => PostgresMetadataStore.open(pool, { schema })))
    const ids = [...stores.map(({ storeId }) => storeId), ...(await Promise.all(opened.map((child) => child.line())))]
    expect(new Set(ids).size).toBe(1)
    const { rows } = await (await sharedPool()).query(`SELECT version FROM ${quote(schema)}.holdfast_versions ORDER BY 1`)
    expect(rows).toEqual(Array.from({ length: stores[0]?.schemaVersion ?? 0 }, (_, at) => ({ version: at + 1 })))
  })

  test('refuses a store of a newer release with schema_version_mismatch, naming both versions, and changes nothing', async () => {
    const { schema, schemaVersion } = await openStore()
    const pool = await sharedPool()
    await pool.query(`INSERT INTO ${quote(schema)}.holdfast_versions (version) VALUES (1000)`)
    const before = await dumpSchema(pool, schema)
    const error = await refused(PostgresMetadataStore.open(pool, { schema }), 'schema_version_mismatch')
    expect(error.message).toContain('version 1000')
    expect(error.message).toContain(`has ${schemaVersion}`)
    expect(await dumpSchema(pool, schema)).toBe(before)
  })

  for (const [what, tables] of [['a table', 'CREATE TABLE people (name text); INSERT INTO people VALUES (1)'], ['a view', 'CREATE VIEW people AS SELECT 1'], ['a sequence', 'CREATE SEQUENCE people']] as const) {
    test(`refuses a schema with ${what} of another's with store_unavailable, and makes nothing in it`, async () => {
      const pool = await sharedPool()
      const { schema, drop } = await newSchema(pool, tables)
      onTestFinished(drop)
      const error = await refused(PostgresMetadataStore.open(pool, { schema }), 'store_unavailable')
      expect(error.message).toContain('people')
      const { rows } = await pool.query('SELECT relname FROM pg_class WHERE relnamespace = $1::regnamespace', [quote(schema)])
      expect(rows).toEqual([{ relname: 'people' }])
    })
  }

  test('makes a store in an empty schema, and none where it is not asked to', async () => {
    const pool = await sharedPool()
    const { schema, drop } = await newSchema(pool, 'SELECT')
    onTestFinished(drop)
    const missing = missingSchema()
    for (const name of [schema, missing]) await refused(PostgresMetadataStore.open(pool, { schema: name, create: false }), 'store_unavailable')
    expect(await exists(missing)).toBe(false)
    const made = await PostgresMetadataStore.open(pool, { schema, storeId: 'mine' })
    expect(made.storeId).toBe('mine')
    expect((await PostgresMetadataStore.open(pool, { schema, create: false })).storeId).toBe('mine')
    expect(await refused(PostgresMetadataStore.open(pool, { schema, storeId: 'other' }), 'store_id_mismatch')).toMatchObject({ hint: expect.stringContaining('"storeId"') as unknown })
  })

  test('refuses a name that the server would cut or keeps for itself', async () => {
    const pool = await sharedPool()
    for (const schema of ['', 'x'.repeat(64), 'é'.repeat(32), 'a\0', 'pg_meta']) await refused(PostgresMetadataStore.open(pool, { schema }), 'invalid_argument')
    await refused(PostgresMetadataStore.open(pool, { schema: missingSchema(), storeId: 'two words' }), 'invalid_argument')
  })

  test('with a server that is not there, or with an unknown user, gives store_unavailable without the password', async () => {
    const { hostname, port, pathname } = new URL(await serverUrl())
    const wrong = { host: hostname, port: Number(port), user: 'holdfast nobody', password: 'wrong secret', database: pathname.slice(1) }
    const gone = { ...wrong, port: 1 }
    for (const [config, retryable] of [[gone, true], [wrong, false]] as const) {
      const pool = new Pool(config)
      onTestFinished(() => pool.end())
      const error = await refused(PostgresMetadataStore.open(pool, { schema: 'x' }), 'store_unavailable')
      expect(error).toMatchObject({ retryable })
      expect(`${error.message} ${JSON.stringify(error)}`).not.toContain('secret')
    }
  })
})

describe('PostgresMetadataStore', () => {
  test('gives everything again when it is opened anew, whatever its pool makes of numbers', async () => {
    const store = await openStore()
    await fillStore(store)
    const dump = await dumpStore(store)
    const types = { getTypeParser: (oid: number, format?: string) => (oid === 20 ? Number : oid === 1700 ? parseFloat : defaultParser(oid, format)) }
    const pool = await testPool({ types: types as never })
    expect(await dumpStore(await PostgresMetadataStore.open(pool, { schema: store.schema, create: false }))).toEqual(dump)
  })

  test('keeps on when its schema is renamed and back, and works under any settings of the role', async () => {
    const pool = await sharedPool()
    const store = await openStore()
    await fillStore(store)
    const dump = await dumpStore(store)
    const other = missingSchema()
    await pool.query(`ALTER SCHEMA ${quote(store.schema)} RENAME TO ${quote(other)}`)
    await refused(store.shares(), 'store_unavailable')
    const options = '-c default_transaction_isolation=serializable -c default_transaction_read_only=on -c search_path=nowhere -c bytea_output=escape -c standard_conforming_strings=off'
    const strange = await testPool({ options })
    const renamed = await PostgresMetadataStore.open(strange, { schema: other, create: false })
    const { root = 1 } = (await renamed.share('share')) ?? {}
    await renamed.create({ parent: root, name: 'after' }, { type: 'file', size: 1, content: { blocks: [{ payloadId: 'p', offset: 0, bytes: 1 }] } })
    await renamed.unlink({ parent: root, name: 'after' })
    await pool.query(`ALTER SCHEMA ${quote(other)} RENAME TO ${quote(store.schema)}`)
    expect(await dumpStore(store)).toEqual(dump)
  })

  test('refuses writes with restore_in_progress while writers are held off, in every process, and goes on reading', async () => {
    const store = await openStore()
    const other = await PostgresMetadataStore.open(await testPool(), { schema: store.schema })
    await store.createShare('share')
    const client = await (await sharedPool()).connect()
    onTestFinished(() => client.release(true))
    await client.query('SELECT pg_advisory_lock($1, $2)', [...lockKey('writes', store.schema)])
    for (const each of [store, other]) {
      expect(await refused(each.createShare('more'), 'restore_in_progress')).toMatchObject({ retryable: true })
      expect((await each.shares()).length).toBe(1)
    }
    await client.query('SELECT pg_advisory_unlock_all()')
    await other.createShare('more')
    expect((await store.shares()).length).toBe(2)
  })

  test('a session that waits to hold writers off lets those under way end, and keeps new ones out', async () => {
    const store = await openStore()
    const pool = await sharedPool()
    await store.createShare('share')
    const [blocker, drainer] = [await pool.connect(), await pool.connect()]
    onTestFinished(() => {
      for (const client of [blocker, drainer]) client.release(true)
    })
    await blocker.query(`BEGIN; LOCK TABLE ${quote(store.schema)}.settings IN SHARE MODE`)
    const writing = store.setSetting('a', 'b')
    const waiting = async (event: string): Promise<number> =>
      (await pool.query('SELECT FROM pg_stat_activity WHERE wait_event = $1 AND pid = ANY (SELECT pid FROM pg_locks WHERE NOT granted)', [event])).rows.length
    await expect.poll(() => waiting('relation')).toBe(1)
    const drained = drainer.query('SELECT pg_advisory_lock($1, $2)', [...lockKey('writes', store.schema)])
    await expect.poll(() => waiting('advisory')).toBe(1)
    await refused(store.createShare('late'), 'restore_in_progress')
    await blocker.query('COMMIT')
    await Promise.all([writing, drained])
    expect(await store.setting('a')).toBe('b')
  })

  test('iterations show one instant, however long they take', async () => {
    const store = await openStore()
    const { root } = await store.createShare('share')
    const blocks = Array.from({ length: 4500 }, (_, at) => ({ payloadId: `old-${String(at).padStart(5, '0')}`, offset: at, bytes: 1 }))
    const { inode } = await store.create({ parent: root, name: 'a' }, { type: 'file', content: { blocks } })
    const [found, ids]: [unknown[], string[]] = [[], []]
    for await (const block of store.blocks(inode)) {
      if (found.push(block) === 1) await store.setContent(inode, { payloadId: 'new' }, { size: 1 })
    }
    expect(found).toEqual(blocks)
    await store.setContent(inode, { blocks }, { size: 1 })
    for await (const payloadId of store.payloadIds()) if (ids.push(payloadId) === 1) await store.unlink({ parent: root, name: 'a' })
    expect(ids).toEqual(blocks.map(({ payloadId }) => payloadId))
    expect(await all(store.payloadIds())).toEqual([])
  })

  test('close() leaves the pool open, and cuts off an iteration that was not read to its end', async () => {
    const pool = new Pool({ connectionString: await serverUrl(), max: 2 })
    pool.on('error', () => undefined)
    const store = await openStore({ pool })
    await fillStore(store)
    const iterator = store.payloadIds()[Symbol.asyncIterator]()
    await iterator.next()
    await store.close()
    expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    await pool.end()
    await refused(store.shares(), 'store_unavailable')
    await refused(all(store.payloadIds()), 'store_unavailable')
  })
})

function defaultParser(oid: number, format?: string): (value: string) => unknown {
  return pgTypes.getTypeParser(oid, format as 'text') as (value: string) => unknown
}
