/** The directory of a LevelDB metadata store: a pointer to the live engine, the engines, a journal and a lock. */
import { dirname, join, resolve } from 'node:path'
import { toError } from '../../../errors/error-message.ts'
import { InternalError, StoreUnavailableError } from '../../../errors/errors.ts'
import { CLOSED_HINT } from '../../../errors/system-codes.ts'
import { BOOLEAN, FUNCTION, type OptionKinds, STRING, checkArgument, checkOptions, has, optional } from '../../../util/check-options.ts'
import { FILES, type FileInfo, type Files, isSystemError, nodeFiles, removeIfThere, removeTree, replaceFile, syncTree } from '../../../util/files.ts'
import { listener } from '../../../util/listener.ts'
import { checkServes } from '../../../metadata/check-store.ts'
import { OpenEngines } from '../../../metadata/open-engines.ts'
import { type StoreHome, makeStore } from '../../../metadata/open-store.ts'
import type { MetadataStore } from '../../../contracts/metadata-store.ts'
import { recover } from '../../../restore/recover.ts'
import type { Engines, SideEngine } from '../../../contracts/swappable.ts'
import { undoOnError } from '../../../errors/clean-up.ts'
import { ADOPTED_ENGINE, ENGINES_DIRECTORY, JOURNAL_FILE, LOCK_DIRECTORY, POINTER_FILE, encodePointer, isEngineName } from './home-files.ts'
import { type HomeLock, lockHome } from './home-lock.ts'
import { HomeRecords } from './home-records.ts'
import { adoptedFiles, surveyHome } from './home-survey.ts'
import { ENGINES_OPTIONS, type LevelEngines, type LevelEnginesOptions, levelEngines } from './level-engines.ts'
import { inStep, openFailure } from '../engine/open-failure.ts'
import { SECTION_NAMES } from '../store/keys.ts'
import { SCHEMA_VERSION } from '../store/records.ts'

export interface LevelHomeOptions extends LevelEnginesOptions {
  /** Whether a plain LevelDB directory may become a home. Its files stay where they are. @default false */
  readonly adopt?: boolean | undefined
  /** Called with harmless failures to clean up. @default process.emitWarning */
  readonly onWarning?: ((warning: Error) => void) | undefined
  /** The file system. @default nodeFiles */
  readonly files?: Files | undefined
  /** How engines are opened. @default metadata stores in classic-level */
  readonly engines?: LevelEngines | undefined
}

export const HOME_OPTIONS: OptionKinds<LevelHomeOptions> = {
  ...ENGINES_OPTIONS,
  adopt: optional(BOOLEAN),
  onWarning: optional(FUNCTION),
  files: optional(FILES),
  engines: optional(has<LevelEngines>('engines', 'open', 'create')),
}

/**
 * Opens the home at a path, to restore into it or roll it back without a server.
 *
 * The live engine may be damaged. The path may be missing: the first restore makes it.
 * An interrupted restore is completed or undone, and its leftovers are removed.
 *
 * Rejects with `store_not_drained` when another process has the home open, and with `store_unavailable` when the path has other files
 * in it, is a link, has lost its pointer, or is a plain LevelDB and `adopt` is not set.
 */
export async function openLevelHome(path: string, options: LevelHomeOptions = {}): Promise<LevelHome> {
  checkArgument('openLevelHome', path, { name: 'path', kind: STRING })
  checkOptions('openLevelHome', options, HOME_OPTIONS)
  const home = new LevelHome(path, options)
  await undoOnError(() => home.begin({ adopt: options.adopt }), () => home.close())
  return home
}

const FOREIGN_HINT = 'The database of another program is backed up from within that program, with levelBackupable() of the library'
const ADOPT_HINT = `Take it over with --adopt (adopt: true) if Holdfast made it: its files stay where they are, and a pointer is written beside them. ${FOREIGN_HINT}`

/** A home of LevelDB engines. There is nothing to drain, for `LiveMetadataStore` serves the operations. */
export class LevelHome implements StoreHome {
  readonly kind = 'level'
  readonly schemaVersion: number = SCHEMA_VERSION
  readonly sections: readonly string[] = SECTION_NAMES
  readonly path: string
  readonly #files: Files
  readonly #driver: LevelEngines
  readonly #warn: (warning: Error) => void
  readonly #records: HomeRecords
  readonly #open: OpenEngines
  /** Steps on the disk under way. */
  readonly #changes = new Set<Promise<unknown>>()
  #lock: HomeLock | undefined
  #closed: Promise<void> | undefined

  constructor(path: string, options: LevelHomeOptions) {
    this.path = resolve(path)
    this.#files = options.files ?? nodeFiles
    this.#driver = options.engines ?? levelEngines(options)
    this.#warn = listener(options.onWarning ?? ((warning) => process.emitWarning(warning)))
    this.#records = new HomeRecords(this.#files, this.path)
    this.#open = new OpenEngines(`at "${this.path}"`, openFailure)
  }

  /** Takes the home over: locks, adopts, recovers and cleans up. Called once, before anything else. */
  async begin({ adopt }: Pick<LevelHomeOptions, 'adopt'>): Promise<void> {
    const found = await inStep(this.path, 'open', () => surveyHome(this.#files, this.path))
    if (found === 'absent') return
    if (found === 'plain' && adopt !== true) {
      throw new StoreUnavailableError(`Cannot open the store at "${this.path}": it is a plain LevelDB directory`, {
        // A caller that says `false` wants a store of its own.
        hint: adopt === false ? 'Name a directory that does not exist or is empty' : ADOPT_HINT,
      })
    }
    if (found === 'plain') await this.#checkAdoptable()
    await this.#makeOwn()
    if (found === 'plain') await this.#adopt()
    await recover(this)
    await this.#cleanUp()
  }

    /** Makes an empty store live in a home that has none. */
  readonly createStore: StoreHome['createStore'] = (storeId) => makeStore(this, storeId)
  readonly readStoreId: StoreHome['readStoreId'] = async () => (await this.#records.readPointer())?.storeId
  readonly swap: StoreHome['swap'] = (engine, { storeId, previous }) => this.#change(() => this.#records.point({ storeId, engine, previous }))
  readonly unswap: StoreHome['unswap'] = () => this.#change(() => this.#records.point({}))
  readonly removeEngine: StoreHome['removeEngine'] = (engine) => this.#change(() => this.#removeEngine(engine))
  readonly closeEngine: StoreHome['closeEngine'] = (engine) => this.#open.close(engine)
  readonly readJournal: StoreHome['readJournal'] = () => this.#records.readJournal()
  readonly writeJournal: StoreHome['writeJournal'] = (journal) => this.#change(() => this.#records.writeJournal(journal))
  readonly clearJournal: StoreHome['clearJournal'] = () => this.#change(() => this.#records.clearJournal())

  async engines(): Promise<Engines> {
    const pointer = await this.#records.readPointer()
    const { engine: live, previous } = pointer ?? {}
    const leftovers = pointer === undefined ? [] : (await this.#engineNames()).filter((name) => name !== live && name !== previous)
    return { live, previous, leftovers }
  }

  async freeBytes(): Promise<number | undefined> {
    return await inStep(this.path, 'measure', async () => (await this.#files.space(await nearestDirectory(this.#files, this.path))).freeBytes)
  }

  async drainWrites(): Promise<void> {}

  async drain(): Promise<void> {}

  async resume(): Promise<void> {}

  async openSide(engine: string, { storeId }: { readonly storeId: string }): Promise<SideEngine> {
    const directory = this.#directoryOf(engine)
    const store = await this.#change(async () => {
      await this.#makeOwn()
      if ((await this.#infoOf(directory)) !== undefined) throw new InternalError(`Cannot create engine "${engine}": the name is taken`)
      return await undoOnError(async () => {
        await inStep(this.path, 'make an engine of', () => this.#files.makeDirectory(directory))
        return await this.#open.opened(engine, { place: directory, open: () => this.#driver.create(directory, storeId) })
      }, () => this.#removeEngine(engine))
    })
    return {
      engine,
      kind: this.kind,
      backup: (sink, options) => store.backup(sink, options),
      restore: (source, options) => store.restore(source, options),
      seal: () => this.#change(() => this.#seal(engine)),
      discard: () => this.removeEngine(engine),
    }
  }

  async checkLive(): Promise<void> {
    const { live } = await this.engines()
    if (live === undefined) throw new StoreUnavailableError(`Cannot open the store at "${this.path}": there is none`)
    const wasOpen = this.#open.has(live)
    try {
      await checkServes(await this.openEngine(live))
    } finally {
      if (!wasOpen) await this.closeEngine(live)
    }
  }

  async openEngine(engine: string): Promise<MetadataStore> {
    return await this.#open.opened(engine, { place: this.#directoryOf(engine), open: () => this.#openExisting(engine) })
  }

  /** Waits for work under way, closes all engines and releases the lock. Nothing changes the home afterwards. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    try {
      const [closed] = await Promise.allSettled([this.#open.closeAll(), ...this.#changes])
      if (closed.status === 'rejected') throw closed.reason
    } finally {
      await this.#lock?.close()
    }
  }

  /** Runs a step on the disk. Refused once the home is being closed, for the lock may be gone. */
  async #change<T>(step: () => Promise<T>): Promise<T> {
    if (this.#closed !== undefined) throw new StoreUnavailableError(`Cannot change the store at "${this.path}": it was closed`, { hint: CLOSED_HINT })
    const change = step()
    this.#changes.add(change)
    try {
      return await change
    } finally {
      this.#changes.delete(change)
    }
  }

  async #removeEngine(engine: string): Promise<void> {
    const { live, previous } = await this.engines()
    if (engine === live || engine === previous) throw new InternalError(`Cannot remove engine "${engine}": it is live or kept for rollback`)
    await this.closeEngine(engine)
    await inStep(this.path, 'remove', async () => {
      if (engine !== ADOPTED_ENGINE) return await removeTree(this.#files, this.#directoryOf(engine))
      for (const name of adoptedFiles(await this.#files.list(this.path))) await removeIfThere(this.#files, join(this.path, name))
    })
  }

  /** Locks the home, and makes it when missing, in steps that can be cut off anywhere. */
  async #makeOwn(): Promise<void> {
    if (this.#lock !== undefined) return
    await inStep(this.path, 'make', () => makeDirectories(this.#files, this.path))
    const lock = join(this.path, LOCK_DIRECTORY)
    await inStep(this.path, 'open', () => this.#refuseLink(lock))
    this.#lock = await lockHome(lock)
    await inStep(this.path, 'make', async () => {
      const found = await surveyHome(this.#files, this.path)
      if (found === 'absent') await replaceFile(this.#files, join(this.path, POINTER_FILE), encodePointer({}))
      const engines = join(this.path, ENGINES_DIRECTORY)
      await this.#refuseLink(engines)
      await makeDirectories(this.#files, engines)
      // A killed process may have left names that are not durable yet: sync before building on them.
      await this.#files.syncDirectory(this.path)
    })
  }

  /** Refuses a LevelDB that is not a metadata store before anything is made beside it. */
  async #checkAdoptable(): Promise<void> {
    try {
      await (await this.#driver.open(this.path, undefined)).close()
    } catch (error) {
      const failure = openFailure(this.path, error)
      throw failure instanceof StoreUnavailableError ? new StoreUnavailableError(failure.message, { cause: error, hint: FOREIGN_HINT }) : failure
    }
  }

  async #adopt(): Promise<void> {
    const { storeId } = await this.openEngine(ADOPTED_ENGINE)
    await this.closeEngine(ADOPTED_ENGINE)
    await this.#records.point({ storeId, engine: ADOPTED_ENGINE })
  }

  /** Removes what interrupted work left. Leftovers do no harm, so a failure is only a warning. */
  async #cleanUp(): Promise<void> {
    const { leftovers } = await this.engines()
    const unfinished = [POINTER_FILE, JOURNAL_FILE].map((name) => join(this.path, `${name}.tmp`))
    const removals = [
      ...leftovers.map((engine) => () => this.removeEngine(engine)),
      ...unfinished.map((path) => () => inStep(this.path, 'clean up', () => removeIfThere(this.#files, path))),
    ]
    for (const remove of removals) {
      try {
        await remove()
      } catch (error) {
        this.#warn(toError(error))
      }
    }
  }

  async #openExisting(engine: string): Promise<MetadataStore> {
    const directory = this.#directoryOf(engine)
    const info = await this.#infoOf(directory)
    if (info?.type !== 'directory') {
      throw new StoreUnavailableError(`Cannot open "${directory}": ${info === undefined ? 'it is missing' : 'it is not a directory'}`)
    }
    return await this.#driver.open(directory, (await this.#records.readPointer())?.storeId)
  }

  async #seal(engine: string): Promise<void> {
    await this.closeEngine(engine)
    // Opening moves the rest of LevelDB's log into tables. Do that now, so that opening in the full stop is short.
    await this.openEngine(engine)
    await this.closeEngine(engine)
    await inStep(this.path, 'seal an engine of', async () => {
      await syncTree(this.#files, this.#directoryOf(engine))
      await this.#files.syncDirectory(join(this.path, ENGINES_DIRECTORY))
    })
  }

  #directoryOf(engine: string): string {
    if (!isEngineName(engine)) throw new InternalError(`Cannot use ${JSON.stringify(engine)} as the name of an engine`)
    return engine === ADOPTED_ENGINE ? this.path : join(this.path, ENGINES_DIRECTORY, engine)
  }

  async #engineNames(): Promise<readonly string[]> {
    return await inStep(this.path, 'list the engines of', async () => {
      const directory = join(this.path, ENGINES_DIRECTORY)
      const engines = (await this.#files.info(directory)) === undefined ? [] : (await this.#files.list(directory)).filter((name) => name !== ADOPTED_ENGINE && isEngineName(name))
      const adopted = adoptedFiles(await this.#files.list(this.path)).length > 0
      return adopted ? [ADOPTED_ENGINE, ...engines] : engines
    })
  }

  async #infoOf(path: string): Promise<FileInfo | undefined> {
    return await inStep(this.path, 'open', () => this.#files.info(path))
  }

  async #refuseLink(path: string): Promise<void> {
    const info = await this.#files.info(path)
    if (info === undefined || info.type === 'directory') return
    throw new StoreUnavailableError(`Cannot open the store at "${this.path}": "${path}" is not a directory`)
  }
}

/** Makes a directory and its missing parents, each durable. */
async function makeDirectories(files: Files, path: string): Promise<void> {
  if ((await files.info(path)) !== undefined) return
  await makeDirectories(files, dirname(path))
  try {
    await files.makeDirectory(path)
  } catch (error) {
    if (!isSystemError(error, 'EEXIST')) throw error
  }
  await files.syncDirectory(dirname(path))
}

async function nearestDirectory(files: Files, path: string): Promise<string> {
  return (await files.info(path)) === undefined ? await nearestDirectory(files, dirname(path)) : path
}
