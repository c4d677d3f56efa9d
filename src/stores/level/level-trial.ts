/** LevelDB stores for one trial restore, each in a temporary directory. The next trial removes what killed trials left. */
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import process from 'node:process'
import { undoOnError } from '../../errors/clean-up.ts'
import { messageOf } from '../../errors/error-message.ts'
import { errorOf } from '../../errors/error-transfer.ts'
import { isHoldfastError } from '../../errors/errors.ts'
import { isSystemError, nodeFiles, removeTree } from '../../util/files.ts'
import { asHoldfastError } from '../../util/system-errors.ts'
import type { ReadableTrial } from '../../restore/subtree/restore-subtree.ts'
import { LOCK_DIRECTORY } from './home/home-files.ts'
import { lockHome } from './home/home-lock.ts'
import { openLevelStore } from './index.ts'

export interface LevelTrialOptions {
  /** Called with harmless failures to clean up. */
  readonly onWarning: (warning: Error) => void | Promise<void>
  /** The time in milliseconds since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined
}

const PREFIX = 'holdfast-trial-'
const TRIAL = /^holdfast-trial-[A-Za-z0-9]{6}$/
const STORE = 'store'
const GRACE_MS: number = 24 * 60 * 60 * 1000

/**
 * Makes an empty store in a fresh directory within `parent`. Discarding the store removes the directory.
 * Trials that were killed at least a day ago are removed first.
 */
export async function openLevelTrial(parent: string, { onWarning, clock = Date.now }: LevelTrialOptions): Promise<ReadableTrial> {
  const directory = await removeOldTrials(parent, { onWarning, nowMs: clock() })
    .then(() => mkdtemp(join(parent, PREFIX)))
    .catch((cause: unknown) => {
      const error = asHoldfastError(cause, `make a trial store in ${JSON.stringify(parent)}`)
      if (!isSystemError(cause, 'EACCES', 'EPERM', 'EROFS', 'ENOENT', 'ENOTDIR')) throw error
      throw errorOf(error.code, error.message, { cause, hint: 'Name a directory that can be written, with --trial-dir DIR (at: ["level:DIR"]) or TMPDIR' })
    })
  const store = await undoOnError(
    () => openLevelStore(join(directory, STORE)),
    () => removeTree(nodeFiles, directory),
    'the trial directory could not be removed',
  )
  return {
    kind: store.kind,
    backup: (sink, options) => store.backup(sink, options),
    restore: (source, options) => store.restore(source, options),
    view: () => store.view(),
    async discard() {
      await store.close()
      await removeTree(nodeFiles, directory)
    },
  }
}

/** Removes what killed trials left. Leftovers do no harm, so a failure is only a warning. */
async function removeOldTrials(
  parent: string,
  { onWarning, nowMs }: { readonly onWarning: LevelTrialOptions['onWarning']; readonly nowMs: number },
): Promise<void> {
  for (const name of await nodeFiles.list(parent)) {
    if (!TRIAL.test(name)) continue
    const directory = join(parent, name)
    try {
      if (await isAbandoned(directory, nowMs)) await removeUnlocked(directory)
    } catch (error) {
      if (isHoldfastError(error) && error.code === 'store_not_drained') continue
      await onWarning(new Error(`Cannot remove "${directory}", which a trial restore left: ${messageOf(error)}`, { cause: error }))
    }
  }
}

/**
 * Whether the directory is that of an old trial of this user. Temporary directories are shared: a link, or a directory that others own
 * or may write to, could lead a removal anywhere.
 */
async function isAbandoned(directory: string, nowMs: number): Promise<boolean> {
  const info = await nodeFiles.info(directory)
  if (info?.type !== 'directory' || nowMs - info.modifiedAtMs < GRACE_MS) return false
  return info.ownerId === (process.getuid?.() ?? info.ownerId) && (info.mode & 0o022) === 0
}

/** Removes a trial's directory. Rejects with `store_not_drained` while the trial is running and has its store locked. */
async function removeUnlocked(directory: string): Promise<void> {
  const store = join(directory, STORE)
  const lock = (await nodeFiles.info(store)) === undefined ? undefined : await lockHome(join(store, LOCK_DIRECTORY))
  try {
    // Another clean-up may have come first. Links within are removed, not followed.
    await rm(directory, { recursive: true, force: true })
  } finally {
    await lock?.close()
  }
}
