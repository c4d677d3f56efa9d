/** Checks that referenced payloads exist. */
import { PayloadMissingError } from '../errors/errors.ts'
import { MAX_PAYLOADS_PER_CALL, type PayloadStore } from '../contracts/payload-store.ts'

export interface CheckPayloadsOptions {
  readonly payloads: PayloadStore
  /** What refers to the payloads, for the error: "backup 01J..." */
  readonly what: string
  readonly signal?: AbortSignal | undefined
  /** Called with the number of payloads checked so far. */
  readonly onProgress?: ((payloads: number) => void) | undefined
}

/** The most IDs that an error names. */
const MAX_NAMED = 20

/**
 * Checks that every payload exists, and resolves with their number. Rejects with `payload_missing`, which names the first 20 missing ones
 * and counts all, with what the payload store rejects with, and with the signal's reason.
 */
export async function checkPayloadsExist(
  batches: AsyncIterable<readonly string[]>,
  { payloads, what, signal, onProgress }: CheckPayloadsOptions,
): Promise<number> {
  const missing: string[] = []
  let count = 0
  let looked = 0
  for await (const batch of batches) {
    for (let from = 0; from < batch.length; from += MAX_PAYLOADS_PER_CALL) {
      signal?.throwIfAborted()
      const payloadIds = batch.slice(from, from + MAX_PAYLOADS_PER_CALL)
      const found = await payloads.exists(payloadIds, { signal })
      for (const [index, payloadId] of payloadIds.entries()) {
        if (found[index] === true) continue
        count += 1
        if (missing.length < MAX_NAMED) missing.push(payloadId)
      }
      looked += payloadIds.length
      onProgress?.(looked)
    }
  }
  if (count === 0) return looked
  const which = count === 1 ? `payload "${missing[0]}"` : `${count} payloads, the first of them "${missing[0]}"`
  throw new PayloadMissingError(`Cannot find ${which}, in ${JSON.stringify(payloads.url)}: ${what} refers to ${count === 1 ? 'it' : 'them'}`, {
    details: { payloadIds: missing, count },
  })
}
