/** Placeholder types, replaced by the implementation. */
export interface PayloadIdSet extends AsyncIterable<string> {
  /** How many IDs. */
  readonly size: number
  /** SHA-256 over the IDs in ascending order, each followed by a line feed; lower-case hex. */
  readonly digest: string
  /** Whether an ID is in the set. */
  has(payloadId: string): Promise<boolean>
  /** The set as the bytes of a `payload-ids` object. */
  encoded(): AsyncIterable<Uint8Array>
  /** Frees the memory and the spill file. Idempotent. */
  close(): Promise<void>
}
