/** Reads a database from start to end, as it is at one moment. */
import { isUtf8 } from 'node:buffer'
import type { StoredRecord } from '../../../format/records.ts'
import type { Value } from './key-spans.ts'
import { reading } from './open-failure.ts'
import { type LevelDatabase, storesText } from './text-database.ts'

/** Which parts of a record are read as text. */
export interface RecordEncoding {
  readonly textKeys: boolean
  readonly textValues: boolean
}

/** Records read at once: few enough that a server's own reads and writes do not wait long for a thread of the pool. */
const BATCH_RECORDS = 250
/** More than the text of a frame, so that every database gives the same frames. */
const BATCH_BYTES: number = 4 * 1024 * 1024

/** Decodes UTF-8 exactly; the encoding of abstract-level drops a leading byte order mark in databases that keep views. */
const EXACT_TEXT = {
  name: 'holdfast-text',
  format: 'buffer',
  encode: (text: string): Buffer => Buffer.from(text),
  decode: (bytes: Buffer): string => bytes.toString(),
} as const

export class DatabaseView {
  readonly openedAtMs: number
  readonly #db: LevelDatabase
  readonly #snapshot: ReturnType<LevelDatabase['snapshot']> | undefined
  readonly #iterator: ReturnType<LevelDatabase['iterator']>

  /** Opens the view at once, before the constructor returns. */
  constructor(db: LevelDatabase, { textKeys, textValues }: RecordEncoding) {
    this.#db = db
    const text = db.keyEncoding('utf8').format === 'utf8' ? 'utf8' : EXACT_TEXT
    this.#snapshot = db.supports.explicitSnapshots ? db.snapshot() : undefined
    this.openedAtMs = Date.now()
    this.#iterator = db.iterator({
      snapshot: this.#snapshot,
      keyEncoding: textKeys ? text : 'buffer',
      valueEncoding: textValues ? text : 'buffer',
      highWaterMarkBytes: BATCH_BYTES,
    } as object)
  }

  /** The next records; an empty list at the end. */
  async next(): Promise<readonly StoredRecord[]> {
    return await reading(() => this.#iterator.nextv(BATCH_RECORDS) as Promise<readonly StoredRecord[]>)
  }

  /** Reads single records as text. */
  async getMany(keys: readonly string[]): Promise<readonly (string | undefined)[]> {
    const options = { snapshot: this.#snapshot, keyEncoding: 'utf8', valueEncoding: 'utf8' } as object
    return await reading(() => this.#db.getMany([...keys], options) as Promise<readonly (string | undefined)[]>)
  }

  /** Whether the text of a record encodes to its stored bytes. `after` is the key before. */
  async isExact(record: StoredRecord, after: Value | undefined): Promise<boolean> {
    if (storesText(this.#db)) return true
    const range = after === undefined ? {} : { gt: typeof after === 'string' ? Buffer.from(after) : after }
    const iterator = this.#db.iterator<Buffer, Buffer>({
      ...range,
      snapshot: this.#snapshot,
      limit: 1,
      keyEncoding: 'buffer',
      valueEncoding: 'buffer',
    } as object)
    try {
      const stored = await iterator.next()
      return stored !== undefined && isSame(stored[0], record[0]) && isSame(stored[1], record[1])
    } finally {
      await iterator.close()
    }
  }

  async close(): Promise<void> {
    await this.#iterator.close()
    await this.#snapshot?.close()
  }
}

function isSame(bytes: Buffer, value: Value): boolean {
  return typeof value === 'string' ? isUtf8(bytes) && bytes.toString() === value : bytes.equals(value)
}
