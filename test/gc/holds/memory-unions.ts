/** Unions of held payload IDs in memory, as simple as can be. */
import type { PayloadIdsName } from '../../../src/contracts/hold-events.ts'
import type { StoredSet, StoredUnion, UnionDescription, UnionDraft, UnionPart, UnionStore } from '../../../src/gc/holds/union-store.ts'
import { collect } from '../../support/collect.ts'

type Parts = Record<UnionPart, Uint8Array[]>

export interface MemoryUnions extends UnionStore {
  /** Sets beside the union, by their SHA-256. */
  readonly sets: Map<string, Uint8Array>
  kept: { readonly description: UnionDescription; readonly parts: Parts } | undefined
  /** Flips a bit of what is kept; whoever has it open sees nothing of it. */
  damage(random: () => number): void
}

export function memoryUnions(): MemoryUnions {
  const unions: MemoryUnions = {
    kept: undefined,
    sets: new Map(),
    damage(random) {
      for (const [sha256, bytes] of unions.sets) if (random() < 0.5) unions.sets.set(sha256, flipped(bytes, random))
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
          unions.sets.clear()
          return storedUnion(unions.kept)
        },
        abort: async () => {},
      }
    },
    async openSet(name) {
      const bytes = unions.sets.get(name.sha256)
      return bytes && storedSet(name, bytes)
    },
    async keepSet(name, source, { others }) {
      const bytes = Buffer.concat(await collect(source))
      unions.sets.set(name.sha256, bytes)
      for (const sha256 of unions.sets.keys()) if (![name, ...others].some((set) => set.sha256 === sha256)) unions.sets.delete(sha256)
      return storedSet(name, bytes)
    },
  }
  return unions
}

function flipped(bytes: Uint8Array, random: () => number): Uint8Array {
  const copy = Buffer.from(bytes)
  const at = Math.floor(random() * copy.byteLength)
  if (at < copy.byteLength) copy[at]! ^= 1 << Math.floor(random() * 8)
  return copy
}

function storedSet(name: PayloadIdsName, bytes: Uint8Array): StoredSet {
  return {
    name,
    async *read() {
      yield bytes
    },
    close: async () => {},
  }
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
