/**
 * What a store does that a crash may cut off: restore, rollback, recovery, making and adopting a home. Runs in the test's process
 * and in child processes that are killed.
 */
import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { cpSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { fsDestination } from '../../destinations/fs/index.ts'
import { type Files, nodeFiles, systemError } from '../../src/util/files.ts'
import { type RestoreBackupOptions, restoreBackup } from '../../src/restore/restore-backup.ts'
import { rollback } from '../../src/restore/rollback.ts'
import type { RestoreStep } from '../../src/restore/steps.ts'
import { LevelMetadataStore, type LevelStoreOptions, openLevelHome, openLevelStore } from '../../src/stores/level/index.ts'
import { type LevelEngines, levelEngines } from '../../src/stores/level/home/level-engines.ts'
import { publish, takeBackup } from '../restore/publish.ts'
import { dump, fillStore } from '../restore/trees.ts'
import { READ_ONLY_CALLS, interceptFiles } from '../support/faulty-files.ts'
import type { Mark, Scenario } from './harness.ts'

/** Recovery takes seconds at most; the rest is for a machine that is busy with other things. */
const RECOVERY_LIMIT_MS = 30_000
const STORE_ID = 'store-under-test'
const OWN_NAMES = ['engines', 'holdfast.json', 'holdfast.lock']
/** One check in so many goes on with a whole restore. */
const RESTORE_EVERY = 8

const storeOf = (directory: string): string => join(directory, 'store')
const backupsOf = (directory: string): string => join(directory, 'backups')

/** What stores hold: as backed up, and changed since. */
interface Contents {
  readonly backedUp: string
  readonly live: string
}

interface Template extends Contents {
  readonly directory: string
}

let made: Promise<Template> | undefined
let plainMade: Promise<Template> | undefined
let checks = 0
const temporaries: string[] = []

/** Engines whose files are LevelDB's own to keep through a power loss: they have been opened to be served. */
const inService = new Set<string>()

const crashOptions: Scenario['crashOptions'] = {
  trusted: (path) => [...inService].some((engine) => path.startsWith(join('store', 'engines', engine))) || (inService.has('.') && /^store\/(?:CURRENT|MANIFEST-|LOCK|LOG|\d+\.)/.test(path)),
}

/** A store that has an engine before the live one, and a backup of which it differs. */
async function makeTemplate(): Promise<Template> {
  const directory = temporary()
  const destination = fsDestination({ path: backupsOf(directory) })
  const store = await openLevelStore(storeOf(directory), { storeId: STORE_ID })
  await fillStore(store, { seed: 1, files: 10 })
  const backedUp = await dump(store)
  const backupId = await publish(destination, await takeBackup(store))
  await restoreBackup({ target: store, destination, backupId })
  await fillStore(store, { seed: 2, files: 5 })
  const live = await dump(store)
  await store.close()
  return { directory, backedUp, live }
}

/** A LevelDB that nobody manages, and a backup of it. */
async function makePlain(): Promise<Template> {
  const directory = temporary()
  const store = await LevelMetadataStore.open(new ClassicLevel(storeOf(directory)), { kind: 'level', storeId: STORE_ID })
  await fillStore(store, { seed: 3, files: 10 })
  const backedUp = await dump(store)
  await publish(fsDestination({ path: backupsOf(directory) }), await takeBackup(store))
  await store.setSetting('changed', 'since')
  const live = await dump(store)
  await store.close()
  return { directory, backedUp, live }
}

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-template-'))
  temporaries.push(directory)
  return directory
}

/** Removes what the scenarios start from; call it when they are done. */
export function removeTemplates(): void {
  for (const directory of temporaries.splice(0)) rmSync(directory, { recursive: true })
}

async function template(): Promise<Template> {
  return await (made ??= makeTemplate())
}

async function plain(): Promise<Template> {
  return await (plainMade ??= makePlain())
}

async function prepareLive(directory: string): Promise<void> {
  cpSync((await template()).directory, directory, { recursive: true })
  serveOnly(readdirSync(join(storeOf(directory), 'engines')))
}

async function prepareNone(directory: string): Promise<void> {
  cpSync(backupsOf((await template()).directory), backupsOf(directory), { recursive: true })
  serveOnly([])
}

async function preparePlain(directory: string): Promise<void> {
  cpSync((await plain()).directory, directory, { recursive: true })
  serveOnly(['.'])
}

/** What could not be cleaned up is looked for when all is over. */
function ignore(): void {}

function serveOnly(engines: readonly string[]): void {
  inService.clear()
  for (const engine of engines) inService.add(engine)
}

/** Real engines, which are in service once they are opened while the pointer names them. */
function engines(directory: string, isBroken: (engine: string) => boolean = () => false): LevelEngines {
  // Without worker threads, for there are thousands of restores.
  const real = levelEngines({ multithreading: false })
  return {
    create: (path, storeId) => real.create(path, storeId),
    async open(path, storeId) {
      const engine = path === storeOf(directory) ? '.' : basename(path)
      const live = liveAt(directory)
      if (live === engine && isBroken(engine)) throw new Error('it is broken')
      if (live === engine) inService.add(engine)
      return await real.open(path, storeId)
    },
  }
}

async function backupIdAt(directory: string): Promise<string> {
  const [backupId] = readdirSync(backupsOf(directory))
  ok(backupId !== undefined)
  return backupId
}

interface RestoreHooks {
  readonly onProgress?: RestoreBackupOptions['onProgress']
  readonly onSuccess?: () => void
  readonly onFailure?: () => void
  readonly engines?: LevelEngines
  readonly adopt?: boolean
}

/** Restores the backup; `onProgress` sees the steps. */
async function restore(files: Files, directory: string, options: RestoreHooks = {}): Promise<void> {
  const home = await openLevelHome(storeOf(directory), { files, onWarning: ignore, engines: options.engines ?? engines(directory), adopt: options.adopt })
  try {
    const destination = fsDestination({ path: backupsOf(directory) })
    const { warnings } = await restoreBackup({ target: home, destination, backupId: await backupIdAt(directory), onProgress: options.onProgress })
    if (warnings.length === 0) options.onSuccess?.()
  } catch (error) {
    options.onFailure?.()
    throw error
  } finally {
    await home.close()
  }
}

/** Says what has become durable when a step begins: each is, when the step before it resolved. */
function marking(mark: Mark): RestoreBackupOptions['onProgress'] {
  const promises: Partial<Record<RestoreStep, string>> = { swap: 'journalled', 'check-live': 'swapped' }
  return ({ step }) => {
    const promise = promises[step]
    if (promise !== undefined) mark(promise)
  }
}

/** Checks a store after a crash: one of these contents, whole, with nothing left over, in service within seconds. */
async function checkStore(directory: string, may: readonly string[], options: LevelStoreOptions = {}): Promise<void> {
  const startedAt = performance.now()
  const warnings: Error[] = []
  const store = await openLevelStore(storeOf(directory), { create: false, onWarning: (warning) => warnings.push(warning), ...options })
  try {
    deepEqual(warnings, [])
    const found = await dump(store)
    ok(performance.now() - startedAt <= RECOVERY_LIMIT_MS, 'recovery took too long')
    equal(store.storeId, STORE_ID)
    ok(may.includes(found), 'the store is neither the old nor the new one')
    const { live = '', previous, leftovers } = await store.engines()
    deepEqual(leftovers, [])
    const kept = [live, previous].filter((name) => name !== undefined).filter((name) => name !== '.')
    deepEqual(new Set(readdirSync(join(storeOf(directory), 'engines'))), new Set(kept))
    const others = readdirSync(storeOf(directory)).filter((name) => !OWN_NAMES.includes(name))
    ok(live === '.' || previous === '.' || others.length === 0, `left over: ${others.join()}`)
    await store.setSetting('goes', 'on')
    if (checks++ % RESTORE_EVERY !== 0) return
    const destination = fsDestination({ path: backupsOf(directory) })
    await restoreBackup({ target: store, destination, backupId: await backupIdAt(directory) })
    equal(await store.setting('goes'), undefined, 'the next restore did not restore')
    await rollback({ target: store })
    equal(await store.setting('goes'), 'on', 'the next rollback did not roll back')
  } finally {
    await store.close()
  }
}

/** What must be on the disk by the promises made, before anything recovers it. A failure takes them back. */
function checkPromises(directory: string, promises: ReadonlySet<string>, before: string | undefined): void {
  if (promises.has('failed')) return
  const journal = existsSync(join(storeOf(directory), 'restore.json'))
  if (promises.has('journalled') && !promises.has('swapped')) ok(journal, 'the journal is not durable')
  if (promises.has('swapped')) ok(liveAt(directory) !== before, 'the swap is not durable')
  if (promises.has('cleared')) ok(!journal, 'the clearing of the journal is not durable')
}

/** Leaves the directory as a crash at the beginning of a step leaves it. */
async function cutAt(at: RestoreStep, directory: string): Promise<void> {
  let isCut = false
  const files = interceptFiles(nodeFiles, async (step, run) => {
    if (isCut && !READ_ONLY_CALLS.includes(step.call)) throw systemError('EIO', step.call, step.path)
    return await run()
  })
  const onProgress: RestoreBackupOptions['onProgress'] = ({ step }) => {
    isCut ||= step === at
  }
  await restore(files, directory, { onProgress }).catch(() => undefined)
}

function recovery(name: string, at: RestoreStep, outcomes: (contents: Contents) => readonly string[]): Scenario {
  return {
    name,
    crashOptions,
    prepare: async (directory) => {
      await prepareLive(directory)
      await cutAt(at, directory)
      serveOnly(readdirSync(join(storeOf(directory), 'engines')))
    },
    run: async (files, directory, mark) => {
      const store = await openLevelStore(storeOf(directory), { files, onWarning: ignore, engines: engines(directory) })
      mark('recovered')
      await store.close()
    },
    check: async (directory, promises) => {
      if (promises.has('recovered')) ok(!existsSync(join(storeOf(directory), 'restore.json')), 'the journal is still there after recovery')
      await checkStore(directory, outcomes(await template()))
    },
  }
}

const swapping = {
  crashOptions,
  check: async (directory: string, promises: ReadonlySet<string>) => {
    const { backedUp, live } = await template()
    checkPromises(directory, promises, liveAt((await template()).directory))
    await checkStore(directory, promises.has('swapped') && !promises.has('failed') ? [backedUp] : [backedUp, live])
  },
}

/** The engine that the pointer names. */
function liveAt(directory: string): string | undefined {
  const pointer = join(storeOf(directory), 'holdfast.json')
  return existsSync(pointer) ? (JSON.parse(readFileSync(pointer, 'utf8')) as { engine?: string }).engine : undefined
}

const making = {
  crashOptions,
  prepare: () => serveOnly([]),
  check: async (directory: string, promises: ReadonlySet<string>) => {
    const store = await openLevelStore(storeOf(directory), { create: !promises.has('made'), storeId: STORE_ID })
    await store.createShare('works')
    deepEqual((await store.engines()).leftovers, [])
    await store.close()
    deepEqual(new Set(readdirSync(storeOf(directory))), new Set(OWN_NAMES))
  },
}

/** Files that change nothing more once a pointer to an engine was renamed into place, and before that is durable. */
function cutAfterSwap(files: Files): Files {
  let renames = 0
  return interceptFiles(files, async (step, run) => {
    // The first pointer of a home names no engine.
    if (renames === 2 && !READ_ONLY_CALLS.includes(step.call)) throw systemError('EIO', step.call, step.path)
    if (step.call === 'rename') renames += 1
    return await run()
  })
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'restore over a live store',
    prepare: prepareLive,
    run: (files, directory, mark) => restore(files, directory, { onProgress: marking(mark), onSuccess: () => mark('cleared'), onFailure: () => mark('failed') }),
    ...swapping,
  },
  {
    name: 'restore under a live handle, and write to it whatever came of it',
    crashOptions,
    prepare: prepareLive,
    run: async (files, directory, mark) => {
      const store = await openLevelStore(storeOf(directory), { files, onWarning: ignore, engines: engines(directory) })
      try {
        const destination = fsDestination({ path: backupsOf(directory) })
        const backupId = await backupIdAt(directory)
        try {
          await restoreBackup({ target: store, destination, backupId })
          mark('restored')
        } finally {
          // A write that is acknowledged must be in the store that opens next, whichever engine that has.
          const acknowledge = (): void => mark('acknowledged')
          await store.setSetting('written', 'afterwards').then(acknowledge, ignore)
        }
      } finally {
        await store.close()
      }
    },
    check: async (directory, promises) => {
      const { backedUp, live } = await template()
      const store = await openLevelStore(storeOf(directory), { create: false })
      const written = await store.setting('written')
      await store.setSetting('written', undefined)
      await store.close()
      if (promises.has('acknowledged')) equal(written, 'afterwards', 'an acknowledged write is lost')
      await checkStore(directory, promises.has('restored') ? [backedUp] : [backedUp, live])
    },
  },
  {
    name: 'roll back',
    prepare: prepareLive,
    run: async (files, directory, mark) => {
      const home = await openLevelHome(storeOf(directory), { files, onWarning: ignore, engines: engines(directory) })
      try {
        const { warnings } = await rollback({ target: home, onProgress: marking(mark) })
        if (warnings.length === 0) mark('cleared')
      } catch (error) {
        mark('failed')
        throw error
      } finally {
        await home.close()
      }
    },
    // The engine before the live one holds the tree that was backed up, as the restored one does.
    ...swapping,
  },
  {
    name: 'restore where no store is',
    crashOptions,
    prepare: prepareNone,
    run: (files, directory, mark) => restore(files, directory, { onProgress: marking(mark), onSuccess: () => mark('cleared'), onFailure: () => mark('failed') }),
    check: async (directory, promises) => {
      checkPromises(directory, promises, undefined)
      if (liveAt(directory) !== undefined) return await checkStore(directory, [(await template()).backedUp])
      await rejects(openLevelStore(storeOf(directory), { create: false }), { code: 'store_unavailable', message: /there is none/ })
      await restore(nodeFiles, directory)
      await checkStore(directory, [(await template()).backedUp])
    },
  },
  {
    name: 'restore what does not serve, and undo it',
    crashOptions,
    prepare: prepareLive,
    run: async (files, directory, mark) => {
      const before = liveAt(directory)
      const failing = restore(files, directory, { engines: engines(directory, (engine) => engine !== before) })
      await failing.then(
        () => Promise.reject(new Error('what does not serve was restored')),
        (error: unknown) => {
          if (!(error instanceof Error) || !error.message.includes('is live again')) throw error
        },
      )
      mark('undone')
    },
    check: async (directory, promises) => {
      const { backedUp, live } = await template()
      await checkStore(directory, promises.has('undone') ? [live] : [backedUp, live])
    },
  },
  recovery('recover: remove what a restore left before its journal', 'journal', ({ live }) => [live]),
  recovery('recover: undo a restore that was journalled and not swapped', 'swap', ({ live }) => [live]),
  // Undone where a fault in the check makes the engine look as if it did not serve.
  recovery('recover: complete a restore that was swapped', 'check-live', ({ backedUp, live }) => [backedUp, live]),
  {
    name: 'make a store',
    ...making,
    run: async (files, directory, mark) => {
      const store = await openLevelStore(storeOf(directory), { files, onWarning: ignore, engines: engines(directory), storeId: STORE_ID })
      mark('made')
      await store.close()
    },
  },
  {
    name: 'open a store whose making was killed',
    ...making,
    run: async (files, directory, mark) => {
      await openLevelStore(storeOf(directory), { files: cutAfterSwap(files), engines: engines(directory), storeId: STORE_ID }).catch(ignore)
      const store = await openLevelStore(storeOf(directory), { files, onWarning: ignore, engines: engines(directory), storeId: STORE_ID })
      mark('made')
      await store.close()
    },
  },
  {
    name: 'adopt a LevelDB',
    crashOptions,
    prepare: preparePlain,
    run: async (files, directory, mark) => {
      const store = await openLevelStore(storeOf(directory), { files, onWarning: ignore, engines: engines(directory), adopt: true })
      mark('adopted')
      await store.close()
    },
    check: async (directory, promises) => {
      await checkStore(directory, [(await plain()).live], { adopt: !promises.has('adopted') })
    },
  },
  {
    name: 'restore twice over an adopted LevelDB',
    crashOptions,
    prepare: preparePlain,
    run: async (files, directory, mark) => {
      await restore(files, directory, { adopt: true })
      await restore(files, directory)
      mark('restored')
    },
    check: async (directory, promises) => {
      const { backedUp, live } = await plain()
      await checkStore(directory, promises.has('restored') ? [backedUp] : [backedUp, live], { adopt: true })
      if (promises.has('restored')) ok(!existsSync(join(storeOf(directory), 'CURRENT')), 'the adopted files are still there')
    },
  },
]
