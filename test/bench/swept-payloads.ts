/** Payloads, the backups that need them, and the store that refers to them. */
import { type PayloadIdSet, PayloadIdSetBuilder } from '../../src/payload-ids/payload-id-set.ts'
import type { PayloadReferences, PayloadStore, StoredPayload } from '../../src/contracts/payload-store.ts'
import { ascendingLists } from './payload-ids-of-index.ts'

/** IDs are dealt out in twentieths of what a backup has: this many belong to all backups, and one to each backup alone. */
const SHARED = 19
const BACKUPS = 31
/** Of no use to anything. */
const GARBAGE = 1
const PARTS: number = SHARED + BACKUPS + GARBAGE
const PART_OF_A_BACKUP: number = 1 / (SHARED + 1)

/** What a world of backups of so many IDs each is made of. */
export class SweptPayloads {
  readonly #total: number

  constructor(idsOfABackup: number) {
    this.#total = Math.floor(idsOfABackup * PART_OF_A_BACKUP) * PARTS
  }

  /** The IDs of one of 31 backups: 95 % are those of all others too, 5 % its own. */
  *backup(number: number): ReturnType<typeof ascendingLists> {
    yield* this.#lists((part) => part < SHARED || part === SHARED + number)
  }

  /** Those that the store refers to: four fifths of what all backups have. */
  *live(): ReturnType<typeof ascendingLists> {
    yield* this.#lists((part) => part < 16)
  }

  /** As many as a backup has: 85 % of all backups, 5 % of the first one and of the last, 5 % of nothing. */
  *stored(): ReturnType<typeof ascendingLists> {
    yield* this.#lists((part) => part < 17 || part === SHARED || part === PARTS - 2 || part === PARTS - 1)
  }

  #lists(isWanted: (part: number) => boolean): ReturnType<typeof ascendingLists> {
    return ascendingLists(this.#total, PARTS, isWanted)
  }
}

export async function setOf(lists: ReturnType<typeof ascendingLists>): Promise<PayloadIdSet> {
  const builder = new PayloadIdSetBuilder()
  for (const list of lists) builder.addList(list)
  return await builder.finish()
}

export function referencesTo(payloadIds: PayloadIdSet): PayloadReferences {
  return { storeId: 'bench', payloadIds: () => payloadIds }
}

/** Lists what is there and deletes nothing. */
export function storeOf(payloadIds: PayloadIdSet): PayloadStore {
  return {
    url: 'bench:payloads',
    async *list() {
      for await (const batch of payloadIds.batches()) yield batch.map((payloadId): StoredPayload => ({ payloadId, version: '1', bytes: 1024, ageMs: undefined }))
    },
    exists: () => Promise.reject(new Error('Not needed')),
    deleteUnchanged: () => Promise.resolve([]),
  }
}
