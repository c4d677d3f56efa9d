/** A payload store in memory, and references that a test sets. */
import type { PayloadReferences, PayloadStore, PayloadStoreOptions, StoredPayload } from '../../src/contracts/payload-store.ts'

export class PayloadMap implements PayloadStore {
  readonly url: string = 'map:payloads'
  readonly payloads: Map<string, StoredPayload> = new Map()
  pageSize: number = 2
  #versions = 0

  constructor(payloadIds: Iterable<string> = []) {
    for (const payloadId of payloadIds) this.put(payloadId)
  }

  put(payloadId: string, ageMs?: number): void {
    this.payloads.set(payloadId, { payloadId, version: `v${++this.#versions}`, bytes: 10, ageMs })
  }

  get ids(): readonly string[] {
    return [...this.payloads.keys()].toSorted()
  }

  async *list({ after = '', signal }: { readonly after?: string | undefined; readonly signal?: AbortSignal | undefined } = {}): AsyncGenerator<readonly StoredPayload[], void, undefined> {
    const ids = this.ids.filter((payloadId) => payloadId > after)
    for (let from = 0; from < ids.length; from += this.pageSize) {
      signal?.throwIfAborted()
      yield ids.slice(from, from + this.pageSize).flatMap((payloadId) => this.payloads.get(payloadId) ?? [])
    }
  }

  async exists(payloadIds: readonly string[], { signal }: PayloadStoreOptions = {}): Promise<readonly boolean[]> {
    signal?.throwIfAborted()
    return payloadIds.map((payloadId) => this.payloads.has(payloadId))
  }

  async deleteUnchanged(payloads: readonly StoredPayload[], { signal }: PayloadStoreOptions = {}): Promise<readonly string[]> {
    signal?.throwIfAborted()
    return payloads.filter(({ payloadId, version }) => this.payloads.get(payloadId)?.version === version && this.payloads.delete(payloadId)).map(({ payloadId }) => payloadId)
  }
}

/** A store that refers to some payloads, whatever they are when it is asked. */
export function referencesTo(payloadIds: () => Iterable<string>, storeId: string = 'store'): PayloadReferences {
  return {
    storeId,
    async *payloadIds() {
      yield* [...new Set(payloadIds())].toSorted()
    },
  }
}
