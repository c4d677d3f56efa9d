/** What a store URL says, whatever its kind. */
import type { MetadataStore } from '../../contracts/metadata-store.ts'
import type { Swappable } from '../../contracts/swappable.ts'
import { InvalidArgumentError } from '../../errors/errors.ts'
import type { PayloadGuard, PostgresPace } from '../../stores/postgres/index.ts'

export interface OpenHomeOptions {
  /** Manage a plain database directory, or schema, from now on. @default false */
  readonly adopt?: boolean | undefined
  /** How a backup of the store treats the other sessions of its server. A LevelDB store has no other sessions. @default "gentle" */
  readonly pace?: PostgresPace | undefined
}

export interface OpenStoreOptions extends OpenHomeOptions {
  /** Create the store where there is none. @default false */
  readonly create?: boolean | undefined
}

/** A store's home without its service: what a restore or a rollback works on. */
export type StoreHome = Swappable & { close(): Promise<void> }

/** Payloads of a store are needed by any number of processes at a time, or swept by one. */
export type PayloadUse = 'need' | 'sweep'

/** A store URL that was understood. The driver is loaded when one of its functions is called. */
export interface StoreAddress {
  /** The URL as it may be shown: without secrets. */
  readonly shown: string
  /** Where the store's catalog is, unless another one is named: a path. */
  readonly catalogPath: string
  /** The directory of this machine that the store writes to, if there is one. */
  readonly directory?: string | undefined
  /** Where a trial restore of this kind of store can be made, without being told of another place: a URL, with its secrets. */
  readonly trialUrl?: string | undefined
  /** Where the store is, made or not: an absolute URL, the same whichever way the store is named, and without secrets. */
  place(): Promise<string>
  openStore(options: OpenStoreOptions): Promise<MetadataStore>
  openHome(options: OpenHomeOptions): Promise<StoreHome>
  /** Keeps sweeps and the other uses of payloads apart. Missing where one process has the store for itself. */
  guardPayloads?(use: PayloadUse): Promise<PayloadGuard>
}

/** A kind of store: how its URLs are written and understood. */
export interface StoreKind {
  /** The form of its URLs, for hints. */
  readonly form: string
  /** Throws `invalid_argument`, and never repeats what may be a password. */
  parse(url: string): StoreAddress
}

/** The error that refuses a store URL. */
export function refuseStoreUrl(sentence: string, hint: string): InvalidArgumentError {
  return new InvalidArgumentError(`Cannot use this store URL: ${sentence}`, { hint })
}
