/** A catalog, a destination, a payload store and a metadata store, as simple as can be: each call is a step of the scheduler. */
import type { Backupable, SnapshotSink, SnapshotSource } from '../../src/contracts/backupable.ts'
import type { BackupEvent, Catalog, CatalogBackup, CatalogEvent, Job, JobEvent } from '../../src/contracts/catalog.ts'
import { HOLD_CHANGES } from '../../src/contracts/catalog.ts'
import { foldBackup, foldJob, foldLease, foldSweep } from '../../src/catalog/fold-events.ts'
import type { Lease, LeaseEvent, PayloadIdsName, RunningSweep, SweepEvent } from '../../src/contracts/hold-events.ts'
import type { BackupObject, Destination } from '../../src/contracts/destination.ts'
import {
  CatalogUnavailableError,
  DestinationUnreachableError,
  DuplicateBackupIdError,
  ManifestMissingError,
  RestoreDestinationNotEmptyError,
  StoreUnavailableError,
} from '../../src/errors/errors.ts'
import type { PayloadIdsCache } from '../../src/gc/leases/payload-ids-cache.ts'
import type { Mark, SweepProgress, SweepState } from '../../src/gc/sweep-state.ts'
import type { UnionStore } from '../../src/gc/holds/union-store.ts'
import { decodePayloadIds, type PayloadIdSet, PayloadIdSetBuilder } from '../../src/payload-ids/payload-id-set.ts'
import type { PayloadReferences, PayloadStore, StoredPayload } from '../../src/contracts/payload-store.ts'
import type { RestoreJournal, SideEngine, Swappable } from '../../src/contracts/swappable.ts'
import { decodeRecords, openSnapshot } from '../../src/format/snapshot-reader.ts'
import { SnapshotWriter } from '../../src/format/snapshot-writer.ts'
import { collect } from '../support/collect.ts'
import type { MemoryUnions } from './holds/memory-unions.ts'
import type { Process } from './scheduler.ts'
import { type StoredBackup, type World } from './world.ts'

export const STORE_ID = 'store'
export const DESTINATION = 'sim:backups'
const PAGE = 2

/** A call that may fail, before it arrives or after. */
function request<T>(world: World, process: Process, fail: () => Error, effect: () => T): Promise<T> {
  return world.scheduler.call(
    process,
    () => {
      if (world.fails()) throw fail()
      const value = effect()
      if (world.fails()) throw fail()
      return value
    },
    { isRequest: true },
  )
}

function question<T>(world: World, process: Process, fail: () => Error, effect: () => T): Promise<T> {
  return world.scheduler.call(process, () => {
    if (world.fails()) throw fail()
    return effect()
  })
}

const noCatalog = (): Error => new CatalogUnavailableError('The catalog fails, as the test has it')
const noDestination = (): Error => new DestinationUnreachableError('The destination fails, as the test has it')
const noPayloads = (): Error => new StoreUnavailableError('The payload store fails, as the test has it')

/** What a catalog of events says. `events` may be another view of them than the world's own. */
export function simCatalog(world: World, process: Process, events: CatalogEvent[] = world.events): Catalog {
  const ask = <T>(effect: () => T): Promise<T> => question(world, process, noCatalog, effect)
  const backups = folding(events, backupsOf)
  const leases = folding(events, leasesOf)
  const sweeps = folding(events, sweepsOf)
  const generation = folding(events, () => events.filter(({ type }) => HOLD_CHANGES.has(type)).length)
  return {
    append: (...added) => request(world, process, noCatalog, () => void events.push(...added)),
    async *jobs() {
      yield* await ask(() => [...groups(events.filter((event): event is JobEvent => 'jobId' in event), ({ jobId }) => jobId).values()].map(foldJob).filter((job): job is Job => job !== undefined))
    },
    job: async () => await Promise.reject(new Error('Not needed')),
    async *backups() {
      yield* await ask(backups)
    },
    backup: (backupId, destination) => ask(() => backups().find((backup) => backup.backupId === backupId && backup.destination === destination)),
    leases: () => ask(leases),
    sweeps: () => ask(sweeps),
    holdGeneration: () => ask(generation),
    close: async () => {},
    [Symbol.asyncDispose]: async () => {},
  }
}

function backupsOf(events: readonly CatalogEvent[]): CatalogBackup[] {
  const own = events.filter((event): event is BackupEvent => 'destination' in event && event.type.startsWith('backup-'))
  return [...groups(own, ({ backupId, destination }) => `${backupId} ${destination}`).values()].map(foldBackup).filter((backup) => backup !== undefined)
}

export function leasesOf(events: readonly CatalogEvent[]): Lease[] {
  return [...groups(events.filter((event): event is LeaseEvent => 'leaseId' in event), ({ leaseId }) => leaseId).values()].map(foldLease).filter((lease) => lease !== undefined)
}

function sweepsOf(events: readonly CatalogEvent[]): RunningSweep[] {
  return [...groups(events.filter((event): event is SweepEvent => 'sweepId' in event), ({ sweepId }) => sweepId).values()].map(foldSweep).filter((sweep) => sweep !== undefined)
}

function groups<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const found = new Map<string, T[]>()
  for (const item of items) {
    const group = found.get(keyOf(item))
    if (group === undefined) found.set(keyOf(item), [item])
    else group.push(item)
  }
  return found
}

/** What events come to, worked out again only when there are others: it is asked for again and again. */
function folding<T>(events: readonly CatalogEvent[], fold: (events: readonly CatalogEvent[]) => T): () => T {
  let known: { readonly length: number; readonly last: CatalogEvent | undefined; readonly value: T } | undefined
  return () => {
    const last = events.at(-1)
    if (known?.length !== events.length || known.last !== last) known = { length: events.length, last, value: fold(events) }
    return known.value
  }
}

export function simDestination(world: World, process: Process): Destination {
  const ask = <T>(effect: () => T): Promise<T> => question(world, process, noDestination, effect)
  const send = <T>(effect: () => T): Promise<T> =>
    request(world, process, noDestination, () => {
      if (!world.isMounted) throw noDestination()
      return effect()
    })
  const stored = (backupId: string): StoredBackup & { manifest: Uint8Array } => {
    const backup = world.isMounted ? world.backups.get(backupId) : undefined
    if (backup?.manifest === undefined) throw new ManifestMissingError(`There is no backup ${backupId}`)
    return backup as StoredBackup & { manifest: Uint8Array }
  }
  const chunks = (backup: StoredBackup, object: BackupObject): Uint8Array[] => (object === 'payload' ? backup.payload : backup.payloadIds)
  return {
    scheme: 'sim',
    url: DESTINATION,
    validate: async () => [],
    async put(backupId) {
      const backup = await send((): StoredBackup => ({ payload: [], payloadIds: [], manifest: undefined, needs: new Set() }))
      return {
        // Only `publish` shows: what is written before is nobody's to see.
        write: async (object, chunk) => void chunks(backup, object).push(Buffer.from(chunk)),
        async publish(manifest) {
          const needs = new Set(await collect(decodePayloadIds(asStream(backup.payloadIds))))
          const sent = send(() => {
            if (world.backups.get(backupId)?.manifest !== undefined) throw new DuplicateBackupIdError(backupId)
            world.checkThere(needs, `backup ${backupId}`)
            world.backups.set(backupId, { ...backup, manifest: Buffer.from(manifest), needs })
          })
          if (process.diesAtPublish) world.scheduler.kill(process)
          await sent
        },
        abort: () => send(() => undefined),
      }
    },
    manifest: (backupId) => ask(() => stored(backupId).manifest),
    async *open(backupId, object) {
      yield* await ask(() => chunks(stored(backupId), object))
    },
    stat: (backupId) =>
      ask(() => {
        const backup = stored(backupId)
        return { bytes: { payload: lengthOf(backup.payload), 'payload-ids': lengthOf(backup.payloadIds) } }
      }),
    async *list() {
      yield* await ask(() => (world.isMounted ? world.listed().map(([backupId]) => backupId).toSorted() : []))
    },
    async delete(backupId) {
      await send(() => {
        const backup = world.backups.get(backupId)
        if (backup !== undefined) backup.manifest = undefined
      })
      await send(() => void world.backups.delete(backupId))
    },
    cleanUp: async () => ({ removed: [], kept: [] }),
    close: async () => {},
  }
}

export function simPayloads(world: World, process: Process): PayloadStore {
  return {
    url: 'sim:payloads',
    async *list({ after = '' } = {}) {
      let last = after
      for (;;) {
        const from = last
        const page = await question(world, process, noPayloads, () => pageOf(world, from))
        if (page.length === 0) return
        yield page
        last = page.at(-1)?.payloadId ?? last
      }
    },
    exists: (payloadIds) => question(world, process, noPayloads, () => payloadIds.map((payloadId) => world.payloads.has(payloadId))),
    async deleteUnchanged(payloads) {
      const deleted: string[] = []
      for (const { payloadId, version } of payloads) {
        await request(world, process, noPayloads, () => {
          if (world.payloads.get(payloadId)?.version !== version) return
          world.remove(payloadId)
          deleted.push(payloadId)
        })
      }
      return deleted
    },
  }
}

function pageOf(world: World, after: string): readonly StoredPayload[] {
  const names = [...world.payloads.keys()].filter((payloadId) => payloadId > after).toSorted().slice(0, PAGE)
  return names.map((payloadId) => {
    const { version, atMs } = world.payloads.get(payloadId) as { version: string; atMs: number }
    return { payloadId, version, bytes: 1, ageMs: world.wallMs() - atMs }
  })
}

/** Sets by their digest, some of which are lost now and then. */
export function simCache(world: World, process: Process, sets: Map<string, Uint8Array[]>): PayloadIdsCache {
  return {
    get: (name) =>
      world.scheduler.call(process, () => {
        if (world.scheduler.random() < 0.05) sets.delete(name.sha256)
        const chunks = sets.get(name.sha256)
        return chunks && { read: () => asStream(chunks), close: async () => {} }
      }),
    put: async (name: PayloadIdsName, source) => void sets.set(name.sha256, await collect(source)),
    drop: async (name) => void sets.delete(name.sha256),
    // More than it may: also sets that were put just now, for a lease.
    retain: async (names) => [...sets.keys()].filter((sha256) => !names.some((name) => name.sha256 === sha256)).forEach((sha256) => sets.delete(sha256)),
  }
}

/** The union of what is held, which is lost or damaged now and then. */
export function simUnions(world: World, process: Process, kept: MemoryUnions): UnionStore {
  return {
    open: async () => {
      await world.scheduler.call(process, () => {
        if (world.scheduler.random() < 0.05) kept.kept = undefined
        if (world.scheduler.random() < 0.05) kept.damage(world.scheduler.random)
      })
      return await kept.open()
    },
    create: () => kept.create(),
  }
}

/** What a process sees of the marks, which are read page by page. */
export type SweepStateOf = (process: Process) => SweepState

export function simSweepState(world: World): SweepStateOf {
  let kept: { readonly marks: readonly Mark[]; readonly progress: SweepProgress } | undefined
  return (process) => ({
    progress: async () => kept?.progress,
    async *marks() {
      const marks = kept?.marks ?? []
      for (let from = 0; from < marks.length; from += PAGE) yield await world.scheduler.call(process, () => marks.slice(from, from + PAGE))
    },
    async replace(marks, progress) {
      const all = (await collect(marks)).flat()
      await world.scheduler.call(process, () => void (kept = { marks: all, progress: progress() }))
    },
  })
}

/** What the store refers to, read page by page from one view. */
export function simReferences(world: World, process: Process): PayloadReferences {
  const read = async function* (state: () => Iterable<string>): AsyncGenerator<string, void, undefined> {
    const view = await question(world, process, noPayloads, () => [...new Set(state())].toSorted())
    for (let from = 0; from < view.length; from += PAGE) {
      await world.scheduler.call(process, () => undefined)
      yield* view.slice(from, from + PAGE)
    }
  }
  return { storeId: STORE_ID, payloadIds: () => read(() => world.liveFiles.values()), retainedPayloadIds: () => read(() => world.retained()) }
}

/** The engine of a name; the live one when there is none. */
export function simStore(world: World, process: Process, engine?: string): Backupable & { readonly storeId: string } {
  const files = (): Map<string, string> => (engine === undefined ? world.liveFiles : (world.engines.get(engine)?.files ?? new Map<string, string>()))
  return {
    kind: 'sim',
    storeId: STORE_ID,
    async backup(sink: SnapshotSink): Promise<PayloadIdSet> {
      const view = await question(world, process, noPayloads, () => [...files()].toSorted(([left], [right]) => (left < right ? -1 : 1)))
      const writer = new SnapshotWriter(sink, { storeKind: 'sim', storeId: STORE_ID, schemaVersion: 1, sections: ['files'], createdAtMs: world.wallMs() })
      await writer.start()
      const builder = new PayloadIdSetBuilder()
      for (let from = 0; from < view.length; from += PAGE) {
        await world.scheduler.call(process, () => undefined)
        await writer.writeRecords(0, view.slice(from, from + PAGE))
      }
      for (const [, payloadId] of view) builder.add(payloadId)
      const payloadIds = await builder.finish()
      await writer.finish({ count: payloadIds.size, digest: payloadIds.digest })
      return payloadIds
    },
    async restore(source: SnapshotSource) {
      if (files().size > 0) throw new RestoreDestinationNotEmptyError()
      const reader = await openSnapshot(source)
      const records: (readonly [string, string])[] = []
      for await (const frame of reader.frames()) for (const [key, value] of decodeRecords(frame)) records.push([String(key), String(value)])
      await world.scheduler.call(process, () => {
        for (const [name, payloadId] of records) files().set(name, payloadId)
      })
    },
  }
}

export interface SimHome {
  journal: RestoreJournal | undefined
}

export function simTarget(world: World, process: Process, home: SimHome): Swappable {
  const ask = <T>(effect: () => T): Promise<T> => world.scheduler.call(process, effect)
  // A file system: what it was asked for does not come to pass after the process died.
  const send = <T>(effect: () => T): Promise<T> => question(world, process, noPayloads, effect)
  return {
    kind: 'sim',
    schemaVersion: 1,
    readStoreId: () => ask(() => STORE_ID),
    engines: () => ask(() => ({ live: world.live, previous: world.previous, leftovers: [...world.engines.keys()].filter((name) => name !== world.live && name !== world.previous) })),
    freeBytes: async () => undefined,
    drainWrites: () => ask(() => void (world.isDrained = true)),
    drain: () => ask(() => void (world.isDrained = true)),
    resume: () => ask(() => void (world.isDrained = false)),
    async openSide(engine): Promise<SideEngine> {
      await send(() => void world.engines.set(engine, { files: new Map() }))
      const store = simStore(world, process, engine)
      return {
        engine,
        kind: store.kind,
        backup: (sink, options) => store.backup(sink, options),
        restore: (source, options) => store.restore(source, options),
        seal: () => ask(() => undefined),
        discard: () => ask(() => void world.engines.delete(engine)),
      }
    },
    swap: (engine, { previous }) =>
      send(() => {
        world.checkThere(world.engines.get(engine)?.files.values() ?? [], `the engine ${engine}`)
        world.live = engine
        world.previous = previous
      }),
    unswap: () => send(() => void (world.live = undefined)),
    checkLive: () => question(world, process, noPayloads, () => undefined),
    removeEngine: (engine) => ask(() => void world.engines.delete(engine)),
    readJournal: () => ask(() => home.journal),
    writeJournal: (journal) => send(() => void (home.journal = journal)),
    clearJournal: () => send(() => void (home.journal = undefined)),
  }
}

async function* asStream(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, undefined> {
  yield* chunks
}

function lengthOf(chunks: readonly Uint8Array[]): number {
  return chunks.reduce((sum, { byteLength }) => sum + byteLength, 0)
}
