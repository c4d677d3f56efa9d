/**
 * Keeps the union of all held sets of payload IDs, with a bit for each set that has an ID.
 *
 * The union stays on local disk between sweeps, so that the next sweep reads it and fetches only new sets.
 * A set that is no longer held loses its bit, with nothing to fetch; an ID without any bit is not held.
 * A damaged union is built again from the sets.
 *
 * A few new sets stay outside the union, as copies on local disk: reading each of them costs less than writing the union again.
 */
import { createHash, type Hash } from 'node:crypto'
import type { PayloadIdsName } from '../../contracts/hold-events.ts'
import { ByteReader } from '../../format/byte-reader.ts'
import { checkedBytes } from '../../util/checked-bytes.ts'
import { BlockEncoder, decodePayloadIdLists, type IdList, type IdLists, type MergedList, mergeRuns, pickedFrom } from '../../payload-ids/index.ts'
import { checkedPayloadIds } from '../leases/payload-ids-cache.ts'
import { HeldIds, isEmptyRow, maskOf, type SetBeside, takeWords, WORD_BITS } from './held-ids.ts'
import type { HoldSource, ReadHoldsOptions } from './hold-source.ts'
import { type StoredUnion, UNION_PARTS, type UnionDescription, type UnionDraft, type UnionPart, type UnionStore } from './union-store.ts'

/** Sets that are merged at once. With the union, each has a bit of one number. */
const MERGED_SETS = 16
/** The most new sets that are not merged. Every sweep reads each of them. */
const MAX_SETS_BESIDE = 4
/** Bytes gathered before a write. */
const WRITE_BYTES: number = 256 * 1024
/** IDs between two calls of `onTurn`. */
const TURN_IDS = 65_536
/** Blocks of IDs or chunks of a part, between two calls of `onTurn`. */
const TURN_PARTS = 32

/**
 * Reads the union of sets, starting from the stored union where there is one, and stores the result.
 * Rejects with what a source rejects with, and with what the union store rejects with when a write fails.
 */
export async function readUnion(sources: readonly HoldSource[], unions: UnionStore, options: ReadHoldsOptions = {}): Promise<HeldIds> {
  const stored = await unions.open()
  if (stored !== undefined) {
    try {
      return await updateUnion(stored, sources, { ...options, unions })
    } catch (error) {
      if (!(error instanceof DamagedUnionError)) throw error
    }
  }
  return await updateUnion(undefined, sources, { ...options, unions })
}

/** Thrown when the stored union is not what its description says. */
class DamagedUnionError extends Error {}

type UnionOptions = ReadHoldsOptions & { readonly unions: UnionStore }

/** Brings the stored union up to date with the sets that are held now. Takes the union over and closes it. */
async function updateUnion(stored: StoredUnion | undefined, sources: readonly HoldSource[], options: UnionOptions): Promise<HeldIds> {
  let union = stored
  const sets = stillHeld(stored?.description.sets ?? [], sources)
  const added = sources.filter(({ name }) => !sets.some((set) => isSame(set, name)))
  const beside: SetBeside[] = []
  try {
    if (union !== undefined && added.length <= MAX_SETS_BESIDE && (await openCopies(added, beside))) {
      for (const part of UNION_PARTS) await readThrough(checkedPart(union, part), options)
      for (const { name, set } of beside) await readThrough(decodePayloadIdLists(checkedPayloadIds(name, set.read())), options)
      return new HeldIds(union, sets, { beside })
    }
    await closeAll(beside)
    let merged = sets
    for (let from = 0; union === undefined || from < added.length; from += MERGED_SETS) {
      const pass = new Pass(merged.some((set) => set !== null) ? union : undefined, { sets: merged, added: added.slice(from, from + MERGED_SETS) })
      const next = await pass.run(options)
      await union?.close()
      union = next
      merged = next.description.sets
    }
    return new HeldIds(union, merged, { beside: [] })
  } catch (error) {
    await Promise.all([union?.close(), closeAll(beside)])
    throw error
  }
}

/** Opens a copy of each set; false when one of them has no copy. */
async function openCopies(sources: readonly HoldSource[], copies: SetBeside[]): Promise<boolean> {
  for (const source of sources) {
    const set = await source.openCopy()
    if (set === undefined) return false
    copies.push({ name: source.name, set })
  }
  return true
}

async function closeAll(sets: SetBeside[]): Promise<void> {
  await Promise.all(sets.splice(0).map(({ set }) => set.close()))
}

/** Reads to the end, where the checksum is compared. */
async function readThrough(parts: AsyncIterable<unknown>, { signal, onTurn }: ReadHoldsOptions): Promise<void> {
  let read = 0
  for await (const _ of parts) {
    if (read++ % TURN_PARTS > 0) continue
    signal?.throwIfAborted()
    await onTurn?.()
  }
}

/** The sets of a union that are still held, in their places. */
function stillHeld(sets: UnionDescription['sets'], sources: readonly HoldSource[]): readonly (PayloadIdsName | null)[] {
  const held = sets.map((set) => (sources.some(({ name }) => isSame(set, name)) ? set : null))
  return held.slice(0, held.findLastIndex((set) => set !== null) + 1)
}

function isSame(set: PayloadIdsName | null, name: PayloadIdsName): boolean {
  return set !== null && set.sha256 === name.sha256 && set.bytes === name.bytes
}

/** Merges some sets into a union, or into a new one, and stores the result. */
class Pass {
  readonly #union: StoredUnion | undefined
  readonly #sources: readonly HoldSource[]
  readonly #sets: (PayloadIdsName | null)[]
  /** The bit of each source, as its word and its value there. */
  readonly #bits: { readonly word: number; readonly bit: number }[] = []
  readonly #words: number
  /** The bits of the union's sets that are still held. */
  readonly #mask: Uint32Array
  readonly #oldRows: ByteReader | undefined

  constructor(union: StoredUnion | undefined, { sets, added }: { readonly sets: readonly (PayloadIdsName | null)[]; readonly added: readonly HoldSource[] }) {
    this.#union = union
    this.#sources = added
    this.#sets = union === undefined ? [] : [...sets]
    this.#mask = maskOf(this.#sets, union?.description.words ?? 0)
    this.#oldRows = union && new ByteReader(checkedPart(union, 'rows'))
    for (const { name } of added) {
      const free = this.#sets.indexOf(null)
      const at = free === -1 ? this.#sets.length : free
      this.#sets[at] = name
      this.#bits.push({ word: Math.floor(at / WORD_BITS), bit: 2 ** (at % WORD_BITS) })
    }
    this.#words = Math.max(1, Math.ceil(this.#sets.length / WORD_BITS))
  }

  async run({ unions, signal, onTurn }: UnionOptions): Promise<StoredUnion> {
    const draft = await unions.create()
    const writer = new UnionWriter(draft)
    try {
      const runs = this.#sources.map((source): IdLists => decodePayloadIdLists(source.read()))
      if (this.#union !== undefined) runs.unshift(damagedBy(decodePayloadIdLists(checkedPart(this.#union, 'payload-ids'))))
      let turnIds = 0
      for await (const merged of mergeRuns(runs)) {
        const { list, rows } = await this.#kept(merged)
        await writer.add(list, rows)
        turnIds += merged.count
        if (turnIds < TURN_IDS) continue
        turnIds = 0
        signal?.throwIfAborted()
        await onTurn?.()
      }
      if (this.#oldRows !== undefined && !(await damageOnFailure(this.#oldRows.atEnd()))) throw damaged(new Error('There are more rows than IDs'))
      return await writer.keep({ sets: this.#sets, words: this.#words })
    } catch (error) {
      await writer.settled()
      await draft.abort()
      throw error
    } finally {
      await this.#oldRows?.close()
    }
  }

  /** The merged IDs that some set has, with their rows. */
  async #kept(merged: MergedList): Promise<{ readonly list: IdList; readonly rows: Uint32Array }> {
    const { count, runs } = merged
    const words = this.#words
    const rows = new Uint32Array(count * words)
    const sources = this.#oldRows === undefined ? runs : runs.map((bits) => bits >>> 1)
    if (this.#oldRows !== undefined) await this.#copyOldRows(this.#oldRows, runs, rows)
    let isWhole = true
    for (let index = 0; index < count; index++) {
      for (let bits = sources[index] as number; bits !== 0; bits &= bits - 1) {
        const { word, bit } = this.#bits[31 - Math.clz32(bits & -bits)] as { word: number; bit: number }
        rows[index * words + word]! |= bit
      }
      isWhole &&= !isEmptyRow(rows, index * words, words)
    }
    return isWhole ? { list: merged, rows } : withoutEmptyRows(merged, rows, words)
  }

  async #copyOldRows(oldRows: ByteReader, runs: Uint32Array, rows: Uint32Array): Promise<void> {
    let known = 0
    for (const bits of runs) known += bits & 1
    const mask = this.#mask
    const old = await damageOnFailure(takeWords(oldRows, known * mask.length))
    const copied = Math.min(mask.length, this.#words)
    let from = 0
    for (let index = 0; index < runs.length; index++) {
      if (((runs[index] as number) & 1) === 0) continue
      for (let word = 0; word < copied; word++) rows[index * this.#words + word] = (old[from + word] as number) & (mask[word] as number)
      from += mask.length
    }
  }
}

class UnionWriter {
  readonly #draft: UnionDraft
  readonly #encoder: BlockEncoder
  readonly #pending: Record<UnionPart, Uint8Array[]> = { 'payload-ids': [], rows: [] }
  readonly #pendingBytes: Record<UnionPart, number> = { 'payload-ids': 0, rows: 0 }
  readonly #bytes: Record<UnionPart, number> = { 'payload-ids': 0, rows: 0 }
  /** The write under way while more is merged. */
  #written: Promise<void> = Promise.resolve()
  readonly #hashes: Record<UnionPart, Hash> = { 'payload-ids': createHash('sha256'), rows: createHash('sha256') }

  constructor(draft: UnionDraft) {
    this.#draft = draft
    this.#encoder = new BlockEncoder((bytes) => this.#put('payload-ids', bytes))
  }

  async add(list: IdList, rows: Uint32Array): Promise<void> {
    this.#encoder.add(list)
    this.#put('rows', new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength))
    for (const part of UNION_PARTS) if (this.#pendingBytes[part] >= WRITE_BYTES) await this.#flush(part)
  }

  async keep(description: Pick<UnionDescription, 'sets' | 'words'>): Promise<StoredUnion> {
    this.#encoder.end()
    for (const part of UNION_PARTS) await this.#flush(part)
    await this.#written
    const nameOf = (part: UnionPart): { bytes: number; sha256: string } => ({ bytes: this.#bytes[part], sha256: this.#hashes[part].digest('hex') })
    return await this.#draft.keep({ ...description, count: this.#encoder.count, parts: { 'payload-ids': nameOf('payload-ids'), rows: nameOf('rows') } })
  }

  /** Resolves when nothing is being written. */
  async settled(): Promise<void> {
    await this.#written.catch(() => undefined)
  }

  #put(part: UnionPart, bytes: Uint8Array): void {
    this.#pending[part].push(bytes)
    this.#pendingBytes[part] += bytes.byteLength
  }

  async #flush(part: UnionPart): Promise<void> {
    const chunks = this.#pending[part]
    this.#bytes[part] += this.#pendingBytes[part]
    this.#pending[part] = []
    this.#pendingBytes[part] = 0
    for (const chunk of chunks) this.#hashes[part].update(chunk)
    await this.#written
    this.#written = this.#draft.write(part, chunks)
    // The next await sees the failure; without one it must not become an unhandled rejection.
    this.#written.catch(() => undefined)
  }
}

/** The bytes of a part. The stream ends only if they are those of the description, else it fails. */
function checkedPart(union: StoredUnion, part: UnionPart): AsyncGenerator<Uint8Array, void, undefined> {
  return damagedBy(checkedBytes(union.read(part), union.description.parts[part], () => damaged(undefined)))
}

/** Yields the same items; a failure becomes a `DamagedUnionError`. */
async function* damagedBy<T>(source: AsyncGenerator<T, void, undefined>): AsyncGenerator<T, void, undefined> {
  try {
    yield* source
  } catch (cause) {
    throw damaged(cause)
  }
}

async function damageOnFailure<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (cause) {
    throw damaged(cause)
  }
}

function damaged(cause: unknown): DamagedUnionError {
  return cause instanceof DamagedUnionError ? cause : new DamagedUnionError('The stored union of payload IDs is damaged', { cause })
}

function withoutEmptyRows(list: IdList, rows: Uint32Array, words: number): { readonly list: IdList; readonly rows: Uint32Array } {
  const isKept = Array.from({ length: list.count }, (_, index) => !isEmptyRow(rows, index * words, words))
  return { list: pickedFrom(list, isKept), rows: rows.filter((_, at) => isKept[Math.floor(at / words)]) }
}
