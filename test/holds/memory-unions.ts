/** Unions of held payload IDs in memory, as simple as can be. */
import { type StoredUnion, type UnionDescription, type UnionDraft, type UnionPart, type UnionStore } from '../../src/holds/union-store.ts'

type Parts = Record<UnionPart, Uint8Array[]>

export interface MemoryUnions extends UnionStore {
  kept: { readonly description: UnionDescription; readonly parts: Parts } | undefined
  /** Flips a bit of what is kept; whoever has it open sees nothing of it. */
  damage(random: () => number): void
}

export function memoryUnions(): MemoryUnions {
  const unions: MemoryUnions = {
    kept: undefined,
    damage(random) {
      if (unions.kept === undefined) return
      const part: UnionPart = random() < 0.5 ? 'rows' : 'payload-ids'
      const bytes = Buffer.concat(unions.kept.parts[part])
      const at = Math.floor(random() * bytes.byteLength)
      if (at < bytes.byteLength) bytes[at]! ^= 1 << Math.floor(random() * 8)
      unions.kept = { ...unions.kept, parts: { ...unions.kept.parts, [part]: [bytes] } }
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

function storedUnion({ description, parts }: NonNullable<MemoryUnions['kept']>): StoredUnion {
  return {
    description,
    async *read(part) {
      yield* parts[part]
    },
    close: async () => {},
  }
}
