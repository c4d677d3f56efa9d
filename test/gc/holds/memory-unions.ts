/** Unions of held payload IDs and copies of sets in memory, as simple as can be. */
import type { PayloadIdsName } from '../../../src/contracts/hold-events.ts'
import type { HoldSource } from '../../../src/gc/holds/hold-source.ts'
import { checkedPayloadIds, type PayloadIdsCache } from '../../../src/gc/leases/payload-ids-cache.ts'
import type { StoredUnion, UnionDescription, UnionDraft, UnionPart, UnionStore } from '../../../src/gc/holds/union-store.ts'
import { collect } from '../../support/collect.ts'

type Parts = Record<UnionPart, Uint8Array[]>

export interface MemoryUnions extends UnionStore {
  kept: { readonly description: UnionDescription; readonly parts: Parts } | undefined
  /** Flips a bit of what is kept; a reader that has it open sees nothing of it. */
  damage(random: () => number): void
}

export function memoryUnions(): MemoryUnions {
  const unions: MemoryUnions = {
    kept: undefined,
    damage(random) {
      if (unions.kept === undefined) return
      const part: UnionPart = random() < 0.5 ? 'rows' : 'payload-ids'
      unions.kept = { ...unions.kept, parts: { ...unions.kept.parts, [part]: [flipped(Buffer.concat(unions.kept.parts[part]), random)] } }
    },
    open: async () => unions.kept && storedUnion(unions.kept),
    async create(): Promise<UnionDraft> {
      const parts: Parts = { 'payload-ids': [], rows: [] }
      return {
        write: async (part, chunks) => void parts[part].push(Buffer.concat(chunks)),
        async keep(description) {
          unions.kept = { description, parts }
          return storedUnion(unions.kept)
        },
        abort: async () => {},
      }
    },
  }
  return unions
}

/** Copies of sets, by their SHA-256. */
export interface MemorySets extends PayloadIdsCache {
  /** Flips a bit of some; a reader that has one open sees nothing of it. */
  damage(random: () => number): void
}

export function memorySets(): MemorySets {
  const sets = new Map<string, Uint8Array>()
  return {
    damage(random) {
      for (const [sha256, bytes] of sets) if (random() < 0.5) sets.set(sha256, flipped(bytes, random))
    },
    async get({ sha256 }) {
      const bytes = sets.get(sha256)
      return bytes && { read: () => streamOf(bytes), close: async () => {} }
    },
    put: async (name, source) => void sets.set(name.sha256, Buffer.concat(await collect(checkedPayloadIds(name, source)))),
    drop: async ({ sha256 }) => void sets.delete(sha256),
    retain: async (names) => [...sets.keys()].filter((sha256) => !names.some((name) => name.sha256 === sha256)).forEach((sha256) => sets.delete(sha256)),
  }
}

/** A source that is read from a copy, where there is one. */
export function sourceWithCopy(name: PayloadIdsName, origin: () => AsyncIterable<Uint8Array>, sets?: PayloadIdsCache): HoldSource {
  async function* read(): AsyncGenerator<Uint8Array, void, undefined> {
    const copy = await sets?.get(name)
    try {
      yield* checkedPayloadIds(name, copy?.read() ?? origin())
    } finally {
      await copy?.close()
    }
  }
  return {
    name,
    holders: [],
    read,
    async openCopy() {
      const copy = await sets?.get(name)
      if (copy !== undefined || sets === undefined) return copy
      await sets.put(name, origin())
      return await sets.get(name)
    },
    forget: async () => await sets?.drop(name),
  }
}

async function* streamOf(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes
}

function flipped(bytes: Uint8Array, random: () => number): Uint8Array {
  const copy = Buffer.from(bytes)
  const at = Math.floor(random() * copy.byteLength)
  if (at < copy.byteLength) copy[at]! ^= 1 << Math.floor(random() * 8)
  return copy
}

function storedUnion({ description, parts }: NonNullable<MemoryUnions['kept']>): StoredUnion {
  return {
    description,
    async *read(part) {
      yield* parts[part]
    },
    close: async () => {},
  }
}
