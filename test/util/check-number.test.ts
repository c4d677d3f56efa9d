/** Every number that is an option is checked where it is given, and the error names it. */
import { describe, expect, it, onTestFinished, test } from 'vitest'
import { join } from 'node:path'
import { fsDestination } from '../../destinations/fs/index.ts'
import { s3Destination } from '../../destinations/s3/index.ts'
import { MAX_WAIT_MS, checkNumber, checkWholeNumber } from '../../src/util/check-number.ts'
import { openHolds } from '../../src/gc/holds/holds.ts'
import { Leases } from '../../src/gc/leases/leases.ts'
import { directoryCache } from '../../src/gc/leases/payload-ids-cache.ts'
import { sweepPayloads } from '../../src/gc/sweep/sweep-payloads.ts'
import { PayloadIdSetBuilder } from '../../src/payload-ids/payload-id-set.ts'
import { recover } from '../../src/restore/recover.ts'
import { restoreBackup } from '../../src/restore/restore-backup.ts'
import { rollback } from '../../src/restore/rollback.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'
import { PostgresMetadataStore, openPostgresStore, postgresBackupable } from '../../src/stores/postgres/index.ts'
import { publish, takeBackup } from '../restore/publish.ts'
import { newHolds } from '../gc/holds.ts'
import { PayloadMap } from '../gc/payload-map.ts'
import { tempDir } from '../support/temp-dir.ts'

test('checkNumber() and checkWholeNumber() give what is in the range, and name what is not', () => {
  const range = { least: 0, most: 10 }
  for (const good of [0, 0.5, 10]) expect(checkNumber('n', good, range)).toBe(good)
  for (const bad of [-0.1, 10.1, NaN, Infinity, -Infinity]) expect(() => checkNumber('n', bad, range)).toThrow(new RangeError(`n must be from 0 to 10, got ${bad}`))
  for (const bad of [0.5, -1, 11, NaN]) expect(() => checkWholeNumber('n', bad, range)).toThrow(new RangeError(`n must be an integer from 0 to 10, got ${bad}`))
  expect(checkNumber('n', Infinity, { least: 1, most: Infinity })).toBe(Infinity)
  expect(() => checkWholeNumber('n', Infinity, { least: 1, most: Infinity })).toThrow(new RangeError('n must be an integer of 1 or more, got Infinity'))
})

const WAITS = [NaN, -1, Infinity, MAX_WAIT_MS + 1]
const LIMITS = [NaN, -1]
const pool = { connect: () => Promise.reject(new Error('Nobody connects')) }

const OPTIONS: readonly (readonly [name: string, bad: readonly number[], give: (value: number) => unknown])[] = [
  ['swapTimeoutMs', WAITS, (swapTimeoutMs) => openPostgresStore({ connection: pool, schema: 'meta', swapTimeoutMs })],
  ['lockTimeoutMs', [...WAITS, 0], (lockTimeoutMs) => postgresBackupable(pool, { schema: 'meta', payloadIds: '', schemaVersion: 1, lockTimeoutMs })],
  ['connections', [...LIMITS, 0, 1.5, 17], (connections) => postgresBackupable(pool, { schema: 'meta', payloadIds: '', schemaVersion: 1, connections })],
  ['connections', [...LIMITS, 0, 1.5, 17], (connections) => openPostgresStore({ connection: pool, schema: 'meta', connections })],
  ['connections', [...LIMITS, 0, 1.5, 17], (connections) => PostgresMetadataStore.open(pool, { schema: 'meta', connections })],
  ['drainTimeoutMs', WAITS, async (drainTimeoutMs) => rollback({ target: await openMemoryStore(), drainTimeoutMs })],
  ['drainTimeoutMs', WAITS, async (drainTimeoutMs) => recover(await openMemoryStore(), { drainTimeoutMs })],
  ['timeoutMs', WAITS, async (timeoutMs) => (await openMemoryStore()).drain({ timeoutMs })],
  ['timeoutMs', WAITS, async (timeoutMs) => (await openMemoryStore()).drainWrites({ timeoutMs })],
  ['maxBytesPerSecond', [NaN, -1, 0], async (maxBytesPerSecond) => (await openMemoryStore()).backup({ write: async () => {}, finish: async () => {} }, { maxBytesPerSecond })],
  ['memoryLimitBytes', [...LIMITS, 0], (memoryLimitBytes) => new PayloadIdSetBuilder({ memoryLimitBytes })],
  ['maxBytes', LIMITS, (maxBytes) => directoryCache({ directory: 'x', maxBytes })],
  ['flushBytes', [...LIMITS, 0], (flushBytes) => fsDestination({ path: 'x', flushBytes })],
  ['graceMs', LIMITS, (graceMs) => fsDestination({ path: 'x' }).cleanUp({ graceMs })],
  ['partBytes', [...LIMITS, Infinity], (partBytes) => s3Destination({ bucket: 'bucket', partBytes })],
  ['requestTimeoutMs', WAITS, (requestTimeoutMs) => s3Destination({ bucket: 'bucket', requestTimeoutMs })],
]

describe('options that are numbers', () => {
  it.each(OPTIONS)('%s is refused by name', async (name, bad, give) => {
    for (const value of bad) await expect((async () => give(value))(), `${value}`).rejects.toThrow(expect.objectContaining({ name: 'RangeError', message: expect.stringMatching(`^${name} must be `) as string }) as Error)
  })

  it('of leases, holds, sweeps and jobs too', async () => {
    const { catalog, holds } = await newHolds()
    for (const value of LIMITS) {
      expect(() => new Leases({ catalog, acknowledgeTimeoutMs: value })).toThrow(/^acknowledgeTimeoutMs must be /)
      expect(() => new Leases({ catalog, settleMs: value })).toThrow(/^settleMs must be /)
      expect(() => openHolds({ catalog, destinations: [], directory: 'x', maxCacheBytes: value })).toThrow(/^maxCacheBytes must be /)
      await expect(sweepPayloads({ payloads: new PayloadMap(), stores: [], holds, minAgeMs: value })).rejects.toThrow(/^minAgeMs must be /)
      await expect(catalog.jobs({ limit: value })[Symbol.asyncIterator]().next()).rejects.toThrow(/^limit must be /)
    }
  })

  it('of a restore, before it is an attempt', async () => {
    const store = await openMemoryStore()
    const destination = fsDestination({ path: join(await tempDir(), 'backups') })
    onTestFinished(() => destination.close())
    const backupId = await publish(destination, await takeBackup(store))
    for (const drainTimeoutMs of WAITS) await expect(restoreBackup({ target: store, destination, backupId, drainTimeoutMs })).rejects.toThrow(/^drainTimeoutMs must be /)
    await restoreBackup({ target: store, destination, backupId, drainTimeoutMs: 0 })
  })
})
