/**
 * Contract 4: a server's payload store, as garbage collection and verification see it.
 *
 * The rule for every writer of the server: before adding a reference to an unreferenced payload, write the payload, or, if it is already
 * there, renew it, which gives it another version. Then add the reference within the sweep's `minAgeMs`.
 */
import type { NotedWarning } from '../util/noted-warnings.ts'

/** A payload as the store lists it. */
export interface StoredPayload {
  readonly payloadId: string
  /** Changes whenever the payload is written or renewed: 1 to 255 characters of printable ASCII, no space. */
  readonly version: string
  readonly bytes: number
  /** Milliseconds since the version was made, by the store's clock (negative if that was set back); `undefined` if not known. */
  readonly ageMs: number | undefined
}

/** A count of payloads, and their bytes. */
export interface Tally {
  readonly payloads: number
  readonly bytes: number
}

export interface PayloadStoreOptions {
  readonly signal?: AbortSignal | undefined
}

export interface PayloadStore {
  /** The URL of the store, for people and to recognize the store; holds no secret. */
  readonly url: string

  /**
   * All payloads with IDs greater than `after`, in ascending order, some hundreds or thousands at a time. Payloads that come or go
   * meanwhile may be missing from the list. A listing that cannot be completed rejects.
   */
  list(options?: PayloadStoreOptions & { readonly after?: string | undefined }): AsyncIterable<readonly StoredPayload[]>
  /** Whether each payload is there and whole, as far as the store knows without reading; in the order of the IDs, at most 1,000. */
  exists(payloadIds: readonly string[], options?: PayloadStoreOptions): Promise<readonly boolean[]>
  /**
   * Deletes each payload that still has the version it was listed with, and resolves with the deleted IDs. A payload that is written or
   * renewed meanwhile, even at the same instant, stays. A payload that is gone already is fine. One that cannot be deleted, while others
   * can, is left out: a rejection ends the sweep. At most 1,000.
   */
  deleteUnchanged(payloads: readonly StoredPayload[], options?: PayloadStoreOptions): Promise<readonly string[]>
}

/** The most payloads in one call. */
export const MAX_PAYLOADS_PER_CALL = 1000

/** A store that uses a payload store. Copies of a store share its ID, so only ID and place together identify one. */
export interface PayloadUser {
  readonly storeId: string
  /** The result of `placeOf`. */
  readonly place: string
}

/** A store that a payload store has recorded. */
export interface KnownUser {
  readonly storeId: string
  /** `undefined` if only the ID was recorded: the store may be anywhere. */
  readonly place: string | undefined
  /** The file that records the store. */
  readonly path: string
}

/** A payload store that Holdfast can also write and read, as `import` and `export` do, and that records which stores use it. */
export interface WritablePayloadStore extends PayloadStore {
  /** Stores a payload durably, or renews it when it is there already. Resolves with whether it was written. */
  put(payloadId: string, bytes: Uint8Array): Promise<boolean>
  /** Makes the names of all payloads written so far durable. */
  sync(): Promise<void>
  /** Reads a whole payload. Rejects when it is missing (`backup_incomplete`) or does not match its ID (`checksum_mismatch`). */
  read(payloadId: string): Promise<Uint8Array>
  /** Removes what killed writers left a day ago or earlier. Others may write meanwhile. */
  removeAbandoned(): Promise<void>
  /** Records, durably, that a store uses this payload store. */
  addUser(user: PayloadUser): Promise<void>
  /** Finds another store that uses this payload store; no sweep runs while there is one. Rejects with `hold_unavailable`. */
  otherUser(user: PayloadUser): Promise<KnownUser | undefined>
  /** Throws if some payloads could not be deleted, with their number and the first reason. */
  checkDeleted(): void
  /** What the storage turned out not to do and the store does without, once while it is open. @default none */
  takeWarnings?(): readonly NotedWarning[]
}

/** Keeps harmful users of a store's payloads off until it is ended. */
export interface PayloadGuard {
  /** Aborts when the connection broke, and with it the guard; its reason is `store_unavailable`. */
  readonly signal: AbortSignal
  /** Rejects with `store_unavailable` when the guard is lost: then nothing may be deleted, or come to refer to a payload. */
  check(): Promise<void>
  /** Idempotent. Never rejects. */
  end(): Promise<void>
}

/** A store that refers to payloads; every `MetadataStore` is one. */
export interface PayloadReferences {
  readonly storeId: string
  /** Every payload ID that anything in the store refers to, ascending, each once, at one instant at or after the first read. */
  payloadIds(): AsyncIterable<string>
  /** Like `payloadIds`, and also those of the state that the store keeps for rollback. */
  retainedPayloadIds?(): AsyncIterable<string>
}
