/** The contract of a parsed store URL, for every kind of store. */
import type { MetadataStore } from '../../contracts/metadata-store.ts'
import type { PayloadGuard } from '../../contracts/payload-store.ts'
import type { Swappable } from '../../contracts/swappable.ts'
import { BOOLEAN, type OptionKinds, oneOf, optional } from '../../util/check-options.ts'
import { InvalidArgumentError } from '../../errors/errors.ts'

export interface OpenHomeOptions {
  /** Whether to take over a plain database directory or schema. @default false */
  readonly adopt?: boolean | undefined
  /** How a backup of the store treats the other sessions of its server. A LevelDB store has no other sessions. @default "gentle" */
  readonly pace?: 'gentle' | 'full' | undefined
}

export interface OpenStoreOptions extends OpenHomeOptions {
  /** Whether to create a missing store. @default false */
  readonly create?: boolean | undefined
}

export const HOME_OPTIONS: OptionKinds<OpenHomeOptions> = { adopt: optional(BOOLEAN), pace: optional(oneOf(['gentle', 'full'])) }
export const STORE_OPTIONS: OptionKinds<OpenStoreOptions> = { ...HOME_OPTIONS, create: optional(BOOLEAN) }

/** A store's home, not in service, for a restore or a rollback. */
export type StoreHome = Swappable & { close(): Promise<void> }

/** The use of a store's payloads: any number of processes need them, or one sweeps them. */
export type PayloadUse = 'need' | 'sweep'

/** A parsed store URL. Its functions load the driver. */
export interface StoreAddress {
  /** The URL without secrets, to be shown. */
  readonly shown: string
  /**
   * The path of the store's catalog, unless another one is named: one for a store, whichever way it is named. `storeIdIfNone` is the ID
   * that a restore will give the store where there is none. Rejects with `catalog_unavailable` where the catalog cannot be found.
   */
  catalogPath(storeIdIfNone?: string): Promise<string>
  /** The local directory that the store writes to, if any. */
  readonly directory?: string | undefined
  /** The default place for trial restores of this kind of store: a URL with its secrets. */
  readonly trialUrl?: string | undefined
  /** The store's place, existing or not: an absolute URL without secrets, the same for every way to name the store. */
  place(): Promise<string>
  openStore(options: OpenStoreOptions): Promise<MetadataStore>
  openHome(options: OpenHomeOptions): Promise<StoreHome>
  /** Keeps sweeps and other uses of payloads apart. Missing for stores that only one process can open. */
  guardPayloads?(use: PayloadUse): Promise<PayloadGuard>
}

/** A kind of store: the form of its URLs, and their parser. */
export interface StoreKind {
  /** The form of its URLs, for hints. */
  readonly form: string
  /** Throws `invalid_argument`, which never repeats a possible password. */
  parse(url: string): StoreAddress
}

/** The error for a bad store URL. */
export function refuseStoreUrl(sentence: string, hint: string): InvalidArgumentError {
  return new InvalidArgumentError(`Cannot use this store URL: ${sentence}`, { hint })
}
