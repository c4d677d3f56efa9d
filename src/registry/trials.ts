/** The stores that trial restores are made into, by the kind of the backup. */
import { InvalidArgumentError } from '../errors/errors.ts'
import type { ReadableTrial } from '../restore/subtree/restore-subtree.ts'
import type { Manifest } from '../contracts/manifest.ts'
import { parseServerUrl } from './store-url.ts'

export interface TrialOptions {
  /** The directory in which a LevelDB trial is made. */
  readonly trialDir: string
  readonly trialServer?: string | undefined
  /** Called with what could not be cleaned up and does no harm. */
  readonly onWarning: (warning: Error) => void | Promise<void>
}

/** A store of the backup's kind that lasts for one trial; for one in memory, in LevelDB: the records are the same. */
export async function openTrial({ backupId, storeKind }: Pick<Manifest, 'backupId' | 'storeKind'>, { trialDir, trialServer, onWarning }: TrialOptions): Promise<ReadableTrial> {
  if (storeKind !== 'postgres') {
    const { openLevelTrial } = await import('../stores/level/level-trial.ts')
    return await openLevelTrial(trialDir, { onWarning })
  }
  if (trialServer === undefined) throw noServer(backupId)
  const { openPostgresTrial } = await import('../stores/postgres/index.ts')
  return await openPostgresTrial(parseServerUrl(trialServer), { onWarning })
}

export function noServer(backupId: string): InvalidArgumentError {
  return new InvalidArgumentError(`Cannot try to restore backup ${backupId}: it is of a Postgres store, and no server is named to try it on`, {
    hint: 'Name one with --trial-server postgres://USER@HOST/DATABASE; the trial is made in a schema of its own there, and removed',
  })
}
