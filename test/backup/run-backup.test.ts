import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { MemoryLevel } from 'memory-level'
import { decodeTime, ulid } from 'ulid'
import { describe, expect, test } from 'vitest'
import type { Backupable, SnapshotSink } from '../../src/contracts/backupable.ts'
import { BACKUP_PHASES, type BackupProgress, runBackup } from '../../src/backup/run-backup.ts'
import { jobIdOf, type StartedJob } from '../../src/catalog/run-job.ts'
import { verifyBackup } from '../../src/repository/verify-backup.ts'
import type { Catalog, CatalogBackup, CatalogEvent, Job } from '../../src/contracts/catalog.ts'
import type { BackupUpload, Destination } from '../../src/contracts/destination.ts'
import { BackupAbortedError, CatalogUnavailableError, DestinationNoSpaceError, DestinationUnreachableError, type HoldfastError, RecordInvalidError } from '../../src/errors/errors.ts'
import { levelBackupable } from '../../src/stores/level/engine/level-backupable.ts'
import { HOLDFAST_VERSION } from '../../src/util/version.ts'
import { altered } from '../support/altered.ts'
import { collect } from '../support/collect.ts'
import { deferred } from '../support/deferred.ts'
import { FakeStore } from '../support/fake-store.ts'
import { flipped, newPlace, tamper } from './backups.ts'

async function stateOf({ catalog, destination }: { readonly catalog: Catalog; readonly destination: Destination }): Promise<{ jobs: Job[]; backups: CatalogBackup[]; listed: string[] }> {
  const listed = await collect(destination.list()).catch((error: HoldfastError) => {
    if (error.code !== 'destination_not_found') throw error
    return []
  })
  return { jobs: await collect(catalog.jobs()), backups: await collect(catalog.backups()), listed }
}

function leftAt(path: string): string[] {
  return existsSync(path) ? readdirSync(path) : []
}

async function failure(promise: Promise<unknown>): Promise<HoldfastError> {
  return await promise.then(
    () => {
      throw new Error('It did not reject')
    },
    (error: HoldfastError) => error,
  )
}

/** A destination whose uploads are altered. */
function withUploads(destination: Destination, changes: (upload: BackupUpload) => Partial<BackupUpload>): Destination {
  return altered(destination, {
    put: async (backupId, options) => {
      const upload = await destination.put(backupId, options)
      return altered(upload, changes(upload))
    },
  })
}

const broken = (): Promise<never> => Promise.reject(new DestinationUnreachableError('Out of reach'))

/** Fails at the seventh write. */
function failingOnce(sink: SnapshotSink): SnapshotSink['write'] {
  let writes = 0
  return async (chunk) => {
    if (++writes === 7) throw new RecordInvalidError('Cannot decode a record')
    await sink.write(chunk)
  }
}

async function abortAndFail(upload: BackupUpload): Promise<never> {
  await upload.abort()
  throw new Error('No abort')
}

/** A catalog whose append fails from the event of a type on, or only then. */
function failingAt(catalog: Catalog, type: string, times: 'once' | 'forever'): Catalog {
  let failed = false
  return altered(catalog, {
    append: async (...events) => {
      const due = events.some((event) => ('phase' in event ? `${event.type} ${event.phase}` : event.type) === type)
      if (times === 'once' ? due && !failed : due || failed) {
        failed = true
        throw new CatalogUnavailableError('The disk is gone')
      }
      await catalog.append(...events)
    },
  })
}

describe('runBackup()', () => {
  test.each(['zstd', 'none'] as const)('says in the manifest what the frames of a store are, %s, though the store says nothing or another thing', async (compress) => {
    const { destination } = await newPlace()
    for (const said of [undefined, 'none', 'zstd'] as const) {
      const store = FakeStore.of(1000)
      const other: Backupable = altered(store as Backupable, {
        backup: async (sink, options) => {
          // The chunks are not those of frames.
          const inPieces = async (chunk: Uint8Array): Promise<void> => {
            for (let at = 0; at < chunk.byteLength; at += 7) await sink.write(chunk.slice(at, at + 7))
          }
          return await store.backup({ write: inPieces, finish: (summary) => sink.finish({ ...summary, compression: said }) }, { ...options, compress })
        },
      })
      const { manifest, verification } = await runBackup({ store: other, destination })
      expect([manifest.compression, verification.manifest.compression]).toEqual([compress, compress])
    }
  })

  test('publishes, reads back and records a backup', async () => {
    const { destination, catalog } = await newPlace()
    const record = await runBackup({ store: FakeStore.of(1000), destination, catalog, labels: { why: 'test' } })
    expect(record.manifest).toMatchObject({
      backupId: record.backupId,
      createdAt: new Date(1_700_000_000_000).toISOString(),
      storeId: 'fake-store',
      storeKind: 'fake',
      records: { entries: 1000 },
      labels: { why: 'test' },
      compression: 'none',
      holdfastVersion: HOLDFAST_VERSION,
    })
    expect(record.manifest.payloadIds.count).toBe(1000)
    expect(record.warnings).toEqual([])
    await verifyBackup({ destination, backupId: record.backupId })
    const { jobs, backups, listed } = await stateOf({ catalog, destination })
    expect(listed).toEqual([record.backupId])
    expect(jobs).toMatchObject([{ jobId: record.jobId, kind: 'backup', state: 'succeeded', backupId: record.backupId, storeId: 'fake-store', storeKind: 'fake' }])
    expect(jobs[0]).toMatchObject({ destination: destination.url, progress: { phase: 'record', bytes: record.manifest.payload.bytes, records: 1000 } })
    expect(backups).toMatchObject([{ backupId: record.backupId, manifest: record.manifest, how: 'backup', verification: { level: 'checksum' } }])
    expect(backups[0]?.verification?.error).toBeUndefined()
  })

  test('backs up an empty store', async () => {
    const { destination, catalog } = await newPlace()
    const { manifest } = await runBackup({ store: new FakeStore(), destination, catalog })
    expect(manifest).toMatchObject({ records: { entries: 0 }, payloadIds: { count: 0 } })
  })

  test('works without a catalog', async () => {
    const { destination } = await newPlace()
    const { backupId } = await runBackup({ store: FakeStore.of(3), destination })
    expect(await collect(destination.list())).toEqual([backupId])
  })

  test('tells each phase in order, with bytes and records', async () => {
    const { destination } = await newPlace()
    const seen: BackupProgress[] = []
    const { manifest, phases, backupId } = await runBackup({ store: FakeStore.of(1000), destination, onProgress: (progress) => seen.push(progress) })
    expect([...new Set(seen.map(({ phase }) => phase))]).toEqual(BACKUP_PHASES)
    expect(phases.map(({ phase }) => phase)).toEqual(BACKUP_PHASES)
    expect(new Set(seen.map((progress) => progress.backupId))).toEqual(new Set([backupId]))
    const lastOf = (phase: string): BackupProgress | undefined => seen.findLast((progress) => progress.phase === phase)
    expect(lastOf('snapshot')).toMatchObject({ bytes: manifest.payload.bytes, records: 1000 })
    expect(lastOf('snapshot')?.bytesPerSecond).toBeGreaterThan(0)
    expect(lastOf('payload-ids')).toMatchObject({ bytes: manifest.payloadIds.bytes, records: 1000 })
    const total = manifest.payload.bytes + manifest.payloadIds.bytes
    expect(lastOf('verify')).toMatchObject({ bytes: total, totalBytes: total })
  })

  test('tells about how many bytes the snapshot has, where the store says that', async () => {
    const { destination } = await newPlace()
    const database = new MemoryLevel()
    await database.batch(Array.from({ length: 3000 }, (_, at) => ({ type: 'put', key: `key-${at}`, value: 'p' })))
    const store = levelBackupable(database, { payloadIds: (_key: string, value: string) => [value], estimateBytes: async () => 123_456 })
    const totals = new Set<number>()
    await runBackup({ store, destination, onProgress: ({ phase, bytes, totalBytes }) => void (phase === 'snapshot' && bytes > 1000 && totals.add(totalBytes)) })
    expect([...totals]).toEqual([123_456])
  })

  test('never tells fewer bytes in all than there are so far, whatever the store estimates', async () => {
    const { destination } = await newPlace()
    const database = new MemoryLevel()
    await database.batch(Array.from({ length: 3000 }, (_, at) => ({ type: 'put', key: `key-${at}`, value: 'p' })))
    const store = levelBackupable(database, { payloadIds: () => [], estimateBytes: () => 1 })
    const wrong: BackupProgress[] = []
    await runBackup({ store, destination, onProgress: (told) => void (told.totalBytes !== 0 && told.totalBytes < told.bytes && wrong.push(told)) })
    expect(wrong).toEqual([])
  })

  test.each([
    ['rejects', () => Promise.reject(new Error('Not now'))],
    ['throws', () => {
      throw new Error('Not now')
    }],
  ])('takes the backup without a total where the estimate of the store %s', async (_, estimateBytes: () => Promise<number>) => {
    const { destination } = await newPlace()
    const store = levelBackupable(new MemoryLevel(), { payloadIds: () => [], estimateBytes })
    const totals = new Set<number>()
    await runBackup({ store, destination, onProgress: ({ phase, totalBytes }) => void (phase === 'snapshot' && totals.add(totalBytes)) })
    expect([...totals]).toEqual([0])
  })

  test('writes the job row before anything touches the destination, and names the backup before it is put', async () => {
    const { destination, catalog } = await newPlace()
    const order: string[] = []
    const watched = new Proxy(destination, {
      get(target, name) {
        const value = Reflect.get(target, name, target) as unknown
        if (typeof value !== 'function') return value
        return (...args: unknown[]) => {
          order.push(String(name))
          return value.apply(target, args) as unknown
        }
      },
    })
    const append = async (...events: readonly CatalogEvent[]): Promise<void> => {
      await catalog.append(...events)
      order.push(...events.map((event) => ('phase' in event ? `${event.phase} ${event.backupId === undefined ? '' : 'named'}` : event.type)))
    }
    await runBackup({ store: FakeStore.of(1), destination: watched, catalog: altered(catalog, { append }) })
    expect(order[0]).toBe('job-started')
    expect(order.indexOf('snapshot named')).toBeLessThan(order.indexOf('put'))
    expect(order.indexOf('lease-taken')).toBeLessThan(order.indexOf('put'))
    expect(order.slice(-6)).toEqual(['record ', 'backup-recorded', 'backup-verified', 'job-ended', 'lease-released', 'takeWarnings'])
  })

  test('asks the store for no more while the destination writes', async () => {
    const { destination } = await newPlace()
    let writing = 0
    let most = 0
    const slow = withUploads(destination, (upload) => ({
      write: async (object, chunk) => {
        most = Math.max(most, ++writing)
        await delay(1)
        await upload.write(object, chunk)
        writing--
      },
    }))
    await runBackup({ store: FakeStore.of(1000), destination: slow })
    expect(most).toBe(1)
  })

  test('refuses an object that is not a store, a second backup of one handle, and labels that a manifest cannot hold, before anything is done', async () => {
    const { destination, catalog } = await newPlace()
    const untouched = altered(destination, { list: () => expect.fail('touched'), put: () => expect.fail('touched') })
    expect(await failure(runBackup({ store: {} as Backupable, destination: untouched, catalog }))).toMatchObject({ code: 'backup_unsupported' })
    const store = FakeStore.of(1)
    expect(await failure(runBackup({ store, destination: untouched, catalog, labels: { 'Not Valid': '' } }))).toMatchObject({ code: 'invalid_argument' })
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`l${index}`, '']))
    expect(await failure(runBackup({ store, destination: untouched, catalog, labels: many }))).toMatchObject({ code: 'invalid_argument' })
    expect(await collect(catalog.jobs())).toEqual([])
    const gate = deferred()
    const waiting = withUploads(destination, (upload) => ({ publish: async (manifest) => (await gate.promise, upload.publish(manifest)) }))
    const first = runBackup({ store, destination: waiting, catalog })
    expect(await failure(runBackup({ store, destination, catalog }))).toMatchObject({ code: 'backup_already_running' })
    await runBackup({ store: FakeStore.of(1), destination, catalog })
    gate.resolve()
    await first
    await runBackup({ store, destination, catalog })
  })

  test('IDs ascend, whatever the clock says', async () => {
    const { destination } = await newPlace()
    const ids: string[] = []
    for (const nowMs of [Date.parse('2036-01-01'), 0, Date.parse('2026-01-01'), Date.parse('2026-01-01'), Date.parse('2037-01-01')]) {
      ids.push((await runBackup({ store: FakeStore.of(1), destination, clock: () => nowMs })).backupId)
    }
    expect(ids).toEqual(ids.toSorted())
    expect(new Set(ids).size).toBe(5)
    expect(await collect(destination.list())).toEqual(ids)
  })

  test('an ID is greater than one of another host whose clock is ahead', async () => {
    const { destination } = await newPlace()
    const ahead = ulid(Date.now() + 10 ** 10)
    await runBackup({ store: FakeStore.of(1), destination, newId: () => ahead })
    const { backupId } = await runBackup({ store: FakeStore.of(1), destination, newId: ulid })
    expect(backupId > ahead).toBe(true)
    expect(decodeTime(backupId)).toBe(decodeTime(ahead) + 1)
    expect(await failure(runBackup({ store: FakeStore.of(1), destination, newId: () => ahead }))).toMatchObject({ code: 'invalid_argument' })
  })

  test('cleans up what crashed attempts left, and only warns when it cannot', async () => {
    const { destination, path } = await newPlace()
    await destination.put('01HZZZZZZZ0000000000000001')
    await runBackup({ store: FakeStore.of(1), destination, clock: () => Date.now() + 3 * 24 * 3600 * 1000 })
    expect(readdirSync(path).filter((name) => name.endsWith('.tmp'))).toEqual([])
    const broken = altered(destination, { cleanUp: () => Promise.reject(new DestinationUnreachableError('No clean-up')) })
    const { warnings } = await runBackup({ store: FakeStore.of(1), destination: broken })
    expect(warnings).toMatchObject([{ code: 'destination_unreachable' }])
  })
})

describe('runBackup() as a job', () => {
  test('is told with its ID once the row is durable, before anything touches the destination', async () => {
    const { destination, catalog } = await newPlace()
    const told: { job: StartedJob; row: Promise<Job | undefined>; touched: number }[] = []
    let touched = 0
    const watched = altered(destination, { cleanUp: async (options) => (touched++, await destination.cleanUp(options)) })
    const onJob = (job: StartedJob): void => void told.push({ job, row: catalog.job(job.jobId), touched })
    const { jobId, startedAt } = await runBackup({ store: FakeStore.of(1), destination: watched, catalog, onJob })
    expect(told).toMatchObject([{ job: { jobId, startedAt, kind: 'backup', storeId: 'fake-store', storeKind: 'fake', destination: destination.url }, touched: 0 }])
    expect(await told[0]?.row).toMatchObject({ jobId, state: 'running' })
    expect(touched).toBe(1)
  })

  test('has an ID without a catalog too, which what it rejects with carries', async () => {
    const { destination } = await newPlace()
    const jobs: StartedJob[] = []
    const onJob = (job: StartedJob): void => void jobs.push(job)
    const { jobId } = await runBackup({ store: FakeStore.of(1), destination, onJob })
    expect(jobs).toMatchObject([{ jobId }])
    const failing = new TypeError('No such store')
    const store = altered<Backupable>(FakeStore.of(1), { backup: () => Promise.reject(failing) })
    const error = await failure(runBackup({ store, destination, onJob }))
    expect(error).toBe(failing)
    expect(jobIdOf(error)).toBe(jobs[1]?.jobId)
    // The very error again: each rejection has the ID of its own job.
    const again = await failure(runBackup({ store, destination, onJob }))
    expect([jobIdOf(error), jobIdOf(again)]).toEqual([jobs[1]?.jobId, jobs[2]?.jobId])
    expect(again.message).toBe('No such store')
    expect(jobIdOf(await failure(runBackup({ store, destination, labels: { 'Not Valid': '' } })))).toBe(undefined)
  })

  test('that is aborted carries its ID, whatever the reason is, which stays as it was', async () => {
    const { destination } = await newPlace()
    const controller = new AbortController()
    const jobs: StartedJob[] = []
    const onJob = (job: StartedJob): void => (jobs.push(job), controller.abort('no more'))
    const error = await failure(runBackup({ store: FakeStore.of(1), destination, onJob, signal: controller.signal }))
    expect(error).toMatchObject({ code: 'backup_aborted', cause: 'no more', jobId: jobs[0]?.jobId })
    expect(JSON.parse(JSON.stringify(error))).toMatchObject({ code: 'backup_aborted', jobId: jobs[0]?.jobId })
  })

  test.each([
    [
      'throws',
      (): never => {
        throw new Error('Not now')
      },
    ],
    ['rejects', () => Promise.reject(new Error('Not now'))],
  ])('is a failed one when onJob %s, and nothing was done', async (_, onJob) => {
    const { destination, catalog, path } = await newPlace()
    expect(await failure(runBackup({ store: FakeStore.of(1), destination, catalog, onJob }))).toMatchObject({ message: 'Not now' })
    expect(await stateOf({ catalog, destination })).toMatchObject({ jobs: [{ state: 'failed' }], listed: [] })
    expect(leftAt(path)).toEqual([])
  })

  test('carries its ID when it fails with an error that has a jobId of something else', async () => {
    const { destination } = await newPlace()
    const foreign = Object.defineProperty(new Error('No such store'), 'jobId', { value: 5 })
    const error = await failure(runBackup({ store: altered<Backupable>(FakeStore.of(1), { backup: () => Promise.reject(foreign) }), destination }))
    expect([error.message, typeof jobIdOf(error)]).toEqual(['No such store', 'string'])
  })
})

describe('runBackup() at its destination', () => {
  /** A destination that counts the calls of its methods. */
  function counting(destination: Destination): { readonly destination: Destination; readonly calls: Record<string, number> } {
    const calls: Record<string, number> = {}
    const watched = new Proxy(destination, {
      get(target, name) {
        const value = Reflect.get(target, name, target) as unknown
        if (typeof value !== 'function') return value
        return (...args: unknown[]) => {
          calls[String(name)] = (calls[String(name)] ?? 0) + 1
          return value.apply(target, args) as unknown
        }
      },
    })
    return { destination: watched, calls }
  }

  test('looks through it once, and probes nothing', async () => {
    const place = await newPlace()
    const { destination, calls } = counting(place.destination)
    expect((await runBackup({ store: FakeStore.of(1), destination })).isFirst).toBe(true)
    for (const name of Object.keys(calls)) calls[name] = 0
    expect((await runBackup({ store: FakeStore.of(1), destination })).isFirst).toBe(false)
    expect(calls).toMatchObject({ cleanUp: 1, put: 1, stat: 1 })
    expect([calls['list'], calls['validate']]).toEqual([undefined, undefined])
  })

  test('lists it where a driver does not tell the newest backup, or cannot clean up', async () => {
    const place = await newPlace()
    const ahead = ulid(Date.now() + 10 ** 10)
    await runBackup({ store: FakeStore.of(1), destination: place.destination, newId: () => ahead })
    const untold = altered(place.destination, { cleanUp: async () => ({ removed: [], kept: [] }) })
    const second = await runBackup({ store: FakeStore.of(1), destination: untold })
    expect(second.backupId > ahead).toBe(true)
    const third = await runBackup({ store: FakeStore.of(1), destination: altered(place.destination, { cleanUp: broken }) })
    expect(third.backupId > second.backupId).toBe(true)
    expect([second.isFirst, third.isFirst]).toEqual([false, false])
  })
})

test.each([
  ['throws', () => { throw new Error('No warnings today') }, 'No warnings today'],
  ['gives a promise', async () => [], 'is not a function'],
])('runBackup() warns of a destination whose takeWarnings() %s, for the backup is recorded', async (_, takeWarnings, said) => {
  const { destination, catalog } = await newPlace()
  const { backupId, warnings } = await runBackup({ store: FakeStore.of(1), destination: altered(destination, { takeWarnings: takeWarnings as never }), catalog })
  expect(warnings.map(({ message }) => message)).toEqual([expect.stringContaining(said)])
  expect((await collect(catalog.jobs())).map(({ backupId: id, state }) => [id, state])).toEqual([[backupId, 'succeeded']])
})

describe('runBackup() with a store that fails', () => {
  const good = FakeStore.of(500)
  const misbehaving: readonly (readonly [string, Backupable['backup'], string | RegExp])[] = [
    ['throws in the middle', (sink) => good.backup({ ...sink, write: failingOnce(sink) }), 'record_invalid'],
    ['throws at once', () => Promise.reject(new TypeError('No such store')), /No such store/],
    ['never finishes', (sink) => good.backup({ ...sink, finish: async () => undefined }), /never finished/],
    ['finishes with nothing', (sink) => good.backup({ ...sink, finish: async () => sink.finish(null as never) }), /never finished/],
    ['does not say what payload IDs it wrote', (sink) => good.backup({ ...sink, finish: (summary) => sink.finish({ ...summary, payloadIds: undefined as never }) }), /payload IDs in its snapshot differ/],
    ['writes text', (sink) => good.backup({ ...sink, write: () => sink.write('text' as never) }), /it writes a string, not a Uint8Array/],
    ['writes nothing', (sink) => good.backup({ ...sink, write: () => sink.write(undefined as never) }), /it writes undefined, not a Uint8Array/],
    ['finishes twice', (sink) => good.backup({ ...sink, finish: async (summary) => (await sink.finish(summary), sink.finish(summary)) }), /finishes twice/],
    ['writes after its end', async (sink) => {
      const set = await good.backup(sink)
      await sink.write(new Uint8Array(1))
      return set
    }, /after its end/],
    ['does not wait for its writes', async (sink) => (await Promise.all([sink.write(new Uint8Array(9)), sink.write(new Uint8Array(9))])) as never, /^The store breaks its contract: it writes again before its last write has ended$/],
    ['does not wait for its last write', async (sink) => {
      const [set] = await Promise.all([good.backup({ write: async () => {}, finish: async () => {} }), sink.write(new Uint8Array(9)), sink.finish(null as never)])
      return set
    }, /^The store breaks its contract: it finishes before its last write has ended$/],
    ['says another size', (sink) => good.backup({ ...sink, finish: (summary) => sink.finish({ ...summary, bytes: summary.bytes + 1 }) }), /bytes, but wrote/],
    ['gives no SHA-256', (sink) => good.backup({ ...sink, finish: (summary) => sink.finish({ ...summary, sha256: '' }) }), /not report the SHA-256/],
    ['gives no time', (sink) => good.backup({ ...sink, finish: (summary) => sink.finish({ ...summary, createdAtMs: NaN }) }), /an impossible time/],
    ['returns another set of payload IDs', async (sink) => {
      await (await good.backup(sink)).close()
      return await FakeStore.of(3).backup({ write: async () => undefined, finish: async () => undefined })
    }, /payload IDs/],
    ['returns nothing', async (sink) => (await (await good.backup(sink)).close()) as never, /not return a set of payload IDs/],
    ['has an ID that no manifest holds', (sink) => good.backup({ ...sink, finish: (summary) => sink.finish({ ...summary, storeId: 'a b' }) }), 'manifest_invalid'],
  ]

  test.each(misbehaving)('one that %s leaves nothing, and a failed job with the error', async (_, backup, expected) => {
    const { destination, catalog, path } = await newPlace()
    const store = altered<Backupable>(good, { backup })
    const error = await failure(runBackup({ store, destination, catalog }))
    if (typeof expected === 'string') expect(error.code).toBe(expected)
    else expect(error.message).toMatch(expected)
    const { jobs, backups, listed } = await stateOf({ catalog, destination })
    expect(jobs).toMatchObject([{ state: 'failed', error: { message: error.message } }])
    expect([backups, listed, leftAt(path)]).toEqual([[], [], []])
    await runBackup({ store: FakeStore.of(1), destination, catalog })
  })

  test('rethrows the very error of a store when nothing else failed', async () => {
    const { destination, catalog } = await newPlace()
    const error = new TypeError('No such store')
    const store = altered<Backupable>(good, { backup: () => Promise.reject(error) })
    await expect(runBackup({ store, destination, catalog })).rejects.toBe(error)
    expect((await collect(catalog.jobs()))[0]?.error).toMatchObject({ code: 'internal', message: 'No such store' })
  })

  test('one that goes on after a write failed fails with what the write failed with', async () => {
    const { destination, catalog } = await newPlace()
    const full = new DestinationNoSpaceError('Cannot write: the disk is full')
    const put: Destination['put'] = async (backupId, options) => altered<BackupUpload>(await destination.put(backupId, options), { write: () => Promise.reject(full) })
    const backup: Backupable['backup'] = (sink) => good.backup({ ...sink, write: (chunk) => sink.write(chunk).catch(() => undefined) })
    await expect(runBackup({ store: altered<Backupable>(good, { backup }), destination: altered<Destination>(destination, { put }), catalog })).rejects.toBe(full)
    expect(await stateOf({ catalog, destination })).toMatchObject({ jobs: [{ state: 'failed' }], backups: [], listed: [] })
  })

  test('a lie about its SHA-256 is found when the backup is read back, which is deleted again', async () => {
    const { destination, catalog } = await newPlace()
    const backup: Backupable['backup'] = (sink) => good.backup({ ...sink, finish: (summary) => sink.finish({ ...summary, sha256: 'f'.repeat(64) }) })
    const error = await failure(runBackup({ store: altered<Backupable>(good, { backup }), destination, catalog }))
    expect(error).toMatchObject({ code: 'checksum_mismatch', message: expect.stringContaining('deleted again') })
    expect(await stateOf({ catalog, destination })).toMatchObject({ jobs: [{ state: 'failed' }], backups: [], listed: [] })
  })
})

describe('runBackup() with a destination that fails', () => {
  const early: readonly (readonly [string, (destination: Destination) => Destination])[] = [
    // oxlint-disable-next-line require-yield -- a list that fails at once
    ['list', (destination) => altered(destination, { cleanUp: broken, list: async function* () { await broken() } })],
    ['put', (destination) => altered(destination, { put: broken })],
    ['write of the payload', (destination) => withUploads(destination, () => ({ write: broken }))],
    ['write of the payload IDs', (destination) => withUploads(destination, (upload) => ({ write: (object, chunk) => (object === 'payload' ? upload.write(object, chunk) : broken()) }))],
    ['publish', (destination) => withUploads(destination, () => ({ publish: broken }))],
  ]

  test.each(early)('at %s: nothing is left, and the job has failed', async (_, change) => {
    const { destination, catalog, path } = await newPlace()
    await destination.put('01HZZZZZZZ0000000000000001').then((upload) => upload.abort())
    const error = await failure(runBackup({ store: FakeStore.of(10), destination: change(destination), catalog }))
    expect(error).toMatchObject({ code: 'destination_unreachable', message: 'Out of reach', retryable: true })
    expect(await stateOf({ catalog, destination })).toMatchObject({ jobs: [{ state: 'failed', error: { code: 'destination_unreachable' } }], backups: [], listed: [] })
    expect(leftAt(path)).toEqual([])
  })

  test('at abort too: the error has both failures', async () => {
    const { destination, catalog } = await newPlace()
    const failing = withUploads(destination, (upload) => ({ publish: broken, abort: () => abortAndFail(upload) }))
    const error = await failure(runBackup({ store: FakeStore.of(10), destination: failing, catalog }))
    expect(error).toMatchObject({ code: 'destination_unreachable', message: expect.stringMatching(/Out of reach.*could not be removed.*No abort/) })
    expect((error.cause as AggregateError).errors).toHaveLength(2)
  })

  const unread: readonly (readonly [string, (destination: Destination) => Partial<Destination>])[] = [
    ['manifest', () => ({ manifest: broken })],
    ['stat', () => ({ stat: broken })],
    // oxlint-disable-next-line require-yield -- reading that fails at once
    ['open', () => ({ open: async function* () { await broken() } })],
  ]
  test.each(unread)('at %s after publishing: the backup stays, and the error says that it is neither verified nor recorded', async (_, changes) => {
    const { destination, catalog } = await newPlace()
    const error = await failure(runBackup({ store: FakeStore.of(10), destination: altered(destination, changes(destination)), catalog }))
    const { jobs, backups, listed } = await stateOf({ catalog, destination })
    const [backupId = ''] = listed
    expect(error).toMatchObject({ code: 'destination_unreachable', details: { backupId, isPublished: true, isVerified: false } })
    for (const part of [backupId, destination.url, 'published, but neither verified nor recorded']) expect(error.message).toContain(part)
    expect(error.hint).toContain(`holdfast verify ${backupId}`)
    expect(error.hint).toContain('holdfast catalog rebuild')
    expect([jobs, backups]).toMatchObject([[{ state: 'failed', backupId }], []])
    await verifyBackup({ destination, backupId })
  })

  const damaged: readonly (readonly [string, string, (bytes: Buffer) => Buffer, string])[] = [
    ['a flipped bit of the payload', 'payload', (bytes) => flipped(bytes, 4000), 'restore_corrupt'],
    ['a payload cut short', 'payload', (bytes) => bytes.subarray(0, -1), 'backup_incomplete'],
    ['a flipped bit of the payload IDs', 'payload-ids', (bytes) => flipped(bytes, 0), 'restore_corrupt'],
    ['another manifest', 'manifest.json', (bytes) => Buffer.concat([bytes, Buffer.from(' ')]), 'checksum_mismatch'],
  ]
  test.each(damaged)('that stores %s: the backup is deleted again, and never recorded', async (_, object, change, code) => {
    const { destination, catalog, path } = await newPlace()
    let id = ''
    const lying = altered(destination, {
      put: async (backupId, options) => {
        const upload = await destination.put(backupId, options)
        const publish = async (manifest: Uint8Array): Promise<void> => {
          await upload.publish(manifest)
          tamper(join(path, (id = backupId), object), change)
        }
        return altered(upload, { publish })
      },
    })
    const error = await failure(runBackup({ store: FakeStore.of(200), destination: lying, catalog }))
    expect(error).toMatchObject({ code, message: expect.stringContaining('deleted again'), details: { backupId: id, isPublished: false } })
    expect(await stateOf({ catalog, destination })).toMatchObject({ jobs: [{ state: 'failed', backupId: id, error: { code } }], backups: [], listed: [] })
    const stuck = altered(lying, { delete: broken })
    expect(await failure(runBackup({ store: FakeStore.of(200), destination: stuck, catalog }))).toMatchObject({
      code,
      message: expect.stringMatching(/still listed.*Out of reach/),
      details: { isPublished: true },
    })
  })
})

describe('runBackup() with a catalog that fails', () => {
  test('at the job row: the destination is not touched', async () => {
    const { destination, catalog } = await newPlace()
    const untouched = altered(destination, { list: () => expect.fail('touched'), put: () => expect.fail('touched'), cleanUp: () => expect.fail('touched') })
    const error = await failure(runBackup({ store: FakeStore.of(1), destination: untouched, catalog: failingAt(catalog, 'job-started', 'forever') }))
    expect(error).toMatchObject({ code: 'catalog_unavailable', message: 'The disk is gone' })
  })

  test.each(['snapshot', 'payload-ids', 'publish', 'verify'])('at the progress of "%s": the backup is taken, and the report warns', async (phase) => {
    const { destination, catalog } = await newPlace()
    const { backupId, warnings } = await runBackup({ store: FakeStore.of(1), destination, catalog: failingAt(catalog, `job-progressed ${phase}`, 'once') })
    expect(warnings).toMatchObject([{ code: 'catalog_unavailable', message: expect.stringContaining('not fully recorded: The disk is gone') as string }])
    expect(await stateOf({ catalog, destination })).toMatchObject({ jobs: [{ state: 'succeeded' }], backups: [{ backupId }], listed: [backupId] })
  })

  test('at every progress: one warning', async () => {
    const { destination, catalog } = await newPlace()
    const append = async (...events: readonly CatalogEvent[]): Promise<void> => {
      if (events.length === 1 && events[0]?.type === 'job-progressed') throw new CatalogUnavailableError('The disk is gone')
      await catalog.append(...events)
    }
    const { warnings } = await runBackup({ store: FakeStore.of(1), destination, catalog: altered(catalog, { append }) })
    expect(warnings).toHaveLength(1)
  })

  test('at the record: the error says that the backup is published and verified, and how to record it', async () => {
    const { destination, catalog } = await newPlace()
    const error = await failure(runBackup({ store: FakeStore.of(1), destination, catalog: failingAt(catalog, 'backup-recorded', 'once') }))
    const { jobs, backups, listed } = await stateOf({ catalog, destination })
    expect(error).toMatchObject({ code: 'catalog_unavailable', details: { backupId: listed[0], isPublished: true, isVerified: true } })
    expect(error.message).toContain(`Cannot record backup ${listed[0]}`)
    expect(error.message).toContain('published and verified, but not recorded')
    expect(error.hint).toContain('holdfast catalog rebuild')
    expect([jobs, backups]).toMatchObject([[{ state: 'failed', error: { code: 'catalog_unavailable' } }], []])
  })

  test('at the end as well: the error has both failures, and the job is left for the next opening', async () => {
    const { destination, catalog } = await newPlace()
    const error = await failure(runBackup({ store: FakeStore.of(1), destination, catalog: failingAt(catalog, 'backup-recorded', 'forever') }))
    expect(error.message).toMatch(/published and verified, but not recorded; its lease on payloads could not be released.*; the end of the job could not be recorded/)
    expect(await collect(catalog.jobs())).toMatchObject([{ state: 'running' }])
  })
})

describe('runBackup() aborted', () => {
  test('before it begins: nothing happens', async () => {
    const { destination, catalog } = await newPlace()
    const reason = new Error('Not now')
    const error = await failure(runBackup({ store: FakeStore.of(1), destination, catalog, signal: AbortSignal.abort(reason) }))
    expect(error).toMatchObject({ code: 'backup_aborted', cause: reason })
    expect(await collect(catalog.jobs())).toEqual([])
  })

  test('before it begins, by a reason that says how to go on: the error says so too', async () => {
    const { destination } = await newPlace()
    const reason = new BackupAbortedError('The server is stopping', { hint: 'Start the server, then back up' })
    const error = await failure(runBackup({ store: FakeStore.of(1), destination, signal: AbortSignal.abort(reason) }))
    expect(error).toMatchObject({ code: 'backup_aborted', message: reason.message, hint: reason.hint, cause: reason })
  })

  test.each(BACKUP_PHASES.slice(0, 3))('in the phase "%s": nothing is listed or left, and the job was interrupted', async (phase) => {
    const { destination, catalog, path } = await newPlace()
    const controller = new AbortController()
    const reason = new Error('Enough')
    const onProgress = (progress: BackupProgress): void => {
      if (progress.phase === phase) controller.abort(reason)
    }
    const error = await failure(runBackup({ store: FakeStore.of(500), destination, catalog, signal: controller.signal, onProgress }))
    expect(error).toMatchObject({ code: 'backup_aborted', cause: reason })
    expect(await stateOf({ catalog, destination })).toMatchObject({ jobs: [{ state: 'interrupted', error: { code: 'backup_aborted' } }], backups: [], listed: [] })
    expect(leftAt(path)).toEqual([])
  })

  test('while it is read back: the error says what is there', async () => {
    const { destination, catalog } = await newPlace()
    const controller = new AbortController()
    const onProgress = ({ phase }: BackupProgress): void => {
      if (phase === 'verify') controller.abort()
    }
    const error = await failure(runBackup({ store: FakeStore.of(500), destination, catalog, signal: controller.signal, onProgress }))
    const { jobs, backups, listed } = await stateOf({ catalog, destination })
    expect(error).toMatchObject({ code: 'backup_aborted', cause: controller.signal.reason, details: { backupId: listed[0], isPublished: true, isVerified: false } })
    expect(error.message).toContain(`${listed[0]} at "${destination.url}" is listed, but was neither verified nor recorded`)
    expect([jobs, backups]).toMatchObject([[{ state: 'interrupted', backupId: listed[0] }], []])
  })

  test('while it is recorded: too late', async () => {
    const { destination, catalog } = await newPlace()
    const controller = new AbortController()
    const onProgress = ({ phase }: BackupProgress): void => {
      if (phase === 'record') controller.abort()
    }
    await runBackup({ store: FakeStore.of(5), destination, catalog, signal: controller.signal, onProgress })
    expect(await collect(catalog.jobs())).toMatchObject([{ state: 'succeeded' }])
  })

  test('a progress callback that throws once the backup is recorded is a warning', async () => {
    const { destination, catalog } = await newPlace()
    let reports = 0
    const onProgress = ({ phase }: BackupProgress): void => {
      if (phase === 'record' && ++reports === 2) throw new Error('The terminal is gone')
    }
    const { warnings, phases } = await runBackup({ store: FakeStore.of(5), destination, catalog, onProgress })
    expect(warnings.map(({ message }) => message)).toEqual(['The terminal is gone'])
    expect(phases.map(({ phase }) => phase)).toEqual(BACKUP_PHASES)
    expect(await collect(catalog.jobs())).toMatchObject([{ state: 'succeeded' }])
  })

  test('a store that hangs until the signal aborts ends with it', async () => {
    const { destination, catalog } = await newPlace()
    const controller = new AbortController()
    const backup: Backupable['backup'] = async (sink, options) => {
      await sink.write(new Uint8Array(10))
      setTimeout(() => controller.abort(), 20)
      return await new Promise((_, reject) => options?.signal?.addEventListener('abort', () => reject(options.signal?.reason as Error)))
    }
    const error = await failure(runBackup({ store: altered<Backupable>(FakeStore.of(1), { backup }), destination, catalog, signal: controller.signal }))
    expect(error.code).toBe('backup_aborted')
    expect(await stateOf({ catalog, destination })).toMatchObject({ jobs: [{ state: 'interrupted' }], listed: [] })
  })

  test('a store that hangs for ever is left behind, and can write no more', async () => {
    const { destination, catalog, path } = await newPlace()
    const controller = new AbortController()
    let sink: SnapshotSink | undefined
    const backup: Backupable['backup'] = async (given) => {
      sink = given
      setTimeout(() => controller.abort(), 20)
      return await new Promise(() => undefined)
    }
    const error = await failure(runBackup({ store: altered<Backupable>(FakeStore.of(1), { backup }), destination, catalog, signal: controller.signal }))
    expect(error).toMatchObject({ code: 'backup_aborted', message: expect.stringContaining('left behind') })
    await expect(sink?.write(new Uint8Array(1))).rejects.toThrow(/after its end/)
    expect(await stateOf({ catalog, destination })).toMatchObject({ jobs: [{ state: 'interrupted' }], listed: [] })
    expect(leftAt(path)).toEqual([])
  })
})
