/** The world of a simulation: what is in each place, and what must never be. */
import type { CatalogEvent } from '../../src/contracts/catalog.ts'
import { Scheduler } from './scheduler.ts'

export const MIN_AGE_MS = 80

export interface StoredBackup {
  payload: Uint8Array[]
  payloadIds: Uint8Array[]
  manifest: Uint8Array | undefined
  /** The payload IDs as the test knows them. */
  needs: ReadonlySet<string>
}

export interface Engine {
  /** Files and their payloads. */
  readonly files: Map<string, string>
}

export class World {
  readonly scheduler: Scheduler
  /** The catalog, as it is on disk. */
  readonly events: CatalogEvent[] = []
  /** The payload store: versions, and when each was renewed by its wall clock. */
  readonly payloads: Map<string, { readonly version: string; readonly atMs: number }> = new Map()
  readonly backups: Map<string, StoredBackup> = new Map()
  isMounted: boolean = true
  readonly engines: Map<string, Engine> = new Map()
  live: string | undefined
  previous: string | undefined
  isDrained: boolean = false
  /** What the wall clock is ahead of the steady one. */
  clockErrorMs: number = 1_700_000_000_000
  /** How often something fails. */
  failureRate: number = 0
  deleted: number = 0
  /** The first thing that must never be. */
  violation: Error | undefined
  #versions = 0

  constructor(seed: number) {
    this.scheduler = new Scheduler(seed)
    this.engines.set('engine-0', { files: new Map() })
    this.live = 'engine-0'
  }

  wallMs(): number {
    return Math.floor(this.scheduler.nowMs + this.clockErrorMs)
  }

  fails(): boolean {
    return this.failureRate > 0 && this.scheduler.random() < this.failureRate
  }

  renew(payloadId: string): void {
    this.payloads.set(payloadId, { version: `v${++this.#versions}`, atMs: this.wallMs() })
  }

  get liveFiles(): Map<string, string> {
    return this.engines.get(this.live ?? '')?.files ?? new Map()
  }

  /** What the live store and the one kept for rollback refer to. */
  retained(): Set<string> {
    return new Set([...this.liveFiles.values(), ...(this.engines.get(this.previous ?? '')?.files.values() ?? [])])
  }

  listed(): [string, StoredBackup][] {
    return [...this.backups].filter(([, { manifest }]) => manifest !== undefined)
  }

  /** Everything that must be there. */
  needed(): Set<string> {
    return new Set([...this.retained(), ...this.listed().flatMap(([, { needs }]) => [...needs])])
  }

  remove(payloadId: string): void {
    if (this.retained().has(payloadId)) this.#violated(`${payloadId} was deleted, and the store refers to it`)
    for (const [backupId, { needs }] of this.listed()) {
      if (needs.has(payloadId)) this.#violated(`${payloadId} was deleted, and backup ${backupId} needs it`)
    }
    this.payloads.delete(payloadId)
    this.deleted += 1
  }

  #violated(what: string): void {
    this.violation ??= new Error(what)
  }

  /** Called whenever something comes to refer to payloads. */
  checkThere(payloadIds: Iterable<string>, what: string): void {
    for (const payloadId of payloadIds) if (!this.payloads.has(payloadId)) this.#violated(`${what} needs ${payloadId}, which is deleted`)
  }
}

