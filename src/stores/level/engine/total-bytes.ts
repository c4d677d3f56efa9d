/** Tells about how many bytes a snapshot will have, by how far in the database it is. */
import type { SnapshotProgress } from '../../../contracts/backupable.ts'
import type { Value } from './key-spans.ts'
import { reading } from './open-failure.ts'
import { type LevelDatabase, storesText } from './text-database.ts'

/** A classic-level: it knows how many bytes of its files a range of keys has, compressed, without what is only in its log. */
interface SizedDatabase {
  approximateSize(start: Uint8Array, end: Uint8Array, options: { readonly keyEncoding: 'buffer' }): Promise<number>
}

/** The bytes of files below which records are counted: what is only in the log may be more. */
const COUNTED_BYTES: number = 1024 * 1024
const KEYS_AT_ONCE = 1000
/** The most bytes of the stream between two measurements; there are fewer at its beginning. */
const STEP_BYTES: number = 4 * 1024 * 1024
const BEFORE_ALL = new Uint8Array(0)
const AFTER_ALL: Uint8Array = new Uint8Array(256).fill(0xff)

export class TotalBytes {
  readonly #db: LevelDatabase
  /** The number of all records, where they are counted. */
  readonly #records: number
  #share = 0
  #measuredBytes = 0

  private constructor(db: LevelDatabase, records: number) {
    this.#db = db
    this.#records = records
  }

  /** Counts the records of a database in memory, and of a small LevelDB. Others, which may be slow, are not read for it. */
  static async of(db: LevelDatabase, checkpoint: () => Promise<void> | void): Promise<TotalBytes> {
    const isCounted = isSized(db) ? (await bytesUpTo(db, AFTER_ALL)) < COUNTED_BYTES : !db.supports.permanence
    return new TotalBytes(db, isCounted ? await countRecords(db, checkpoint) : 0)
  }

  /**
   * About how many bytes there will be in all, by the share of records, or of files, that was read: it never goes back. At least those of
   * the progress; `undefined` where that is not known.
   */
  async at({ bytes, records }: SnapshotProgress, lastKey: Value): Promise<number | undefined> {
    if (this.#records > 0) this.#share = records / this.#records
    else if (isSized(this.#db) && bytes - this.#measuredBytes >= Math.min(bytes / 16, STEP_BYTES)) {
      await this.#measure(this.#db, lastKey)
      this.#measuredBytes = bytes
    }
    return this.#share > 0 ? Math.ceil(bytes / Math.min(1, this.#share)) : undefined
  }

  async #measure(db: SizedDatabase, lastKey: Value): Promise<void> {
    const key = typeof lastKey === 'string' ? Buffer.from(lastKey) : lastKey
    // Both at one time: the files change while the server writes.
    const [read, whole] = await Promise.all([bytesUpTo(db, key), bytesUpTo(db, AFTER_ALL)])
    if (whole > 0) this.#share = Math.max(this.#share, read / whole)
  }
}

function isSized(db: object): db is SizedDatabase {
  return typeof (db as Partial<SizedDatabase>).approximateSize === 'function'
}

/** Gives 0 when it fails: a backup does not need it. */
async function bytesUpTo(db: SizedDatabase, key: Uint8Array): Promise<number> {
  try {
    return await db.approximateSize(BEFORE_ALL, key, { keyEncoding: 'buffer' })
  } catch {
    return 0
  }
}

async function countRecords(db: LevelDatabase, checkpoint: () => Promise<void> | void): Promise<number> {
  const iterator = db.keys({ keyEncoding: storesText(db) ? 'utf8' : 'buffer' })
  try {
    for (let count = 0; ; ) {
      const keys = await reading(() => iterator.nextv(KEYS_AT_ONCE) as Promise<readonly unknown[]>)
      if (keys.length === 0) return count
      count += keys.length
      await checkpoint()
    }
  } finally {
    await iterator.close()
  }
}
