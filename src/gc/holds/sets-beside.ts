/** Held sets of payload IDs that are not in the union of all, but kept beside it. */
import { BlockDecoder } from '../../payload-ids/block-decoder.ts'
import type { HoldSource, ReadHoldsOptions } from './hold-source.ts'
import { checkedPayloadIds } from '../leases/payload-ids-cache.ts'
import type { StoredSet, UnionStore } from './union-store.ts'

/** Between two calls of `onTurn`. */
const TURN_IDS = 65_536

/** Close them. */
export class SetsBeside {
  readonly #sources: readonly HoldSource[]
  readonly #options: ReadHoldsOptions & { readonly unions: UnionStore }
  /** What is open, checked, by the source. */
  readonly #sets = new Map<HoldSource, StoredSet>()

  constructor(sources: readonly HoldSource[], options: ReadHoldsOptions & { readonly unions: UnionStore }) {
    this.#sources = sources
    this.#options = options
  }

  /** Opens and checks what is kept already. What is damaged counts as not kept. */
  async open(): Promise<void> {
    const { unions, signal } = this.#options
    for (const source of this.#sources) {
      const set = await unions.openSet(source.name)
      if (set === undefined) continue
      const isWhole = await isChecked(set, this.#options)
      if (isWhole) this.#sets.set(source, set)
      else await set.close()
      signal?.throwIfAborted()
    }
  }

  /** The sources; what is kept is read from there. */
  get sources(): readonly HoldSource[] {
    return this.#sources.map((source) => {
      const set = this.#sets.get(source)
      return set === undefined ? source : { ...source, read: () => set.read() }
    })
  }

  /** All sets; those that are not kept are fetched first. Rejects with what a source rejects with, and with `restore_corrupt` for what is no list of payload IDs. */
  async all(): Promise<readonly StoredSet[]> {
    const others = this.#sources.map(({ name }) => name)
    const sets: StoredSet[] = []
    for (const source of this.#sources) {
      let set = this.#sets.get(source)
      set ??= await this.#options.unions.keepSet(source.name, wellFormed(source.read(), this.#options), { others })
      this.#sets.set(source, set)
      sets.push(set)
    }
    return sets
  }

  async close(): Promise<void> {
    await Promise.all([...this.#sets.values()].map((set) => set.close()))
  }
}

/** Whether a set is what its name says. */
async function isChecked(set: StoredSet, { signal, onTurn }: ReadHoldsOptions): Promise<boolean> {
  try {
    for await (const _ of checkedPayloadIds(set.name, set.read())) {
      signal?.throwIfAborted()
      await onTurn?.()
    }
    return true
  } catch {
    // Whatever it is, the set can be had from where it came from.
    return false
  }
}

/** The same bytes, whose end is only reached when they are a list of payload IDs: what is no such list must be found before anything is decided. */
async function* wellFormed(source: AsyncIterable<Uint8Array>, { signal, onTurn }: ReadHoldsOptions): AsyncGenerator<Uint8Array, void, undefined> {
  const decoder = new BlockDecoder()
  let turnIds = 0
  for await (const chunk of source) {
    for (const { count } of decoder.decode(chunk)) turnIds += count
    yield chunk
    if (turnIds < TURN_IDS) continue
    turnIds = 0
    signal?.throwIfAborted()
    await onTurn?.()
  }
  decoder.end()
}
