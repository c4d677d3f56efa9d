/** Bringing one file or directory back from a backup into a store that goes on serving. */
import { checkBackupId, newUlid } from '../../util/ulid.ts'
import type { Backupable } from '../../contracts/backupable.ts'
import type { Destination } from '../../contracts/destination.ts'
import { afterwards, closing } from '../../errors/clean-up.ts'
import { InvalidArgumentError } from '../../errors/errors.ts'
import { checkPayloadsExist } from '../../payload-stores/check-payloads.ts'
import { copyTree, type TreeCounts } from '../../metadata/copy-tree.ts'
import type { Inode, MetadataStore, MetadataView } from '../../contracts/metadata-store.ts'
import { findPath, parsePath, showPath, type TreePath } from '../../metadata/tree-path.ts'
import { payloadIdsOfTree } from '../../metadata/tree-payload-ids.ts'
import type { PayloadStore } from '../../contracts/payload-store.ts'
import type { Manifest } from '../../contracts/manifest.ts'
import { checkStoreId, compareIfPossible } from '../plan-restore.ts'
import { attempt, type AttemptOptions, type AttemptReport } from '../attempt.ts'
import { fillFromBackup } from '../../repository/restore-content.ts'
import { openBackup, type StoredBackup } from '../../repository/stored-backup.ts'
import { openStaging, removeUnfinished } from './staging.ts'
import { type StepProgress, StepRunner, type StepTime } from '../steps.ts'
import { checkTarget, putInPlace, type TargetOptions } from './subtree-target.ts'

/** In order; `payloads` only where they are looked for. */
export const RESTORE_SUBTREE_STEPS = ['prepare', 'restore', 'payloads', 'copy', 'place', 'clean-up'] as const
export type RestoreSubtreeStep = (typeof RESTORE_SUBTREE_STEPS)[number]
export type RestoreSubtreeProgress = StepProgress<RestoreSubtreeStep>

/** A fresh, empty store of the kind that was backed up, which is read from and thrown away. */
export interface ReadableTrial extends Backupable, Pick<MetadataStore, 'view'> {
  /** Closes and removes it. */
  discard(): Promise<void>
}

export interface RestoreSubtreeOptions extends AttemptOptions {
  /** The store that gets it; it need not be of the backup's kind. */
  readonly store: MetadataStore
  readonly destination: Destination
  readonly backupId: string
  /** What to bring back, `share/directory/name`. */
  readonly path: string
  /** Where to; the last name is what it is called there, the directory above is there already. @default path */
  readonly toPath?: string | undefined
  /** Whether what is there is replaced, whatever it is, in one step. @default false */
  readonly overwrite?: boolean | undefined
  /** Makes an empty store, for which there is as much space as the backup takes; it is discarded afterwards. Its schema version must be that of the store that was backed up. */
  readonly openTrial: (manifest: Manifest, backup: StoredBackup) => Promise<ReadableTrial>
  /** Where every payload of what is restored must be before the store is changed. @default they are not looked for */
  readonly payloads?: PayloadStore | undefined
  /** Called once when all was checked, right before the store comes to refer to the payloads; when it rejects, the store stays as it is. @default nothing is done */
  readonly beforeChange?: (() => Promise<void>) | undefined
  /** Whether the backup may be of another store. @default false */
  readonly allowStoreId?: boolean | undefined
  /** Whether the backup may be another than the catalog recorded. @default false */
  readonly allowAltered?: boolean | undefined
  /** A share, `.holdfast-restore-ULID`, of a restore on a machine that is gone for good: it is removed first. @default what cannot be proven to have ended stays */
  readonly release?: string | undefined
  /** Ends the restore, with `backup_aborted`, until it takes its place. Later it is not looked at. */
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: RestoreSubtreeProgress) => void) | undefined
}

export interface RestoreSubtreeReport extends AttemptReport {
  readonly restoreId: string
  readonly backupId: string
  readonly storeId: string
  readonly path: string
  readonly toPath: string
  /** Whether something was there, and is gone now. */
  readonly replaced: boolean
  readonly restored: Readonly<TreeCounts>
  readonly startedAtMs: number
  readonly durationMs: number
  readonly steps: readonly StepTime<RestoreSubtreeStep>[]
}

/**
 * Restores one file or directory, with all that is in it, while the store goes on serving.
 *
 * The backup is restored into a trial store first, which checks all of it; then what is asked for is copied from there into a share of the store's own,
 * `.holdfast-restore-ULID`, and from there, whole, renamed to its place. So no reader sees half of it: after a failure, an abort, or the end of the
 * process, the tree is as it was, or whole. What a restore that was killed leaves in that share is removed by the next; where
 * other processes may have the store open, only when it ran on this machine, or with `release`. What is replaced goes there too,
 * by the same rename, and is removed with it.
 *
 * Attributes, times, links within what is restored, and what content refers to are as they were; inode numbers are new; a name of an inode with other
 * names outside becomes an inode of its own. Locks and pending uploads are not restored.
 *
 * Rejects with `restore_in_progress` and `invalid_argument`, which are no attempt yet; with `hold_unavailable` and, where `holds` are given,
 * `catalog_unavailable` when the payloads cannot be held; with `entry_exists` when something is there, `entry_not_found` and `not_a_directory` for either path; with what `restoreBackup` says of a
 * backup, `payload_missing`, what the trial store and the destination reject with, and `backup_aborted`. The rejection has the
 * ID of the job (`jobIdOf`).
 */
export async function restoreSubtree(options: RestoreSubtreeOptions): Promise<RestoreSubtreeReport> {
  const { store, destination, backupId, signal } = options
  checkBackupId(backupId)
  const path = parsePath(options.path)
  const toPath = options.toPath === undefined ? path : parsePath(options.toPath)
  if (toPath.length === 1) {
    throw new InvalidArgumentError(`Cannot restore to ${JSON.stringify(showPath(toPath))}: it names a whole share`, {
      hint: 'Name a place within a share (--to-path SHARE/NAME)',
    })
  }
  const job = { kind: 'restore', storeKind: store.kind, destination: destination.url, backupId } as const
  const run = (): Promise<RestoredTree> => new SubtreeRestore(options, { path, toPath }).run()
  return await attempt({ target: store, job, readStoreId: async () => store.storeId, signal, run, lastProgress }, options)
}

type RestoredTree = Omit<RestoreSubtreeReport, 'jobId'>

function lastProgress({ storeId, restored }: RestoredTree): { readonly phase: 'clean-up'; readonly storeId: string; readonly bytes: number; readonly records: number } {
  return { phase: 'clean-up', storeId, bytes: 0, records: entriesIn(restored) }
}

type Outcome = Pick<RestoreSubtreeReport, 'replaced' | 'restored'>

/** One attempt. */
class SubtreeRestore {
  readonly #options: RestoreSubtreeOptions
  readonly #path: TreePath
  readonly #target: TargetOptions
  readonly #steps: StepRunner<RestoreSubtreeStep>
  readonly #warnings: Error[] = []

  constructor(options: RestoreSubtreeOptions, { path, toPath }: { readonly path: TreePath; readonly toPath: TreePath }) {
    this.#options = options
    this.#path = path
    this.#target = { toPath, overwrite: options.overwrite ?? false }
    this.#steps = new StepRunner(options.onProgress)
  }

  async run(): Promise<RestoredTree> {
    const { store, backupId, openTrial, clock = Date.now } = this.#options
    const startedAtMs = clock()
    const startedAt = performance.now()
    const backup = await this.#steps.run('prepare', () => this.#prepare())
    const trial = await openTrial(backup.manifest, backup)
    const outcome = await afterwards(() => this.#fromTrial(trial, backup), () => trial.discard(), { left: 'the trial store could not be removed', warnings: this.#warnings })
    return {
      restoreId: newUlid(startedAtMs),
      backupId,
      storeId: store.storeId,
      path: showPath(this.#path),
      toPath: showPath(this.#target.toPath),
      ...outcome,
      startedAtMs,
      durationMs: performance.now() - startedAt,
      steps: this.#steps.times,
      warnings: this.#warnings,
    }
  }

  /** What is refused before the backup is read. */
  async #prepare(): Promise<StoredBackup> {
    const { store, destination, backupId, catalog, allowStoreId = false, allowAltered = false, release, signal } = this.#options
    this.#warnings.push(...(await removeUnfinished(store, { release })))
    const backup = await openBackup({ destination, backupId, signal })
    if (!allowAltered) await compareIfPossible(backup, catalog)
    checkStoreId(backup.manifest, { targetId: store.storeId, allowStoreId })
    await backup.checkSizes({ signal })
    await checkTarget(store, this.#target)
    return backup
  }

  async #fromTrial(trial: ReadableTrial, backup: StoredBackup): Promise<Outcome> {
    const { backupId, signal } = this.#options
    await this.#steps.run('restore', (onProgress) => fillFromBackup(trial, backup, { signal, onProgress }))
    return await closing(await trial.view(), async (view) => {
      const found = await findPath(view, this.#path, `in backup ${backupId}`)
      await this.#lookForPayloads(view, found)
      await this.#options.beforeChange?.()
      return await this.#throughStaging(view, found)
    })
  }

  async #lookForPayloads(view: MetadataView, found: Inode): Promise<void> {
    const { payloads, backupId, signal } = this.#options
    if (payloads === undefined) return
    const what = `${JSON.stringify(showPath(this.#path))} in backup ${backupId}`
    await this.#steps.run('payloads', async (tell) => {
      const onProgress = (records: number): void => tell({ bytes: 0, totalBytes: 0, records })
      await checkPayloadsExist(payloadIdsOfTree(view, found), { payloads, what, signal, onProgress })
    })
  }

  async #throughStaging(view: MetadataView, { inode }: Inode): Promise<Outcome> {
    const { store, signal } = this.#options
    const staging = await openStaging(store)
    const { place } = staging
    const build = async (): Promise<Outcome> => {
      const restored = await this.#steps.run('copy', (tell) =>
        copyTree({ from: view, inode, to: store, place, signal, onProgress: (counts) => tell({ bytes: 0, totalBytes: 0, records: entriesIn(counts) }) }),
      )
      signal?.throwIfAborted()
      return { replaced: await this.#steps.run('place', () => putInPlace(store, place, this.#target)), restored }
    }
    return await afterwards(build, () => this.#steps.run('clean-up', () => staging.remove()), {
      left: `the share "${staging.share}" could not be removed, which the next restore of a path does`,
      warnings: this.#warnings,
    })
  }
}

function entriesIn({ files, directories, symlinks, others, hardLinks }: TreeCounts): number {
  return files + directories + symlinks + others + hardLinks
}
