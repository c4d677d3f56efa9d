/** All held payload IDs, and which of the held sets has each. */
import type { PayloadIdsName } from '../../contracts/hold-events.ts'
import { RestoreCorruptError } from '../../errors/errors.ts'
import { ByteReader } from '../../format/byte-reader.ts'
import { BLOCK_IDS, decodePayloadIdLists } from '../../payload-ids/index.ts'
import type { StoredSet } from '../leases/payload-ids-cache.ts'
import type { IdPart } from './id-cursor.ts'
import { IdPage } from './id-page.ts'
import type { StoredUnion } from './union-store.ts'

export interface HeldPart extends IdPart {
  /** For each ID a row of 32-bit words, one bit for each set that has the ID. An ID without any bit of the mask is not held. */
  readonly rows: Uint32Array
}

/** IDs of some of the sets, in ascending order. */
export interface HeldStream {
  /** The first word of the mask that belongs to this stream. */
  readonly word: number
  /** Words of a row. */
  readonly words: number
  /** Reads the IDs. May be called several times, also at once. */
  parts(): AsyncGenerator<HeldPart, void, undefined>
}

/** A set outside the union, in a copy of its own. */
export interface SetBeside {
  readonly name: PayloadIdsName
  readonly set: StoredSet
}

export const WORD_BITS = 32

/** All held payload IDs, checked. The caller closes it. */
export class HeldIds implements AsyncDisposable {
  /** The sets, by their bits; `null` where there is none. */
  readonly sets: readonly (PayloadIdsName | null)[]
  /** The bits of the sets; as many words as a row of all streams has. */
  readonly mask: Uint32Array
  readonly #union: StoredUnion
  readonly #beside: readonly SetBeside[]

  /** Takes over the union, its sets that are held, and at most 32 sets outside it. */
  constructor(union: StoredUnion, sets: readonly (PayloadIdsName | null)[], { beside }: { readonly beside: readonly SetBeside[] }) {
    const { words } = union.description
    const all = [...sets]
    for (const [index, { name }] of beside.entries()) {
      while (all.length < words * WORD_BITS + index) all.push(null)
      all.push(name)
    }
    this.sets = all
    this.mask = maskOf(all, words + Math.ceil(beside.length / WORD_BITS))
    this.#union = union
    this.#beside = beside
  }

  /** The streams: an ID is held if one of them has it. */
  streams(): readonly HeldStream[] {
    const { words } = this.#union.description
    const beside = this.#beside.map(({ set }, index) => ({ word: words, words: 1, parts: () => partsOf(set, 2 ** index) }))
    return [{ word: 0, words, parts: () => this.#unionParts() }, ...beside]
  }

  async close(): Promise<void> {
    await Promise.all([this.#union.close(), ...this.#beside.map(({ set }) => set.close())])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async *#unionParts(): AsyncGenerator<HeldPart, void, undefined> {
    const rows = new ByteReader(this.#union.read('rows'))
    try {
      for await (const list of decodePayloadIdLists(this.#union.read('payload-ids'))) {
        yield { page: IdPage.from(list), rows: await takeWords(rows, list.count * this.#union.description.words) }
      }
    } finally {
      await rows.close()
    }
  }
}

/** The IDs of one set, all with its bit. */
async function* partsOf(set: StoredSet, bit: number): AsyncGenerator<HeldPart, void, undefined> {
  const rows = new Uint32Array(BLOCK_IDS).fill(bit)
  for await (const list of decodePayloadIdLists(set.read())) yield { page: IdPage.from(list), rows }
}

/** Reads the next words of the rows of a union. Rejects with `restore_corrupt` when there are fewer. */
export async function takeWords(rows: ByteReader, words: number): Promise<Uint32Array> {
  const bytes = await rows.read(words * Uint32Array.BYTES_PER_ELEMENT)
  if (bytes.byteLength < words * Uint32Array.BYTES_PER_ELEMENT) {
    throw new RestoreCorruptError('Cannot read the rows of held payload IDs: there are fewer than IDs', { offset: 0 })
  }
  // A copy, because words begin at a multiple of their size.
  return new Uint32Array(new Uint8Array(bytes).buffer)
}

export function maskOf(sets: readonly (PayloadIdsName | null)[], words: number): Uint32Array {
  const mask = new Uint32Array(words)
  for (const [at, set] of sets.entries()) if (set !== null) mask[Math.floor(at / WORD_BITS)]! |= 2 ** (at % WORD_BITS)
  return mask
}

export function isEmptyRow(rows: Uint32Array, at: number, words: number): boolean {
  for (let word = 0; word < words; word++) if (rows[at + word] !== 0) return false
  return true
}
