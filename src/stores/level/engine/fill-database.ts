/** Fills an empty database with many records, or leaves it empty. */
import { undoOnError } from '../../../errors/clean-up.ts'
import { messageOf } from '../../../errors/error-message.ts'
import { DestinationNoSpaceError, StoreUnavailableError } from '../../../errors/errors.ts'
import { type KeyRange, type Value, dataRanges } from './key-spans.ts'
import { WriteRefusal, failedWriteOptions, hasFailedWrite, writeUnlessFailed } from '../../../util/failed-writes.ts'
import { CLOSED_HINT, NO_SPACE_HINT } from '../../../errors/system-codes.ts'
import { isClosed, isFullDisk } from '../../../util/level-errors.ts'
import { reading, reasonOf } from './open-failure.ts'
import type { WriteBatch } from './write-batches.ts'
import type { LevelDatabase } from './text-database.ts'

/** Whether a database is empty, apart from the store's own records. */
export async function isEmpty(db: LevelDatabase, ownKeys: KeyRange | undefined): Promise<boolean> {
  for (const range of dataRanges(ownKeys)) {
    const found = await reading(() => db.keys({ ...bounds(range), limit: 1 } as object).all())
    if (found.length > 0) return false
  }
  return true
}

/** Rejects with `store_unavailable` when a write failed since the database was opened. */
export async function refuseAfterFailedWrite(db: LevelDatabase): Promise<void> {
  await writing(() => writeUnlessFailed(db, async () => undefined))
}

/** Removes all records but the store's own. */
export async function removeData(db: LevelDatabase, ownKeys: KeyRange | undefined): Promise<void> {
  for (const range of dataRanges(ownKeys)) await writing(() => writeUnlessFailed(db, () => db.clear(bounds(range))))
}

/** Runs `fill`. After a failure, runs `empty` before rejecting; after a failed write, it first closes and opens the database. */
export async function fillOrEmpty(db: LevelDatabase, fill: () => Promise<void>, empty: () => Promise<void>): Promise<void> {
  const undo = async (): Promise<void> => {
    // Nothing else is in the database that a reader could miss. The caller may be closing it, and a sublevel is a part of more.
    if (hasFailedWrite(db) && db.status === 'open' && !('parent' in db && db.parent !== null)) await reopen(db)
    await empty()
  }
  await undoOnError(fill, undo, 'and the store cannot be emptied again')
}

async function reopen(db: LevelDatabase): Promise<void> {
  await db.close()
  try {
    await db.open({ createIfMissing: false, errorIfExists: false })
  } catch (error) {
    throw new StoreUnavailableError(`Cannot open the store again: ${messageOf(reasonOf(error))}`, { cause: error })
  }
}

/** Writes batches one after another, while the caller fills the next. */
export class BatchRotation {
  readonly #newBatch: () => WriteBatch
  readonly #sync: boolean
  readonly #all: WriteBatch[] = []
  readonly #spare: WriteBatch[] = []
  /** The newest batch, held back because it may be the last. */
  #held: WriteBatch | undefined
  #written: Promise<void> = Promise.resolve()

  /** With `sync`, each batch is durable before the next is written. The last one always is. */
  constructor(newBatch: () => WriteBatch, { sync = false }: { readonly sync?: boolean | undefined } = {}) {
    this.#newBatch = newBatch
    this.#sync = sync
  }

  /** A batch to fill. Give it back with `add`. */
  spare(): WriteBatch {
    const spare = this.#spare.pop()
    if (spare !== undefined) return spare
    const batch = this.#newBatch()
    this.#all.push(batch)
    return batch
  }

  /** Takes a filled batch. Resolves when the next may be filled. */
  async add(batch: WriteBatch): Promise<void> {
    await this.#written
    if (this.#held !== undefined) {
      this.#written = this.#write(this.#held)
      // The next call, or `close`, sees a failure.
      this.#written.catch(() => undefined)
    }
    this.#held = batch
  }

  async end(): Promise<void> {
    await this.#written
    if (this.#held !== undefined) await writing(() => this.#held?.write({ sync: true }))
  }

  /** Waits for the write under way, and frees the batches. */
  async close(): Promise<void> {
    await Promise.allSettled([this.#written])
    await Promise.all(this.#all.map((batch) => batch.close()))
  }

  async #write(batch: WriteBatch): Promise<void> {
    await writing(() => batch.write({ sync: this.#sync }))
    this.#spare.push(batch)
  }
}

/** A range as options of abstract-level. Ranges of text stay text, which databases that store text need; others become bytes. */
function bounds({ gte, lt }: KeyRange): object {
  const isText = typeof (gte ?? '') === 'string' && typeof (lt ?? '') === 'string'
  const asKey = (end: Value): Value => (isText ? end : Buffer.from(end))
  return { ...(gte === undefined ? {} : { gte: asKey(gte) }), ...(lt === undefined ? {} : { lt: asKey(lt) }), keyEncoding: isText ? 'utf8' : 'buffer' }
}

async function writing(write: () => Promise<void> | undefined): Promise<void> {
  try {
    await write()
  } catch (error) {
    const message = `Cannot write to the store: ${messageOf(error)}`
    if (error instanceof WriteRefusal) throw new StoreUnavailableError(message, failedWriteOptions(error, 'store'))
    if (isFullDisk(message)) throw new DestinationNoSpaceError(message, { cause: error, hint: NO_SPACE_HINT })
    throw new StoreUnavailableError(message, { cause: error, hint: isClosed(error) ? CLOSED_HINT : undefined })
  }
}
