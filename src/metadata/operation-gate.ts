/** The gate in front of a live store: decides which operations may start, and counts those in flight. */
import { checkWaitMs } from '../util/check-number.ts'
import { RestoreInProgressError, StoreNotDrainedError } from '../errors/errors.ts'

export type OperationKind = 'read' | 'write'

/** The states, from letting everything through to holding everything back. */
export const GATE_STATES = ['open', 'reads-only', 'closed'] as const
export type GateState = (typeof GATE_STATES)[number]

const ADMISSION: Readonly<Record<GateState, Readonly<Record<OperationKind, 'pass' | 'refuse' | 'wait'>>>> = {
  open: { read: 'pass', write: 'pass' },
  'reads-only': { read: 'pass', write: 'refuse' },
  closed: { read: 'wait', write: 'wait' },
}

/** The operations that must have ended before a state is reached. */
const ENDED_IN: Readonly<Record<GateState, readonly OperationKind[]>> = {
  open: [],
  'reads-only': ['write'],
  closed: ['read', 'write'],
}

export interface NarrowOptions {
  readonly timeoutMs: number
  /** Waits for work elsewhere. @default nothing */
  readonly andThen?: ((options: { readonly timeoutMs: number }) => Promise<void>) | undefined
}

export class OperationGate {
  readonly #inFlight: Record<OperationKind, number> = { read: 0, write: 0 }
  #state: GateState = 'open'
  #watchers: (() => void)[] = []

  get state(): GateState {
    return this.#state
  }

  /** The number of operations in flight, iterations included. */
  get inFlight(): number {
    return this.#inFlight.read + this.#inFlight.write
  }

  /** Runs an operation now, or when the gate lets it through. Rejects with `restore_in_progress` if the gate refuses it. */
  async run<T>(kind: OperationKind, operation: () => Promise<T>): Promise<T> {
    while (ADMISSION[this.#state][kind] !== 'pass') await this.pass(kind)
    this.#inFlight[kind] += 1
    try {
      return await operation()
    } finally {
      this.#end(kind)
    }
  }

  /** Runs an iteration, which is in flight from its first step until it ends or is left. */
  async *iterate<T>(open: () => AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    while (ADMISSION[this.#state].read !== 'pass') await this.pass('read')
    this.#inFlight.read += 1
    try {
      yield* open()
    } finally {
      this.#end('read')
    }
  }

  /** Waits until an operation of this kind may start, without counting it. Rejects with `restore_in_progress` if the gate refuses it. */
  async pass(kind: OperationKind): Promise<void> {
    while (ADMISSION[this.#state][kind] === 'wait') await this.#change()
    if (ADMISSION[this.#state][kind] === 'refuse') {
      throw new RestoreInProgressError('Cannot write to the store: it is being restored')
    }
  }

  /**
   * Narrows the gate, waits until the operations that it no longer admits have ended, then for `andThen`, with the time left.
   *
   * Rejects with `store_not_drained` when that takes longer than `timeoutMs`, and as `andThen` does; the gate then takes its former state.
   * Also rejects with `store_not_drained` when the gate is opened meanwhile.
   */
  async narrow(to: 'reads-only' | 'closed', { timeoutMs, andThen }: NarrowOptions): Promise<void> {
    checkWaitMs('timeoutMs', timeoutMs)
    const before = this.#state
    // A gate that is narrower already stays so.
    const state = before === 'closed' ? before : to
    this.#set(state)
    const deadline = performance.now() + timeoutMs
    while (ENDED_IN[to].some((kind) => this.#inFlight[kind] > 0)) {
      const inTime = await this.#changeWithin(deadline - performance.now())
      this.#checkStill(state)
      if (inTime) continue
      this.#set(before)
      const { read, write } = this.#inFlight
      throw new StoreNotDrainedError(`Cannot drain the store: ${read} reads and ${write} writes have not ended after ${timeoutMs} ms`, {
        details: { reads: read, writes: write, timeoutMs },
      })
    }
    try {
      await andThen?.({ timeoutMs: Math.max(1, deadline - performance.now()) })
    } catch (error) {
      if (this.#state === state) this.#set(before)
      throw error
    }
    this.#checkStill(state)
  }

  /** Lets everything through again, waiting operations first. Idempotent. */
  open(): void {
    this.#set('open')
  }

  #checkStill(state: GateState): void {
    if (this.#state !== state) throw new StoreNotDrainedError('Cannot drain the store: it was resumed meanwhile')
  }

  #end(kind: OperationKind): void {
    this.#inFlight[kind] -= 1
    if (this.#state !== 'open') this.#notify()
  }

  #set(state: GateState): void {
    this.#state = state
    this.#notify()
  }

  #notify(): void {
    const watchers = this.#watchers
    this.#watchers = []
    for (const wake of watchers) wake()
  }

  async #change(): Promise<void> {
    await new Promise<void>((resolve) => this.#watchers.push(resolve))
  }

  /** Waits for a change. Resolves with false when none came in time. */
  async #changeWithin(timeoutMs: number): Promise<boolean> {
    if (timeoutMs <= 0) return false
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<false>((resolve) => {
      timer = setTimeout(resolve, timeoutMs, false)
    })
    try {
      return await Promise.race([late, this.#change().then(() => true as const)])
    } finally {
      clearTimeout(timer)
    }
  }
}
