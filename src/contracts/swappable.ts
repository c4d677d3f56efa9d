/**
 * Contract 3: what a metadata store must do to be replaced by a restored one while a server keeps its handle.
 *
 * A store that can be swapped is a home of engines: one of them is live, at most one is kept as the previous, and any
 * other is a leftover. The restore orchestrator decides; the store only does these steps, each durable when it resolves.
 */
import type { Backupable, StoreKind } from './backupable.ts'

/** A fresh, empty store next to the live one. Its ID is the one that `openSide` was given. */
export interface SideEngine extends Backupable {
  /** The engine's name within its home. */
  readonly engine: string
  /** Makes every byte durable and closes the engine, so that it may be swapped in. */
  seal(): Promise<void>
  /** Closes the engine and removes it. Idempotent. */
  discard(): Promise<void>
}

/** The engines of a home, by name. */
export interface Engines {
  /** The engine in service; `undefined` where no store exists yet. */
  readonly live: string | undefined
  /** The engine that `rollback` would make live again. */
  readonly previous: string | undefined
  /** All other engines: side engines of restores that did not end. */
  readonly leftovers: readonly string[]
}

/**
 * The durable intent of a swap, written before the swap and cleared after the live check. If it is there at start-up, it decides
 * whether the swap is completed or undone.
 */
export interface RestoreJournal {
  readonly restoreId: string
  /** The restored backup; `undefined` for a rollback. */
  readonly backupId: string | undefined
  /** The engine that was live before; `undefined` where there was no store. */
  readonly from: string | undefined
  /** The engine to be made live: a sealed side engine, or the previous one. */
  readonly to: string
  readonly startedAtMs: number
}

export interface DrainOptions {
  /** How long operations in flight may take to end. */
  readonly timeoutMs: number
}

export interface Swappable {
  readonly kind: StoreKind
  readonly schemaVersion: number
  /** The names of the sections that its backups have: a backup with others is refused before anything changes. @default any */
  readonly sections?: readonly string[] | undefined

  /** The ID of the store, readable even when the live engine is damaged; `undefined` where no store exists yet. */
  readStoreId(): Promise<string | undefined>
  engines(): Promise<Engines>
  /** Free bytes where side engines live; `undefined` where that is not known. */
  freeBytes(): Promise<number | undefined>

  /**
   * Refuses new writes (`restore_in_progress`, retryable) and waits for those in flight, of every process that has the store open. Reads go
   * on. Rejects with `store_not_drained` when writes do not end in time, and then accepts writes again; with `restore_in_progress` when
   * another handle has drained the store.
   */
  drainWrites(options: DrainOptions): Promise<void>
  /**
   * Holds back all operations of this handle and writes of other handles, and waits for those in flight. Rejects like `drainWrites`, with
   * the state of before.
   */
  drain(options: DrainOptions): Promise<void>
  /** Ends any drain: held operations continue on the engine that is live now. Idempotent. */
  resume(): Promise<void>

  /** Creates a fresh, empty engine named after `engine` (a ULID), with this store ID. Rejects when the name is taken. */
  openSide(engine: string, options: { readonly storeId: string }): Promise<SideEngine>

  /**
   * Makes a sealed engine live, in one atomic step, whether or not it opens, and keeps `previous` (a name, or `undefined` for none) as the
   * engine to roll back to. Called while drained; the handle serves the new engine after `resume`. Calling
   * `swap` again with the same engines changes nothing. After a failure the handle serves no engine, because the live one may be
   * unknown: call `swap` again, to repeat it or with the old engine to undo it, until it resolves.
   */
  swap(engine: string, options: { readonly storeId: string; readonly previous: string | undefined }): Promise<void>
  /** Undoes the first swap into a home that had no store: no engine is live or previous afterwards. Idempotent. */
  unswap(): Promise<void>
  /** Checks that the live engine serves, by reads through the store's own interface. */
  checkLive(): Promise<void>
  /** Removes an engine that is neither live nor previous; `store_not_drained` while a backup or a view still reads it. Idempotent. */
  removeEngine(engine: string): Promise<void>

  readJournal(): Promise<RestoreJournal | undefined>
  writeJournal(journal: RestoreJournal): Promise<void>
  clearJournal(): Promise<void>
}
