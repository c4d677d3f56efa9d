/** The handle that a server keeps: a metadata store whose engine can be replaced while it serves. */
import type { BackupOptions, SnapshotSink, StoreKind } from '../contracts/backupable.ts'
import { undoOnError } from '../errors/clean-up.ts'
import { messageOf } from '../errors/error-message.ts'
import { StoreUnavailableError, isHoldfastError } from '../errors/errors.ts'
import { CLOSED_HINT } from '../errors/system-codes.ts'
import type { PayloadIdSet } from '../payload-ids/payload-id-set.ts'
import type { DrainOptions, Swappable } from '../contracts/swappable.ts'
import { checkServes } from './check-store.ts'
import { EnginePins } from './engine-pins.ts'
import { PinnedView } from './pinned-view.ts'
import { mergeAscending } from './merge-ascending.ts'
import type { MetadataReader, MetadataStore, MetadataView } from '../contracts/metadata-store.ts'
import { OperationGate } from './operation-gate.ts'
import { RoutedReader } from './routed-reader.ts'

/** Where the engines of a live store are. The home makes changes durable; the live store knows what uses an engine. */
export interface EngineHome extends Swappable {
  /** Opens an engine, or returns the open one. Rejects with `store_unavailable` when the engine is missing or damaged. */
  openEngine(engine: string): Promise<MetadataStore>
  /** Closes an engine. Idempotent. */
  closeEngine(engine: string): Promise<void>
  /** Closes every engine and releases the home. Idempotent. */
  close(): Promise<void>
}

/** How often another process may replace engines during a read before it fails. */
const MOST_TRIES = 100

interface ServingEngine {
  readonly engine: string
  readonly store: MetadataStore
}

/** The live engine and the one kept for rollback, pinned. */
interface RetainedEngines {
  readonly live: ServingEngine
  readonly previous: string | undefined
  readonly pins: ReadonlyMap<string, () => Promise<void>>
}

/**
 * A metadata store and its `Swappable` side in one. Operations go to the engine that is live when they start.
 *
 * During the drain window of a restore, writes are refused with `restore_in_progress`.
 * During the full stop, new operations wait and then go to the new live engine, so that readers never see a failure.
 * An iteration is in flight from its first step until it ends or is left; if that takes longer than the drain window, the restore fails.
 *
 * Backups and views do not block restores, and restores do not block them: each keeps its engine open, and shows the store as it was when
 * it began. A backup or view that begins in the full stop waits.
 * In Postgres both lock the tables: a swap waits for them a while, then fails with `store_not_drained` and changes nothing.
 */
export class LiveMetadataStore extends RoutedReader implements MetadataStore, Swappable {
  readonly kind: StoreKind
  readonly schemaVersion: number
  readonly sections: readonly string[] | undefined
  readonly isAlone: boolean
  readonly #home: EngineHome
  readonly #gate = new OperationGate()
  readonly #pins: EnginePins
  #storeId: string
  /** The engine that serves, or the reason why none does. */
  #live: ServingEngine | StoreUnavailableError
  /** Engines that were opened to serve. After a swap, `resume` closes all but the live one. */
  readonly #served = new Set<string>()
  #closed: Promise<void> | undefined

  private constructor(home: EngineHome, storeId: string, live: ServingEngine) {
    super()
    this.kind = home.kind
    this.schemaVersion = home.schemaVersion
    this.sections = home.sections
    this.isAlone = live.store.isAlone ?? false
    this.#home = home
    this.#pins = new EnginePins((engine) => home.closeEngine(engine))
    this.#storeId = storeId
    this.#live = live
    this.#served.add(live.engine)
  }

  /** Opens the live engine of a home, and takes the home over. Rejects with `store_unavailable` when there is none or it does not open. */
  static async open(home: EngineHome): Promise<LiveMetadataStore> {
    const { live } = await home.engines()
    const storeId = await home.readStoreId()
    if (live === undefined || storeId === undefined) throw new StoreUnavailableError('Cannot open the store: there is none yet')
    return new LiveMetadataStore(home, storeId, { engine: live, store: await home.openEngine(live) })
  }

  get storeId(): string {
    return this.#storeId
  }

  readonly createShare: MetadataStore['createShare'] = (name, options) => this.#write((store) => store.createShare(name, options))
  readonly removeShare: MetadataStore['removeShare'] = (name) => this.#write((store) => store.removeShare(name))
  readonly create: MetadataStore['create'] = (place, inode) => this.#write((store) => store.create(place, inode))
  readonly link: MetadataStore['link'] = (place, inode) => this.#write((store) => store.link(place, inode))
  readonly unlink: MetadataStore['unlink'] = (place) => this.#write((store) => store.unlink(place))
  readonly rename: MetadataStore['rename'] = (from, to, options) => this.#write((store) => store.rename(from, to, options))
  readonly setAttributes: MetadataStore['setAttributes'] = (inode, changes) => this.#write((store) => store.setAttributes(inode, changes))
  readonly setContent: MetadataStore['setContent'] = (inode, content, options) => this.#write((store) => store.setContent(inode, content, options))
  readonly putUpload: MetadataStore['putUpload'] = (upload) => this.#write((store) => store.putUpload(upload))
  readonly completeUpload: MetadataStore['completeUpload'] = (uploadId, inode) => this.#write((store) => store.completeUpload(uploadId, inode))
  readonly removeUpload: MetadataStore['removeUpload'] = (uploadId) => this.#write((store) => store.removeUpload(uploadId))
  readonly lock: MetadataStore['lock'] = (lock) => this.#write((store) => store.lock(lock))
  readonly unlock: MetadataStore['unlock'] = (range) => this.#write((store) => store.unlock(range))
  readonly setSetting: MetadataStore['setSetting'] = (name, value) => this.#write((store) => store.setSetting(name, value))
  readonly importView: MetadataStore['importView'] = (view, options) => this.#write((store) => store.importView(view, options))
  readonly restore: MetadataStore['restore'] = (source, options) => this.#write((store) => store.restore(source, options))

  async view(): Promise<MetadataView> {
    while (this.#gate.state === 'closed') await this.#gate.pass('read')
    const { engine, store } = this.#serving()
    const release = this.#pins.pin(engine)
    return await undoOnError(async () => new PinnedView(await store.view(), release), release)
  }

  /**
   * Yields every payload ID that the live engine or the one kept for rollback refers to, ascending, each once.
   *
   * It does not block restores or rollbacks: the engines of its beginning are read to the end.
   * Rejects with `store_unavailable` when one of them cannot be read.
   */
  async *retainedPayloadIds(): AsyncGenerator<string, void, undefined> {
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const retained = await this.#pinRetained()
      try {
        const { live, previous } = retained
        const stores = previous === undefined ? [live.store] : [live.store, await this.#home.openEngine(previous)]
        const payloadIds = mergeAscending(stores.map((store) => store.payloadIds()))
        const first = await payloadIds.next()
        // Another process may have replaced an engine before the first step. After it, tables in use prevent that.
        if (!(await this.#areStill(retained))) {
          await payloadIds.return()
          continue
        }
        if (first.done !== true) yield first.value
        return yield* payloadIds
      } catch (error) {
        if (await this.#areStill(retained)) throw error
      } finally {
        await this.#unpin(retained)
      }
    }
    throw new StoreUnavailableError('Cannot tell what the store refers to: another process keeps replacing its engines', { retryable: true })
  }

  async backup(sink: SnapshotSink, options?: BackupOptions): Promise<PayloadIdSet> {
    while (this.#gate.state === 'closed') await this.#gate.pass('read')
    const { engine, store } = this.#serving()
    return await this.#pins.hold(engine, () => store.backup(sink, options))
  }

  /** Closes the store and its home. Later operations are refused. Idempotent. */
  close(): Promise<void> {
    this.#live = new StoreUnavailableError('Cannot use the store: it was closed', { hint: CLOSED_HINT })
    this.#gate.open()
    this.#closed ??= this.#home.close()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  readonly readStoreId: Swappable['readStoreId'] = () => this.#home.readStoreId()
  readonly engines: Swappable['engines'] = () => this.#home.engines()
  readonly freeBytes: Swappable['freeBytes'] = () => this.#home.freeBytes()
  readonly openSide: Swappable['openSide'] = (engine, options) => this.#home.openSide(engine, options)
  readonly readJournal: Swappable['readJournal'] = () => this.#home.readJournal()
  readonly writeJournal: Swappable['writeJournal'] = (journal) => this.#home.writeJournal(journal)
  readonly clearJournal: Swappable['clearJournal'] = () => this.#home.clearJournal()

  drainWrites({ timeoutMs }: DrainOptions): Promise<void> {
    return this.#gate.narrow('reads-only', { timeoutMs, andThen: (rest) => this.#home.drainWrites(rest) })
  }

  drain({ timeoutMs }: DrainOptions): Promise<void> {
    return this.#gate.narrow('closed', { timeoutMs, andThen: (rest) => this.#home.drain(rest) })
  }

  async resume(): Promise<void> {
    try {
      await this.#home.resume()
    } finally {
      this.#gate.open()
    }
    const serving = 'engine' in this.#live ? this.#live.engine : undefined
    for (const engine of this.#served) {
      if (engine === serving) continue
      this.#served.delete(engine)
      await this.#pins.retire(engine)
    }
  }

  async swap(engine: string, options: { readonly storeId: string; readonly previous: string | undefined }): Promise<void> {
    // No engine serves until the swap ends: which one is live on disk may be in doubt, and a write to the wrong one would be lost.
    this.#live = new StoreUnavailableError('Cannot use the store: the replacement of its engine did not finish. Close and reopen the store to recover')
    await this.#home.swap(engine, options)
    this.#pins.revive(engine)
    this.#storeId = options.storeId
    // The swap is done even if the engine does not open; the live check reports that.
    this.#live = await this.#home.openEngine(engine).then(
      (store) => ({ engine, store }),
      (error: unknown) =>
        new StoreUnavailableError(`Cannot serve engine "${engine}": ${messageOf(error)}`, {
          cause: error,
          retryable: isHoldfastError(error) && error.retryable,
        }),
    )
    this.#served.add(engine)
  }

  async unswap(): Promise<void> {
    await this.#home.unswap()
    this.#live = new StoreUnavailableError('Cannot use the store: there is none')
  }

  async checkLive(): Promise<void> {
    // Throw the original error: it may be retryable for recovery, though not for an operation.
    if (!('store' in this.#live)) throw this.#live
    await checkServes(this.#live.store)
  }

  async removeEngine(engine: string): Promise<void> {
    await this.#pins.release(engine)
    await this.#home.removeEngine(engine)
  }

  /** Pins the live engine and the one kept for rollback, as they are at one time. */
  async #pinRetained(): Promise<RetainedEngines> {
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      while (this.#gate.state === 'closed') await this.#gate.pass('read')
      const live = this.#serving()
      const { live: onDisk, previous } = await this.#home.engines()
      if (this.#live !== live) continue
      if (onDisk !== live.engine) {
        await this.#follow(live, onDisk)
        continue
      }
      const engines = previous === undefined ? [live.engine] : [live.engine, previous]
      return { live, previous, pins: new Map(engines.map((engine) => [engine, this.#pins.pin(engine)])) }
    }
    throw new StoreUnavailableError('Cannot tell what the store refers to: the engine that serves is not the live one', { retryable: true })
  }

  /** Serves the engine that another process has made live. */
  async #follow(live: ServingEngine, engine: string | undefined): Promise<void> {
    if (engine === undefined) throw new StoreUnavailableError('Cannot use the store: it was removed')
    const store = await this.#home.openEngine(engine)
    if (this.#live !== live || this.#gate.state === 'closed') return
    this.#live = { engine, store }
    this.#served.add(engine)
  }

  async #areStill({ live, previous }: RetainedEngines): Promise<boolean> {
    const now = await this.#home.engines()
    return now.live === live.engine && now.previous === previous
  }

  async #unpin({ pins }: RetainedEngines): Promise<void> {
    for (const [engine, release] of pins) {
      // Close an engine that was opened only for this read.
      if (!this.#served.has(engine)) await this.#pins.retire(engine)
      await release()
    }
  }

  protected override ask<T>(question: (reader: MetadataReader) => Promise<T>): Promise<T> {
    return this.#gate.run('read', () => question(this.#serving().store))
  }

  protected override list<T>(question: (reader: MetadataReader) => AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    return this.#gate.iterate(() => question(this.#serving().store))
  }

  #serving(): ServingEngine {
    if ('store' in this.#live) return this.#live
    const { message, cause, hint } = this.#live
    throw new StoreUnavailableError(message, { cause, hint })
  }

  #write<T>(operation: (store: MetadataStore) => Promise<T>): Promise<T> {
    return this.#gate.run('write', () => operation(this.#serving().store))
  }
}
