/** The stores that trial restores of a command are made into. */
import { tmpdir } from 'node:os'
import type { Command } from 'commander'
import { InvalidArgumentError } from '../errors/errors.ts'
import type { ReadableTrial } from '../restore/subtree/restore-subtree.ts'
import type { Manifest } from '../format/manifest.ts'
import type { Output } from '../cli/output.ts'
import { parseServerUrl } from './store-url.ts'
import { printable } from '../cli/text.ts'

export interface TrialOptions {
  readonly trialDir: string
  readonly trialServer?: string | undefined
}

/** Adds the options; `when` says when a trial is made. */
export function withTrial(command: Command, when: string): Command {
  return command
    .option('--trial-dir <dir>', `where the temporary store of ${when} is made`, tmpdir())
    .option('--trial-server <url>', 'where that of a Postgres backup is made, in a schema of its own: postgres://USER@HOST/DATABASE')
}

/** A store of the backup's kind that lasts for one trial; for one in memory, in LevelDB: the records are the same. */
export async function openTrial({ backupId, storeKind }: Pick<Manifest, 'backupId' | 'storeKind'>, { trialDir, trialServer }: TrialOptions, output: Output): Promise<ReadableTrial> {
  const onWarning = ({ message }: Error): Promise<void> => output.warn(printable(message))
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
