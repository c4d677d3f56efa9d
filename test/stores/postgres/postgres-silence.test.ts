/** What becomes of work whose server no longer answers, and of work that it only answers late. */
import { type PoolConfig, Pool } from 'pg'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Backupable } from '../../../src/contracts/backupable.ts'
import type { HoldfastError } from '../../../src/errors/errors.ts'
import type { PostgresBackupableOptions } from '../../../src/stores/postgres/snapshot/postgres-backupable.ts'
import { PostgresMetadataStore, openPostgresHome, openPostgresStore } from '../../../src/stores/postgres/index.ts'
import { lockKey, openLockConnection } from '../../../src/stores/postgres/connection/advisory-locks.ts'
import { CountingSource, refused, restoreBytes, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { startChild } from '../../support/child.ts'
import { alteredPool, losing } from './altered-pool.ts'
import { openTransaction, schemaName } from './homes.ts'
import { openStore } from './metadata-stores.ts'
import { type Proxy, connectionTo, proxyToServer } from './proxy.ts'
import { type PostgresFixture, DOCUMENT_PAYLOADS, openFixture, sharedPool } from './schemas.ts'
import { serverUrl } from './server.ts'

/** Long enough for a server that is busy with other tests. */
const ANSWER_TIMEOUT_MS = 2000
const ROWS = 5000

/** A pool that connects through a proxy. */
async function throughProxy(options: PoolConfig = {}): Promise<{ readonly pool: Pool; readonly proxy: Proxy }> {
  const proxy = await proxyToServer()
  const pool = new Pool({ ...connectionTo(await serverUrl()), host: proxy.host, port: proxy.port, max: 8, ...options })
  pool.on('error', () => undefined)
  onTestFinished(async () => {
    // A caller that waits for a connection through it hears of it.
    proxy.cut()
    await pool.end()
  })
  return { pool, proxy }
}

/** A schema whose backups and restores go through a proxy. */
async function fixtureThroughProxy(worker: boolean, options: Partial<PostgresBackupableOptions> = {}): Promise<{ readonly fixture: PostgresFixture; readonly store: Backupable; readonly proxy: Proxy }> {
  const { pool, proxy } = await throughProxy()
  const fixture = await openFixture({ worker, pace: 'full', answerTimeoutMs: ANSWER_TIMEOUT_MS, ...options })
  onTestFinished(fixture.cleanup)
  // The server does not notice by itself: the proxy goes on to confirm what is sent to it.
  onTestFinished(proxy.cut)
  return { fixture, store: fixture.storeOf(pool), proxy }
}

/** A snapshot of some rows, by a store that waits as long as it takes. */
async function snapshotOfRows(rows: number): Promise<Uint8Array> {
  const { store, populate, cleanup } = await openFixture({ pace: 'full' })
  onTestFinished(cleanup)
  await populate(rows)
  return (await snapshotOf(store)).bytes
}

/** What it fails with, which must say that nothing was heard. */
async function unanswered(work: Promise<unknown>): Promise<HoldfastError> {
  const error = (await refused(work, 'store_unavailable')) as HoldfastError
  expect(error.retryable, error.message).toBe(true)
  expect(error.message).toContain(`has not answered after ${ANSWER_TIMEOUT_MS} ms`)
  return error
}

describe('a store whose server falls silent', () => {
  it('fails its reads and mutations with store_unavailable, to be tried again, and cuts their connections', async () => {
    const { schema } = await openStore()
    const { pool, proxy } = await throughProxy()
    const store = await PostgresMetadataStore.open(pool, { schema, answerTimeoutMs: ANSWER_TIMEOUT_MS })
    await store.setSetting('a', 'b')
    proxy.silence()
    await Promise.all([unanswered(store.setting('a')), unanswered(store.setSetting('a', 'c'))])
    await store.close()
    expect(pool.idleCount).toBe(0)
  })

  it('tells a mutation whose COMMIT is not answered as of unknown outcome', async () => {
    const { schema } = await openStore()
    const { pool, proxy } = await throughProxy()
    let isDue = false
    const falling = alteredPool(pool, 'COMMIT', (run) => {
      if (isDue) proxy.silence()
      return run()
    })
    const opened = await PostgresMetadataStore.open(falling, { schema, answerTimeoutMs: ANSWER_TIMEOUT_MS })
    isDue = true
    expect(await unanswered(opened.setSetting('a', 'c'))).toMatchObject({ details: { outcome: 'unknown' } })
    await opened.close()
  })

  it('fails a view that is read, and closes it', async () => {
    const { schema } = await openStore()
    const { pool, proxy } = await throughProxy()
    const store = await PostgresMetadataStore.open(pool, { schema, answerTimeoutMs: ANSWER_TIMEOUT_MS })
    const view = await store.view()
    proxy.silence()
    await unanswered(view.settings())
    await view.close()
    await store.close()
  })

  it('fails to open, through a home too', async () => {
    const schema = await schemaName()
    const { pool, proxy } = await throughProxy()
    const options = { connection: pool, schema, answerTimeoutMs: ANSWER_TIMEOUT_MS }
    const home = await openPostgresHome(options)
    proxy.silence()
    await unanswered(home.engines())
    await unanswered(home.drainWrites({ timeoutMs: 100 }))
    await unanswered(PostgresMetadataStore.open(pool, { schema, answerTimeoutMs: ANSWER_TIMEOUT_MS }))
    await unanswered(openPostgresStore(options))
    await home.close()
  })

  it('lets the process end once it is closed, whatever its connections wait for', async () => {
    const schema = await schemaName()
    const proxy = await proxyToServer()
    const url = new URL(await serverUrl())
    url.host = `${proxy.host}:${proxy.port}`
    const child = startChild(new URL('../../../dist/test/stores/postgres/silent-child.js', import.meta.url), [url.href, schema])
    onTestFinished(() => child.kill())
    expect(await child.line()).toBe('open')
    proxy.silence()
    expect(await child.line()).toBe('store_unavailable true')
    expect(await Promise.race([child.ended, new Promise((resolve) => setTimeout(resolve, 15_000, 'it goes on'))])).toBe(0)
  })

  it('refuses a limit that is none', async () => {
    const pool = await sharedPool()
    for (const answerTimeoutMs of [0, -1, 1.5, NaN, 2 ** 31]) {
      await expect(PostgresMetadataStore.open(pool, { schema: 'x', answerTimeoutMs })).rejects.toThrow(RangeError)
      await expect(openPostgresHome({ connection: pool, schema: 'x', answerTimeoutMs })).rejects.toThrow(RangeError)
    }
  })
})

describe('a connection that keeps locks', () => {
  it('that goes unanswered is lost, and ends at once', async () => {
    const { pool, proxy } = await throughProxy()
    const session = await openLockConnection(pool, { action: 'Cannot test', answerTimeoutMs: ANSWER_TIMEOUT_MS })
    expect(await session.rows('SELECT 1 AS one')).toEqual([{ one: 1 }])
    proxy.silence()
    await unanswered(session.transaction(() => session.rows('SELECT 1')))
    expect(session.isLost).toBe(true)
    await session.end()
    expect(pool.totalCount).toBe(0)
  })

  it('gives up a statement that the server works on for too long', async () => {
    const session = await openLockConnection(await sharedPool(), { action: 'Cannot test', answerTimeoutMs: ANSWER_TIMEOUT_MS })
    await unanswered(session.rows('SELECT pg_sleep(10)'))
    expect(session.isLost).toBe(true)
    session.destroy()
  })
})

for (const worker of [false, true]) {
  describe(`a snapshot ${worker ? 'in a worker' : 'on the calling thread'}`, () => {
    it('whose server falls silent while it is sent fails with store_unavailable', async () => {
      // No other connection has anything to wait for.
      const { fixture, store, proxy } = await fixtureThroughProxy(worker, { connections: 1 })
      await fixture.populate(ROWS)
      let writes = 0
      const onWrite = async (): Promise<void> => {
        if (++writes === 3) proxy.silence()
      }
      await unanswered(snapshotOf(store, { onWrite }))
    })

    it('whose server falls silent while it is restored fails with store_unavailable, and leaves the target empty', async () => {
      const bytes = await snapshotOfRows(ROWS)
      const { fixture, store, proxy } = await fixtureThroughProxy(worker)
      const empty = await fixture.dump()
      const onChunk = (bytesRead: number): void => {
        if (bytesRead > bytes.byteLength / 2) proxy.silence()
      }
      await unanswered(store.restore(new CountingSource(bytes, { onChunk })))
      proxy.cut()
      expect(await fixture.dump()).toBe(empty)
    })

    it('whose server is at work for longer than that is made, and restored', async () => {
      const payloadIds = `SELECT p.id FROM (SELECT pg_sleep(${(2.5 * ANSWER_TIMEOUT_MS) / 1000})) s, (${DOCUMENT_PAYLOADS}\n) p (id)`
      const { fixture, store } = await fixtureThroughProxy(worker, { payloadIds })
      await fixture.populate(10)
      const { bytes } = await snapshotOf(store)
      const target = await openFixture({ worker, payloadIds, answerTimeoutMs: ANSWER_TIMEOUT_MS })
      onTestFinished(target.cleanup)
      await restoreBytes(target.store, bytes)
    })
  })
}

it('a snapshot in a worker whose server does not let it connect fails, for however long its pool would try', async () => {
  const { fixture } = await fixtureThroughProxy(true)
  const { pool, proxy } = await throughProxy({ connectionTimeoutMillis: 0 })
  // The pool has told whose sessions its are, and the worker comes next.
  pool.once('release', proxy.silence)
  await unanswered(snapshotOf(fixture.storeOf(pool)))
})

describe('a COMMIT of a restore', () => {
  it('that is not answered is told as of unknown outcome, and how to find out', async () => {
    const bytes = await snapshotOfRows(10)
    const { fixture } = await fixtureThroughProxy(false)
    const lost = fixture.storeOf(alteredPool(await sharedPool(), 'COMMIT', losing) as Pool)
    const error = await refused(restoreBytes(lost, bytes), 'store_unavailable')
    expect(error).toMatchObject({ retryable: true, details: { outcome: 'unknown' }, hint: expect.stringContaining('Look whether the schema holds data') as string })
    await refused(restoreBytes(fixture.store, bytes), 'restore_destination_not_empty')
  })

  it('that the server refuses is not of unknown outcome', async () => {
    const bytes = await snapshotOfRows(10)
    const { fixture } = await fixtureThroughProxy(false)
    const refusing = alteredPool(await sharedPool(), 'COMMIT', (_, client) => client.query('SELECT 1/0'))
    const error = await refused(restoreBytes(fixture.storeOf(refusing as Pool), bytes), 'restore_corrupt')
    expect((error as HoldfastError).details).not.toHaveProperty('outcome')
  })
})

it('open() does not wait forever for another process that makes the store, and says so', async () => {
  const { schema } = await openStore()
  const [key, space] = lockKey('migrations', schema)
  const other = await openTransaction(`SELECT pg_advisory_xact_lock(${key}, ${space})`)
  const opening = PostgresMetadataStore.open(await sharedPool(), { schema, lockTimeoutMs: 300 })
  const error = await refused(opening, 'store_unavailable')
  expect(error).toMatchObject({ retryable: true, message: expect.stringContaining('another process') as string, details: { lockTimeoutMs: 300 } })
  await other.end()
  await (await PostgresMetadataStore.open(await sharedPool(), { schema })).close()
})
