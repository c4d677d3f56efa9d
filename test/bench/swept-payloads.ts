/** Payloads, the backups that need them, and the store that refers to them, as a sweep sees them: IDs made as they are asked for. */
import { idsOf } from '../../src/payload-ids/id-list.ts'
import type { PayloadReferences, PayloadStore, StoredPayload } from '../../src/payload-store.ts'
import { ascendingLists, mixed } from './payload-ids-of-index.ts'

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
    this.#total = Math.round(idsOfABackup * PART_OF_A_BACKUP * PARTS)
  }

  /** The IDs of one of 31 backups: 95 % are those of all others too, 5 % its own. */
  *backup(number: number): ReturnType<typeof ascendingLists> {
    yield* this.#lists((part) => part < SHARED || part === SHARED + number)
  }

  /** A store that refers to four fifths of what all backups have. */
  references(): PayloadReferences {
    const lists = (): ReturnType<typeof ascendingLists> => this.#lists((part) => part < 16)
    return {
      storeId: 'bench',
      async *payloadIds() {
        for (const list of lists()) yield* idsOf(list)
      },
    }
  }

  /** As many payloads as a backup has: 85 % of all backups, 5 % of the first one and of the last, 5 % of nothing. */
  payloads(): PayloadStore {
    const pages = (): ReturnType<typeof ascendingLists> => this.#lists((part) => part < 17 || part === SHARED || part === PARTS - 2 || part === PARTS - 1)
    return {
      url: 'bench:payloads',
      async *list() {
        for (const list of pages()) yield idsOf(list).map((payloadId): StoredPayload => ({ payloadId, version: '1', bytes: 1024, ageMs: undefined }))
      },
      exists: () => Promise.reject(new Error('Not needed')),
      deleteUnchanged: async () => await Promise.resolve([]),
    }
  }

  #lists(isWanted: (part: number) => boolean): ReturnType<typeof ascendingLists> {
    const wanted = Array.from({ length: PARTS }, (_, part) => isWanted(part))
    return ascendingLists(this.#total, (index) => wanted[mixed(index ^ 0x5bd1e995) % PARTS] === true)
  }
}
