/** Runs writers, backups, restores, deletions and sweeps beside one another, and says what must never be and was. */
import * as fc from 'fast-check'
import { deleteBackup } from '../../src/repository/delete-backups.ts'
import { runBackup } from '../../src/backup/run-backup.ts'
import type { Catalog } from '../../src/contracts/catalog.ts'
import type { JobOwner } from '../../src/util/job-owner.ts'
import { isHoldfastError } from '../../src/errors/errors.ts'
import { Holds } from '../../src/gc/holds/holds.ts'
import { Leases, type ProcessProof } from '../../src/gc/leases/leases.ts'
import { sweepPayloads } from '../../src/gc/sweep/sweep-payloads.ts'
import type { SteadyClock } from '../../src/util/steady-clock.ts'
import type { Destination } from '../../src/contracts/destination.ts'
import type { PayloadReferences, PayloadStore } from '../../src/contracts/payload-store.ts'
import { recover } from '../../src/restore/recover.ts'
import { restoreBackup } from '../../src/restore/restore-backup.ts'
import { rollback } from '../../src/restore/rollback.ts'
import { leasesOf, type SimHome, simCache, simCatalog, simDestination, simPayloads, simReferences, simStore, simSweepState, type SweepStateOf, simTarget, simUnions } from './fakes.ts'
import { memoryUnions } from './holds/memory-unions.ts'
import { LATE_MS, type Process } from './scheduler.ts'
import { MIN_AGE_MS, World } from './world.ts'

/** Longer than what a dead process sent may be under way. */
const SETTLE_MS = LATE_MS + 100
const ACKNOWLEDGE_TIMEOUT_MS = 600
/** One marks, one deletes; some meet a copy on the disk that is damaged, and fail. */
const MOST_SWEEPS = 6

export type Action =
  | { readonly type: 'write'; readonly file: string; readonly payload: string }
  | { readonly type: 'unlink'; readonly file: string }
  | { readonly type: 'backup'; readonly dieAfter?: number | undefined; readonly diesAtPublish?: true }
  | { readonly type: 'sweep'; readonly dieAfter?: number | undefined }
  | { readonly type: 'restore'; readonly which: number; readonly dieAfter?: number | undefined }
  | { readonly type: 'rollback'; readonly dieAfter?: number | undefined }
  | { readonly type: 'delete'; readonly which: number; readonly dieAfter?: number | undefined }
  | { readonly type: 'pass'; readonly ms: number }
  | { readonly type: 'clock'; readonly byMs: number }
  | { readonly type: 'mount'; readonly isMounted: boolean }

export interface Program {
  readonly seed: number
  readonly failureRate: number
  /** What is done one after another before all else. */
  readonly first: readonly Action[]
  /** What is done one after another, beside the other threads. */
  readonly threads: readonly (readonly Action[])[]
  /** How fast each thread is, beside the others. @default any */
  readonly paces?: readonly number[] | undefined
}

/** Parts of the machinery broken on purpose. */
export interface Breakage {
  /** The catalog as backups and restores see it. */
  readonly catalogOfOwner?: ((catalog: Catalog, world: World, process: Process) => Catalog) | undefined
  /** The catalog as sweeps see it. */
  readonly catalogOfSweep?: ((catalog: Catalog, world: World) => Catalog) | undefined
  readonly holds?: ((holds: Holds) => Holds) | undefined
  readonly destination?: ((destination: Destination, world: World) => Destination) | undefined
  readonly payloads?: ((payloads: PayloadStore, world: World) => PayloadStore) | undefined
  readonly references?: ((references: PayloadReferences) => PayloadReferences) | undefined
  readonly restoresWithoutHolds?: boolean | undefined
}

export interface Outcome {
  readonly steps: number
  readonly deleted: number
  readonly backups: number
  /** How often each thing happened: actions and what came of them, and events of the catalog. */
  readonly counts: ReadonlyMap<string, number>
}

const file = fc.constantFrom('a', 'b', 'c')
const payload = fc.constantFrom('p1', 'p2', 'p3', 'p4', 'p5')
const dieAfter = fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 2, arbitrary: fc.nat({ max: 120 }) })
const write = fc.record({ type: fc.constant('write' as const), file, payload })
const unlink = fc.record({ type: fc.constant('unlink' as const), file })
const pass = fc.record({ type: fc.constant('pass' as const), ms: fc.nat({ max: 2 * MIN_AGE_MS }) })
const backup = fc.record({ type: fc.constant('backup' as const), dieAfter })
const sweep = fc.record({ type: fc.constant('sweep' as const), dieAfter })
const restore = fc.record({ type: fc.constant('restore' as const), which: fc.nat({ max: 3 }), dieAfter })
const rollBack = fc.record({ type: fc.constant('rollback' as const), dieAfter })
const remove = fc.record({ type: fc.constant('delete' as const), which: fc.nat({ max: 3 }), dieAfter })
const clock = fc.record({ type: fc.constant('clock' as const), byMs: fc.constantFrom(-3_600_000, 3_600_000, 315_360_000_000, -315_360_000_000) })
const mount = fc.record({ type: fc.constant('mount' as const), isMounted: fc.boolean() })

/** Anything beside anything. */
const anything: fc.Arbitrary<Program> = fc.record({
  seed: fc.nat(),
  failureRate: fc.constantFrom(0, 0, 0.01, 0.03),
  first: fc.constant([]),
  threads: fc.tuple(
    fc.array(fc.oneof(write, write, unlink, pass), { minLength: 2, maxLength: 8 }),
    fc.array(fc.oneof(write, unlink, unlink, pass), { minLength: 2, maxLength: 8 }),
    fc.array(fc.oneof(backup, backup, backup, pass), { minLength: 1, maxLength: 4 }),
    fc.array(fc.oneof(sweep, sweep, pass), { minLength: 2, maxLength: 8 }),
    fc.array(fc.oneof(restore, rollBack, remove, remove, clock, mount, pass), { maxLength: 6 }),
  ),
})

const WRITTEN: readonly Action[] = [
  { type: 'write', file: 'a', payload: 'p1' },
  { type: 'write', file: 'b', payload: 'p2' },
]
const BACKED_UP: readonly Action[] = [...WRITTEN, { type: 'backup' }, { type: 'unlink', file: 'a' }]
const ripen = fc.record({ type: fc.constant('pass' as const), ms: fc.integer({ min: MIN_AGE_MS, max: 2 * MIN_AGE_MS }) })
const dyingBackup = fc.oneof(fc.record({ type: fc.constant('backup' as const), dieAfter: fc.nat({ max: 40 }) }), fc.constant<Action>({ type: 'backup', diesAtPublish: true }))
const calm = { seed: fc.nat(), failureRate: fc.constantFrom(0, 0, 0.01) }
/** One that marks, one that deletes, and so on. */
const sweeps = fc.array(fc.tuple(sweep, ripen), { minLength: 3, maxLength: 6 }).map((pairs) => pairs.flat())
const slow = fc.constantFrom(0.02, 0.05, 0.2)
const fast = fc.constantFrom(1, 0.5)

/** What is captured loses its last reference while sweeps go on. */
export const lostWhileBackedUp: fc.Arbitrary<Program> = fc.record({
  ...calm,
  first: fc.constant(WRITTEN),
  threads: fc.tuple(
    fc.oneof(backup, dyingBackup).map((action) => [action]),
    fc.tuple(pass, fc.array(fc.oneof(unlink, unlink, write), { maxLength: 2 })).map(([pause, more]): Action[] => [pause, { type: 'write', file: 'c', payload: 'p3' }, { type: 'unlink', file: 'a' }, ...more]),
    sweeps,
  ),
  paces: fc.tuple(slow, fast, fast),
})

/** What only a backup holds is restored, deleted, out of sight, while sweeps go on. */
export const heldByBackup: fc.Arbitrary<Program> = fc.record({
  ...calm,
  first: fc.constant(BACKED_UP),
  threads: fc.tuple(fc.array(fc.oneof(restore, restore, rollBack), { maxLength: 3 }), fc.array(fc.oneof(remove, remove, mount), { minLength: 1, maxLength: 2 }), sweeps),
  paces: fc.tuple(slow, slow, fast),
})

/** Payloads on their way into the store, out of it and in again, while the clock steps. */
export const underWay: fc.Arbitrary<Program> = fc.record({
  ...calm,
  first: fc.constant([]),
  threads: fc.tuple(
    fc.array(fc.constantFrom<Action>({ type: 'write', file: 'a', payload: 'p1' }, { type: 'write', file: 'a', payload: 'p2' }, { type: 'unlink', file: 'a' }), { minLength: 3, maxLength: 8 }),
    fc.array(fc.oneof(clock, clock, clock, ripen), { minLength: 3, maxLength: 8 }),
    fc.array(fc.oneof(sweep, sweep, sweep, ripen), { minLength: 3, maxLength: 8 }),
  ),
  paces: fc.tuple(slow, slow, fast),
})

export const program: fc.Arbitrary<Program> = fc.oneof(anything, lostWhileBackedUp, heldByBackup, underWay)

/** Runs a program to its end, then sweeps what is left. Rejects when something was deleted that was needed, or stays that nothing needs. */
export async function simulate(program: Program, breakage: Breakage = {}): Promise<Outcome> {
  return await new Simulation(program, breakage).run()
}

class Simulation {
  readonly #program: Program
  readonly #breakage: Breakage
  readonly #world: World
  readonly #home: SimHome = { journal: undefined }
  readonly #sets = new Map<string, Uint8Array[]>()
  readonly #state: SweepStateOf
  readonly #unions = memoryUnions()
  readonly #underWay = new Set<string>()
  readonly #dead = new Set<number>()
  readonly #counts = new Map<string, number>()
  #fault: unknown

  constructor(program: Program, breakage: Breakage) {
    this.#program = program
    this.#breakage = breakage
    this.#world = new World(program.seed)
    this.#world.failureRate = program.failureRate
    this.#state = simSweepState(this.#world)
  }

  async run(): Promise<Outcome> {
    const world = this.#world
    await this.#during([this.#thread(this.#program.first)])
    const { threads, paces } = this.#program
    await this.#during(threads.map((actions, index) => this.#thread(actions, paces?.[index])))
    world.failureRate = 0
    world.isMounted = true
    world.isDrained = false
    await this.#during([this.#step({ type: 'recover' })])
    // Leases of the dead are suspected, then released; then a deletion that was cut off can be ended.
    await this.#sweeps(2)
    await this.#during([this.#endDeletions()])
    for (let round = 0; round < MOST_SWEEPS && this.#useless().length > 0; round++) await this.#sweeps(1)
    const useless = this.#useless()
    if (useless.length > 0) throw new Error(`${useless.join(', ')} stays, and nothing needs it; leases: ${JSON.stringify(leasesOf(world.events))}`)
    for (const event of world.events) this.#count('why' in event ? `${event.type} as ${event.why}` : event.type)
    const { deleted, backups, scheduler } = world
    return { steps: scheduler.steps, deleted, backups: backups.size, counts: this.#counts }
  }

  /** Payloads that are there and needed by nothing. */
  #useless(): readonly string[] {
    const needed = this.#world.needed()
    return [...this.#world.payloads.keys()].filter((payloadId) => !needed.has(payloadId))
  }

  async #sweeps(count: number): Promise<void> {
    for (let round = 0; round < count; round++) {
      await this.#world.scheduler.pass(Math.max(MIN_AGE_MS, SETTLE_MS) + 1)
      await this.#during([this.#step({ type: 'sweep' })])
    }
  }

  async #during(threads: readonly Promise<void>[]): Promise<void> {
    let isDone = false
    const all = Promise.all(threads).then(
      () => (isDone = true),
      (error: unknown) => (this.#fault ??= error),
    )
    await this.#world.scheduler.run()
    if (this.#world.violation !== undefined) throw this.#world.violation
    if (this.#fault !== undefined) throw this.#fault
    if (!isDone) throw new Error('The threads do not come to their end')
    await all
  }

  async #thread(actions: readonly Action[], pace?: number): Promise<void> {
    for (const action of actions) await this.#step(action, pace)
  }

  /** Does one action in a process of its own; one that dies is over when it is dead. */
  async #step(action: Action | { readonly type: 'recover' }, pace?: number): Promise<void> {
    const process = this.#world.scheduler.newProcess({ stepsLeft: 'dieAfter' in action ? action.dieAfter : undefined, diesAtPublish: 'diesAtPublish' in action && action.diesAtPublish, pace })
    const work = this.#do(action, process).then(
      () => this.#count(`${action.type} over`),
      (error: unknown) => this.#failed(action, error),
    )
    await Promise.race([work, process.death.promise.then(() => void this.#dead.add(process.pid))])
    if (process.isDead) this.#count(`${action.type} dead`)
    if (process.isDead && (action.type === 'restore' || action.type === 'rollback')) await this.#step({ type: 'recover' })
  }

  async #do(action: Action | { readonly type: 'recover' }, process: Process): Promise<void> {
    const world = this.#world
    switch (action.type) {
      case 'write':
        return await this.#write(action, process)
      case 'unlink':
        return await world.scheduler.call(process, () => {
          if (!world.isDrained) world.liveFiles.delete(action.file)
        })
      case 'pass':
        return await world.scheduler.pass(action.ms)
      case 'clock':
        // Before 1970 no ID can be made: every job is refused there, which `ulid.test.ts` shows.
        world.clockErrorMs = Math.max(0, world.clockErrorMs + action.byMs)
        return
      case 'mount':
        // What is listed and not recorded yet has no other witness than the list.
        if (action.isMounted || this.#allRecorded()) world.isMounted = action.isMounted
        return
      case 'recover':
        world.isDrained = false
        await recover(simTarget(world, process, this.#home))
        return
      case 'backup':
        return await this.#backup(process)
      case 'sweep':
        return await this.#sweep(process)
      case 'restore':
        return await this.#restore(action.which, process)
      case 'rollback':
        return await this.#rollback(process)
      case 'delete':
        return await this.#delete(action.which, process)
    }
  }

  async #backup(process: Process): Promise<void> {
    const catalog = this.#ownersCatalog(process)
    const clock = (): number => this.#world.wallMs()
    await runBackup({ store: simStore(this.#world, process), destination: this.#destination(process), catalog, holds: this.#holds(process, catalog), clock })
  }

  /** Renews the payload, then refers to it, and begins again when that took too long. */
  async #write({ file, payload }: { readonly file: string; readonly payload: string }, process: Process): Promise<void> {
    const world = this.#world
    for (let isDone = false; !isDone; ) {
      const renewedAtMs = await world.scheduler.call(process, () => {
        world.renew(payload)
        return world.scheduler.nowMs
      }, { isRequest: true })
      isDone = await world.scheduler.call(process, () => {
        if (world.isDrained) return true
        if (world.scheduler.nowMs - renewedAtMs >= MIN_AGE_MS) return false
        world.checkThere([payload], `the file ${file}`)
        world.liveFiles.set(file, payload)
        return true
      })
    }
  }

  async #sweep(process: Process): Promise<void> {
    const world = this.#world
    const catalog = simCatalog(world, process)
    const holds = this.#holds(process, this.#breakage.catalogOfSweep?.(catalog, world) ?? catalog)
    const payloads = simPayloads(world, process)
    const references = simReferences(world, process)
    const { heldOff, deleted } = await sweepPayloads({
      payloads: this.#breakage.payloads?.(payloads, world) ?? payloads,
      stores: [this.#breakage.references?.(references) ?? references],
      holds: this.#breakage.holds?.(holds) ?? holds,
      minAgeMs: MIN_AGE_MS,
    })
    if (heldOff.length > 0) this.#count('sweep held off')
    if (deleted.payloads > 0) this.#count('sweep that deletes')
  }

  async #rollback(process: Process): Promise<void> {
    const world = this.#world
    if (world.isDrained) return
    await rollback({ target: simTarget(world, process, this.#home), holds: this.#restoreHolds(process), clock: () => world.wallMs() })
    this.#count('rollback made')
  }

  #restoreHolds(process: Process): Holds | undefined {
    return this.#breakage.restoresWithoutHolds === true ? undefined : this.#holds(process, this.#ownersCatalog(process))
  }

  async #restore(which: number, process: Process): Promise<void> {
    const world = this.#world
    const backupId = this.#choose(which)
    if (backupId === undefined || world.isDrained) return
    const holds = this.#restoreHolds(process)
    await restoreBackup({ target: simTarget(world, process, this.#home), destination: this.#destination(process), backupId, holds, clock: () => world.wallMs() })
    this.#count('restore made')
  }

  async #delete(which: number, process: Process): Promise<void> {
    const backupId = this.#choose(which)
    if (backupId === undefined) return
    await deleteBackup({ destination: this.#destination(process), backupId, catalog: simCatalog(this.#world, process), force: true, clock: () => this.#world.wallMs() })
  }

  /** What an operator does after a deletion that was cut off: deletes again. */
  async #endDeletions(): Promise<void> {
    const process = this.#world.scheduler.newProcess()
    const catalog = simCatalog(this.#world, process)
    for await (const { backupId, deletionStartedAt, deletedAt } of catalog.backups()) {
      if (deletionStartedAt === undefined || deletedAt !== undefined) continue
      await deleteBackup({ destination: this.#destination(process), backupId, catalog, force: true, clock: () => this.#world.wallMs() })
    }
  }

  #choose(which: number): string | undefined {
    const listed = this.#world.listed().map(([backupId]) => backupId)
    return listed[which % Math.max(1, listed.length)]
  }

  #allRecorded(): boolean {
    const recorded = new Set(this.#world.events.filter((event) => event.type === 'backup-recorded').map(({ backupId }) => backupId))
    return this.#world.listed().every(([backupId]) => recorded.has(backupId))
  }

  #ownersCatalog(process: Process): Catalog {
    const catalog = simCatalog(this.#world, process)
    return this.#breakage.catalogOfOwner?.(catalog, this.#world, process) ?? catalog
  }

  #destination(process: Process): Destination {
    const destination = simDestination(this.#world, process)
    return this.#breakage.destination?.(destination, this.#world) ?? destination
  }

  #holds(process: Process, catalog: Catalog): Holds {
    const world = this.#world
    const clock: SteadyClock = { epoch: 'simulation', nowMs: () => world.scheduler.nowMs }
    const cache = simCache(world, process, this.#sets)
    const leases = new Leases({
      catalog,
      cache,
      acknowledgeTimeoutMs: ACKNOWLEDGE_TIMEOUT_MS,
      clock: () => world.wallMs(),
      steadyClock: clock,
      settleMs: SETTLE_MS,
      pause: () => world.scheduler.call(process, () => undefined),
      process: this.#proofOf(process),
    })
    return new Holds({ leases, destinations: [simDestination(world, process)], cache, unions: simUnions(world, process, this.#unions), stateOf: () => this.#state(process), steadyClock: clock })
  }

  #proofOf({ pid }: Process): ProcessProof {
    return {
      owner: (): JobOwner => ({ host: 'host', pid, bootId: 'boot', start: '' }),
      markUnderWay: (id) => {
        this.#underWay.add(id)
        return () => void this.#underWay.delete(id)
      },
      hasEnded: (id, owner) => this.#dead.has(owner.pid) || !this.#underWay.has(id),
    }
  }

  #failed(action: { readonly type: string }, error: unknown): void {
    if (!isHoldfastError(error) || error.code === 'internal') this.#fault ??= error
    else this.#count(`${action.type} ${error.code}`)
  }

  #count(what: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1)
  }
}
