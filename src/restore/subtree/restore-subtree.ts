/** Restores one file or directory from a backup into a store in service. */
import { BOOLEAN, FUNCTION, type OptionKinds, SIGNAL, STRING, checkOptions, optional } from '../../util/check-options.ts'
import { checkBackupId, newUlid } from '../../util/ulid.ts'
import type { Backupable } from '../../contracts/backupable.ts'
import type { Destination } from '../../contracts/destination.ts'
import { DESTINATION, METADATA_STORE, PAYLOAD_STORE } from '../../contracts/kinds.ts'
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
import { ATTEMPT_OPTIONS, attempt, type AttemptOptions, type AttemptReport } from '../attempt.ts'
import { checkRestored, fillFromBackup } from '../../repository/restore-content.ts'
import { openBackup, type StoredBackup } from '../../repository/stored-backup.ts'
import { openStaging, removeUnfinished } from './staging.ts'
import { type StepProgress, StepRunner, type StepTime } from '../steps.ts'
import { checkTarget, putInPlace, type TargetOptions } from './subtree-target.ts'

/** The steps in order; `payloads` only if they are checked. */
export const RESTORE_SUBTREE_STEPS = ['prepare', 'restore', 'payloads', 'copy', 'place', 'clean-up'] as const
export type RestoreSubtreeStep = (typeof RESTORE_SUBTREE_STEPS)[number]
export type RestoreSubtreeProgress = StepProgress<RestoreSubtreeStep>

/** A fresh, empty store of the backup's kind, to read from and throw away. */
export interface ReadableTrial extends Backupable, Pick<MetadataStore, 'view'> {
  /** Closes and removes it. */
  discard(): Promise<void>
}

export interface RestoreSubtreeOptions extends AttemptOptions {
  /** The store to restore into; it may be of another kind than the backup. */
  readonly store: MetadataStore
  readonly destination: Destination
  readonly backupId: string
  /** The path to restore, `share/directory/name`. */
  readonly path: string
  /** The new path; its directory must exist. @default path */
  readonly toPath?: string | undefined
  /** Whether to replace any existing entry there, in one step. @default false */
  readonly overwrite?: boolean | undefined
  /**
   * Opens an empty store with enough space for the whole backup; it is discarded afterwards. Its schema version must be that of the backup.
   */
  readonly openTrial: (manifest: Manifest, backup: StoredBackup) => Promise<ReadableTrial>
  /** Changes nothing unless every restored payload is in this store. @default not checked */
  readonly payloads?: PayloadStore | undefined
  /** Called once after all checks, before the store refers to the payloads; a rejection leaves the store as it is. @default none */
  readonly beforeChange?: (() => Promise<void>) | undefined
  /** Whether the backup may be of another store. @default false */
  readonly allowStoreId?: boolean | undefined
  /** Whether the backup may differ from the catalog's record. @default false */
  readonly allowAltered?: boolean | undefined
  /** A share, `.holdfast-restore-ULID`, of a restore on a machine that is gone for good: it is removed first. @default none */
  readonly release?: string | undefined
  /** Ends the restore with `backup_aborted`. Has no effect once the result takes its place. */
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: RestoreSubtreeProgress) => void) | undefined
}

const OPTIONS: OptionKinds<RestoreSubtreeOptions> = {
  ...ATTEMPT_OPTIONS,
  store: METADATA_STORE,
  destination: DESTINATION,
  backupId: STRING,
  path: STRING,
  toPath: optional(STRING),
  overwrite: optional(BOOLEAN),
  openTrial: FUNCTION,
  payloads: optional(PAYLOAD_STORE),
  beforeChange: optional(FUNCTION),
  allowStoreId: optional(BOOLEAN),
  allowAltered: optional(BOOLEAN),
  release: optional(STRING),
  signal: optional(SIGNAL),
  onProgress: optional(FUNCTION),
}

export interface RestoreSubtreeReport extends AttemptReport {
  readonly restoreId: string
  readonly backupId: string
  readonly storeId: string
  readonly path: string
  readonly toPath: string
  /** Whether an existing entry was replaced. */
  readonly replaced: boolean
  readonly restored: Readonly<TreeCounts>
  readonly startedAtMs: number
  readonly durationMs: number
  readonly steps: readonly StepTime<RestoreSubtreeStep>[]
}

/**
 * Restores one file or directory, with everything in it, while the store stays in service.
 *
 * The backup is first restored into a trial store, and all of it is checked there. Then the path is copied into a share of the store,
 * `.holdfast-restore-ULID`, and renamed to its place. So no reader sees half of it: after a failure, an abort or the end of the process,
 * all of the path is restored, or nothing. The next restore removes the share of a killed one; if other processes may have the store open,
 * only a share of this machine, or `release`. A replaced entry moves to the share by the same rename, and is removed with it.
 *
 * Attributes, times, content and links within the path are restored; inode numbers are new; a hard link to an inode outside the path
 * becomes an inode of its own. Locks and pending uploads are not restored.
 *
 * Rejects, before the job begins, with `restore_in_progress` and `invalid_argument`; with `hold_unavailable` and, if `holds` are given,
 * `catalog_unavailable` when the payloads cannot be held; with `entry_exists` for a taken place, `entry_not_found` and `not_a_directory`
 * for either path; with what `restoreBackup` rejects with for a backup, `payload_missing`, what the trial store and the destination reject
 * with, and `backup_aborted`. The rejection has the ID of the job (`jobIdOf`).
 */
export async function restoreSubtree(options: RestoreSubtreeOptions): Promise<RestoreSubtreeReport> {
  checkOptions('restoreSubtree', options, OPTIONS)
  const { store, destination, backupId, signal } = options
  checkBackupId(backupId)
  const path = parsePath(options.path)
  const toPath = options.toPath === undefined ? path : parsePath(options.toPath)
  if (toPath.length === 1) {
    throw new InvalidArgumentError(`Cannot restore to ${JSON.stringify(showPath(toPath))}: it names a whole share`, {
      hint: 'Name a place within a share with --to-path SHARE/NAME (toPath)',
    })
  }
  const job = { kind: 'restore', storeKind: store.kind, destination: destination.url, backupId } as const
  return await attempt({
    target: store,
    job,
    readStoreId: async () => store.storeId,
    signal,
    run: () => new SubtreeRestore(options, { path, toPath }).run(),
    lastProgress: ({ storeId, restored }) => ({ phase: 'clean-up', storeId, bytes: 0, records: entriesIn(restored) }),
  }, options)
}

type Outcome = Pick<RestoreSubtreeReport, 'replaced' | 'restored'>

/** The steps of one attempt. */
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

  async run(): Promise<Omit<RestoreSubtreeReport, 'jobId'>> {
    const { store, backupId, openTrial, clock = Date.now } = this.#options
    const startedAtMs = clock()
    const startedAt = performance.now()
    const backup = await this.#steps.run('prepare', () => this.#prepare())
    const trial = await openTrial(backup.manifest, backup)
    const outcome = await afterwards(() => this.#fromTrial(trial, backup), () => trial.discard(), {
      left: 'the trial store could not be removed',
      warnings: this.#warnings,
    })
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

  /** Makes all refusals before the backup is read. */
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
    await this.#steps.run('restore', async (onProgress) => {
      await fillFromBackup(trial, backup, { signal, onProgress })
      await checkRestored(trial, backup, { signal, onProgress })
    })
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
      left: `the share "${staging.share}" could not be removed; the next restore of a path removes it`,
      warnings: this.#warnings,
    })
  }
}

function entriesIn({ files, directories, symlinks, others, hardLinks }: TreeCounts): number {
  return files + directories + symlinks + others + hardLinks
}
