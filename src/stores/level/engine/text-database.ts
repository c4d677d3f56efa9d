/** An abstract-level database for the metadata store: text in, text out, with the store's errors. */
import type { AbstractLevel, AbstractSnapshot } from 'abstract-level'
import { closing, undoOnError } from '../../../errors/clean-up.ts'
import { messageOf } from '../../../errors/error-message.ts'
import { BackupUnsupportedError, DestinationNoSpaceError, type HoldfastError, type HoldfastErrorOptions, StoreNotDrainedError, StoreUnavailableError } from '../../../errors/errors.ts'
import { CLOSED_HINT } from '../../../errors/system-codes.ts'
import { type Kind, has } from '../../../util/check-options.ts'
import { reasonOf } from './open-failure.ts'
import { failedWriteOptions, WriteRefusal, writeUnlessFailed } from '../../../util/failed-writes.ts'
import { isClosed, isFullDisk, lockRefusal, unfitHint } from '../../../util/level-errors.ts'

/** Any abstract-level database with explicit snapshots, whatever its own encodings. */
// eslint-disable-next-line typescript/no-explicit-any -- the formats and defaults of the database do not matter here
export type LevelDatabase = AbstractLevel<any, any, any>

/** Databases of abstract-level 1 and before do not say whether their snapshots are implicit. */
export const LEVEL_DATABASE: Kind = {
  what: 'a database of abstract-level 2 or 3, such as classic-level 3, which opens the files of every older version, memory-level 3 or level 10',
  fits: (value) => has<LevelDatabase>('', 'iterator', 'batch').fits(value) && typeof (value as Partial<LevelDatabase>).supports?.implicitSnapshots === 'boolean',
}

/** Whether a database has text alone: bytes cannot be read from it or written to it. */
export function storesText(db: LevelDatabase): boolean {
  return db.supports.encodings['view'] !== true && db.supports.encodings['buffer'] !== true
}

/** Keys from `gte` on and before `lt`. */
export interface TextRange {
  readonly gte: string
  readonly lt: string
}

export interface RangeReadOptions {
  /** Records to read at once. @default 256 */
  readonly pageSize?: number | undefined
}

/** A source of records: the database now, a snapshot, or a transaction. */
export interface Reader {
  get(key: string): Promise<string | undefined>
  /** The records of a range in key order. Leaving the loop frees its resources. */
  range(range: TextRange, options?: RangeReadOptions): AsyncIterable<readonly [string, string]>
}

/** A reader that can stay at one moment for a while. */
export interface Source extends Reader {
  /** Calls `read` with the records as they are now. The view ends when the promise settles. */
  view<T>(read: (view: Reader) => Promise<T>): Promise<T>
  /** Iterates over the records as they are now. The view ends when the loop is left. */
  viewEach<T>(read: (view: Reader) => AsyncIterable<T>): AsyncIterable<T>
}

/** A database at one moment. All its views are the same. */
export interface DatabaseSnapshot extends Source {
  /** Closes the snapshot after the reads under way. Idempotent. */
  close(): Promise<void>
}

/** What to write: a value, or `undefined` to delete the record. */
export type Changes = ReadonlyMap<string, string | undefined>

const PAGE_SIZE = 256
const TEXT = { keyEncoding: 'utf8', valueEncoding: 'utf8' } as const

export class TextDatabase implements Source {
  readonly #db: LevelDatabase

  constructor(db: LevelDatabase) {
    this.#db = db
  }

  /** Opens the database, if it is not open. Rejects with `store_not_drained` when another process has it open. */
  async open(): Promise<void> {
    if (!this.#db.supports.explicitSnapshots) {
      throw new BackupUnsupportedError('Cannot keep a metadata store in the database: it does not support explicit snapshots')
    }
    try {
      await this.#db.open()
    } catch (error) {
      if (lockRefusal(error) === 'taken') throw new StoreNotDrainedError('Cannot open the metadata store: another process has it open', { cause: error })
      throw unavailable('open', reasonOf(error), { cause: error, hint: unfitHint(reasonOf(error)) })
    }
  }

  async get(key: string): Promise<string | undefined> {
    return await attempt('read', () => this.#db.get<string, string>(key, TEXT))
  }

  async getMany(keys: readonly string[]): Promise<readonly (string | undefined)[]> {
    return await attempt('read', () => this.#db.getMany<string, string>([...keys], TEXT))
  }

  range(range: TextRange, options?: RangeReadOptions): AsyncIterable<readonly [string, string]> {
    return readRange(this.#db, range, options)
  }

  async view<T>(read: (view: Reader) => Promise<T>): Promise<T> {
    return await closing(this.snapshot(), read)
  }

  async *viewEach<T>(read: (view: Reader) => AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    const snapshot = this.snapshot()
    try {
      yield* read(snapshot)
    } finally {
      await snapshot.close()
    }
  }

  /** The database as it is now. The caller closes the snapshot. */
  snapshot(): DatabaseSnapshot {
    const db = this.#db
    const snapshot = takeSnapshot(db)
    const reader: DatabaseSnapshot = {
      get: (key) => attempt('read', () => db.get<string, string>(key, { ...TEXT, snapshot })),
      range: (range, options) => readRange(db, range, { ...options, snapshot }),
      view: (read) => read(reader),
      viewEach: (read) => read(reader),
      close: () => snapshot.close(),
    }
    return reader
  }

  /** Whether the database does not have any record. */
  async isEmpty(): Promise<boolean> {
    return (await attempt('read', () => this.#db.keys<string>({ keyEncoding: 'utf8', limit: 1 }).all())).length === 0
  }

  /**
   * Writes all or nothing. With `sync`, resolves when the write survives a power cut. Refused after a failed write: see `failed-writes.ts`.
   */
  async write(changes: Changes, options: { readonly sync: boolean }): Promise<void> {
    try {
      await writeUnlessFailed(this.#db, () => this.#write(changes, options))
    } catch (error) {
      throw unavailable('write', error, failedWriteOptions(error, 'store'))
    }
  }

  async close(): Promise<void> {
    await attempt('close', () => this.#db.close())
  }

  async #write(changes: Changes, { sync }: { readonly sync: boolean }): Promise<void> {
    const batch = this.#db.batch()
    await undoOnError(async () => {
      for (const [key, value] of changes) {
        if (value === undefined) batch.del(key, TEXT)
        else batch.put(key, value, TEXT)
      }
    }, () => batch.close())
    await batch.write({ sync } as object)
  }
}

async function attempt<T>(verb: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw unavailable(verb, error)
  }
}

function takeSnapshot(db: LevelDatabase): AbstractSnapshot {
  try {
    return db.snapshot()
  } catch (error) {
    throw unavailable('read', error)
  }
}

async function* readRange(
  db: LevelDatabase,
  { gte, lt }: TextRange,
  { snapshot, pageSize = PAGE_SIZE }: RangeReadOptions & { readonly snapshot?: AbstractSnapshot } = {},
): AsyncGenerator<readonly [string, string], void, undefined> {
  const iterator = await attempt('read', async () => db.iterator<string, string>({ gte, lt, snapshot, ...TEXT } as object))
  try {
    for (;;) {
      const page = await attempt('read', () => iterator.nextv(pageSize))
      if (page.length === 0) return
      yield* page
    }
  } finally {
    await iterator.close()
  }
}

function unavailable(verb: string, cause: unknown, options: HoldfastErrorOptions = { cause }): HoldfastError {
  const message = messageOf(cause)
  if (isClosed(cause)) return new StoreUnavailableError(`Cannot ${verb} the metadata store: ${message}`, { cause, hint: CLOSED_HINT })
  // A write that was refused because of an earlier one says nothing about the disk now.
  const Class = isFullDisk(message) && !(cause instanceof WriteRefusal) ? DestinationNoSpaceError : StoreUnavailableError
  return new Class(`Cannot ${verb} the metadata store: ${message}`, options)
}
