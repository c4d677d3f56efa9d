/** What breaks while a schema is backed up or restored: the server's processes, its disk, the network. */
import { execFile } from 'node:child_process'
import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type PoolConfig, Pool } from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import type { Backupable } from '../../../src/contracts/backupable.ts'
import { postgresBackupable } from '../../../src/stores/postgres/snapshot/postgres-backupable.ts'
import { CollectingSink, CountingSource, refused, restoreBytes, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { connectionTo, proxyToServer } from './proxy.ts'
import { type PostgresFixture, DOCUMENT_PAYLOADS, openFixture, quote, sharedPool } from './schemas.ts'
import { serverUrl } from './server.ts'

const run = promisify(execFile)
const ROWS = 20_000

for (const worker of [false, true]) {
  const where = worker ? 'in a worker' : 'on the calling thread'

  for (const [how, what] of [['pg_terminate_backend', 'terminated'], ['pg_cancel_backend', 'cancelled, as by a statement timeout,']] as const) {
    test(`backup() ${where} whose COPY is ${what} gives store_unavailable, to be tried again, and leaves no transaction`, async () => {
      const { fixture, store, endCopies, noneLeft } = await watched(worker)
      await fixture.populate(ROWS)
      const ended: Promise<number>[] = []
      const onWrite = async (): Promise<void> => {
        ended.push(endCopies(how))
        await ended.at(-1)
      }
      const error = await refused(snapshotOf(store, { onWrite }), 'store_unavailable')
      expect(error, error.message).toMatchObject({ retryable: true })
      expect(Math.max(...(await Promise.all(ended)))).toBeGreaterThan(0)
      await noneLeft()
      await snapshotOf(store)
    })

    test(`restore() ${where} whose COPY is ${what} gives store_unavailable, to be tried again, and leaves the target empty`, async () => {
      const bytes = await filledSnapshot()
      const { fixture, store, endCopies, noneLeft } = await watched(worker)
      const before = await fixture.dump()
      const ended: Promise<number>[] = []
      const onChunk = async (bytesRead: number): Promise<void> => {
        if (bytesRead < bytes.byteLength / 2) return
        ended.push(endCopies(how))
        await ended.at(-1)
      }
      const error = await refused(store.restore(new CountingSource(bytes, { onChunk })), 'store_unavailable')
      expect(error, error.message).toMatchObject({ retryable: true })
      expect(Math.max(...(await Promise.all(ended)))).toBeGreaterThan(0)
      expect(await fixture.dump()).toBe(before)
      await noneLeft()
      await restoreBytes(store, bytes)
    })
  }

  test(`backup() ${where} by one connection that is terminated gives store_unavailable, to be tried again, and leaves no transaction`, async () => {
    const { fixture, store, terminate, noneLeft } = await watched(worker, {}, 1)
    await fixture.populate(ROWS)
    let writes = 0
    const onWrite = async (): Promise<void> => {
      if (++writes === 3) expect(await terminate()).toBe(1)
    }
    expect(await refused(snapshotOf(store, { onWrite }), 'store_unavailable')).toMatchObject({ retryable: true })
    await noneLeft()
    await snapshotOf(store)
  })

  test(`backup() ${where} over a connection that is lost gives store_unavailable and leaves no transaction`, async () => {
    const proxy = await proxyToServer()
    const { fixture, store, noneLeft } = await watched(worker, proxy)
    await fixture.populate(ROWS)
    let writes = 0
    const onWrite = async (): Promise<void> => {
      if (++writes === 3) proxy.cut()
    }
    expect(await refused(snapshotOf(store, { onWrite }), 'store_unavailable')).toMatchObject({ retryable: true })
    await noneLeft()
  })

  test(`restore() ${where} over a connection that is lost gives store_unavailable and leaves the target empty`, async () => {
    const bytes = await filledSnapshot()
    const proxy = await proxyToServer()
    const { fixture, store, noneLeft } = await watched(worker, proxy)
    const before = await fixture.dump()
    const onChunk = (bytesRead: number): void => {
      if (bytesRead > bytes.byteLength / 2) proxy.cut()
    }
    expect(await refused(store.restore(new CountingSource(bytes, { onChunk })), 'store_unavailable')).toMatchObject({ retryable: true })
    await noneLeft()
    expect(await fixture.dump()).toBe(before)
  })

  test(`backup() ${where} that ends by its sink, by its signal or well leaves no transaction`, async () => {
    const { fixture, store, noneLeft } = await watched(worker)
    await fixture.populate(ROWS)
    await snapshotOf(store)
    await noneLeft()
    await expect(store.backup(new CollectingSink(() => Promise.reject(new Error('full'))))).rejects.toThrow('full')
    await noneLeft()
    const controller = new AbortController()
    const reason = new Error('enough')
    await expect(store.backup(new CollectingSink(async () => controller.abort(reason)), { signal: controller.signal })).rejects.toBe(reason)
    await noneLeft()
  })

  test(`backup() and restore() ${where} with a server that is not there give store_unavailable, without the password`, async () => {
    const pool = new Pool({ host: '127.0.0.1', port: 1, user: 'x', password: 'secret', database: 'x' })
    onTestFinished(() => pool.end())
    const store = postgresBackupable(pool, { schema: 'x', payloadIds: DOCUMENT_PAYLOADS, schemaVersion: 1, worker })
    const errors = [await refused(store.backup(new CollectingSink()), 'store_unavailable'), await refused(store.restore(new CountingSource(Buffer.alloc(1))), 'store_unavailable')]
    for (const error of errors) expect(`${error.message} ${JSON.stringify(error)}`).not.toContain('secret')
  })
}

const mayMount = process.getuid?.() === 0 && process.platform === 'linux'

test.skipIf(!mayMount)('restore() onto a full disk of the server gives destination_no_space and leaves the target empty', async () => {
  const pool = await sharedPool()
  const bytes = await filledSnapshot()
  const directory = await tempDir()
  await chmod(directory, 0o755)
  const disk = join(directory, 'disk')
  await mkdir(disk)
  const { rows } = await pool.query<{ path: string }>(`SELECT current_setting('data_directory') AS path`)
  const { stdout: owner } = await run('stat', ['-c', '%u:%g', rows[0]?.path ?? ''])
  await run('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', disk])
  onTestFinished(async () => void (await run('umount', ['-l', disk])))
  await run('chown', [owner.trim(), disk])
  const space = `holdfast_${Math.random().toString(36).slice(2)}`
  await pool.query(`CREATE TABLESPACE ${space} LOCATION '${disk}'`)
  onTestFinished(async () => void (await pool.query(`DROP TABLESPACE ${space}`)))
  const target = await openFixture({ worker: false })
  onTestFinished(target.cleanup)
  await pool.query(`ALTER TABLE ${quote(target.schema)}."Documents ""2"" é" SET TABLESPACE ${space}`)
  const before = await target.dump()
  expect(await refused(restoreBytes(target.store, bytes), 'destination_no_space')).toMatchObject({ retryable: true })
  expect(await target.dump()).toBe(before)
})

interface Watched {
  readonly fixture: PostgresFixture
  readonly store: Backupable
  /** Ends the COPY commands that run, by this function of the server; gives their number. */
  readonly endCopies: (how: string) => Promise<number>
  /** Ends the sessions that are in a transaction, whatever they run; gives their number. */
  readonly terminate: () => Promise<number>
  /** Rejects when a transaction is still open a while later. */
  readonly noneLeft: () => Promise<void>
}

/** A store whose connections can be told from all others. */
async function watched(worker: boolean, through: PoolConfig = {}, connections = 2): Promise<Watched> {
  const name = `holdfast test ${Math.random().toString(36).slice(2)}`
  const pool = new Pool({ ...connectionTo(await serverUrl()), ...through, max: 4, application_name: name })
  pool.on('error', () => undefined)
  onTestFinished(() => pool.end())
  const fixture = await openFixture({ worker, pace: 'full', connections })
  onTestFinished(fixture.cleanup)
  const shared = await sharedPool()
  return {
    fixture,
    store: fixture.storeOf(pool),
    async endCopies(how) {
      const { rows } = await shared.query(`SELECT ${how}(pid) FROM pg_stat_activity WHERE application_name = $1 AND state = 'active' AND query LIKE '%COPY%'`, [name])
      return rows.length
    },
    async terminate() {
      const { rows } = await shared.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND xact_start IS NOT NULL', [name])
      return rows.length
    },
    async noneLeft() {
      const find = async (): Promise<string[]> =>
        (await shared.query<{ state: string }>('SELECT state FROM pg_stat_activity WHERE application_name = $1 AND xact_start IS NOT NULL', [name])).rows.map(({ state }) => state)
      await expect.poll(find).toEqual([])
    },
  }
}

async function filledSnapshot(): Promise<Uint8Array> {
  const source = await openFixture({ worker: false })
  onTestFinished(source.cleanup)
  await source.populate(ROWS)
  return (await snapshotOf(source.store)).bytes
}
