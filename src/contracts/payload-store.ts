/**
 * Contract 4: where a server keeps payloads, as garbage collection and verification see it.
 *
 * What every writer of the server must keep to: before anything comes to refer to a payload that nothing refers to, the payload is
 * written, or, when it is there already, renewed, which gives it another version; and the reference is made within the sweep's `minAgeMs`.
 */

/** A payload as the store lists it. */
export interface StoredPayload {
  readonly payloadId: string
  /** Another one whenever the payload was written or renewed: 1 to 255 characters of printable ASCII, no space. */
  readonly version: string
  readonly bytes: number
  /** Milliseconds since then by the store's own clock, negative when that was set back; `undefined` where it is not known. */
  readonly ageMs: number | undefined
}

/** Some payloads and their bytes. */
export interface Tally {
  readonly payloads: number
  readonly bytes: number
}

export interface PayloadStoreOptions {
  readonly signal?: AbortSignal | undefined
}

export interface PayloadStore {
  /** Where it is, for people, and to know it again; holds no secret. */
  readonly url: string

  /**
   * All payloads with IDs greater than `after`, in ascending order, some hundreds or thousands at a time. What comes and goes meanwhile may
   * be listed or not. A list that cannot be completed rejects; it never just ends.
   */
  list(options?: PayloadStoreOptions & { readonly after?: string | undefined }): AsyncIterable<readonly StoredPayload[]>
  /** Whether each payload is there and whole, as far as that is known without reading it; in the order of the IDs, at most 1,000. */
  exists(payloadIds: readonly string[], options?: PayloadStoreOptions): Promise<readonly boolean[]>
  /**
   * Deletes each payload that still has the version it was listed with, and resolves with the IDs of those. One that was written or renewed
   * meanwhile stays, also when that happens at the same instant. What is gone already is fine. One that cannot be deleted, while others can, is left out:
   * a rejection ends the sweep. At most 1,000.
   */
  deleteUnchanged(payloads: readonly StoredPayload[], options?: PayloadStoreOptions): Promise<readonly string[]>
}

/** The most payloads of one call. */
export const MAX_PAYLOADS_PER_CALL = 1000

/** A store that refers to payloads; every `MetadataStore` is one. */
export interface PayloadReferences {
  readonly storeId: string
  /** Every payload ID that anything in the store refers to, ascending, each once: of one instant, at or after the first step. */
  payloadIds(): AsyncIterable<string>
  /** The same, with what a state of the store that is kept for rollback refers to. */
  retainedPayloadIds?(): AsyncIterable<string>
}
