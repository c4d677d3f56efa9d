/** The stores that trial restores are made into, by URL. A new kind is one line here. */
import type { Manifest } from '../contracts/manifest.ts'
import { InvalidArgumentError } from '../errors/errors.ts'
import type { ReadableTrial } from '../restore/subtree/restore-subtree.ts'
import { findParameterFault, kindOf, listSchemes, parametersOfPath, pathOfUrl, schemeOf } from '../util/urls.ts'
import type { OpenHomeOptions } from './stores/address.ts'
import { parseServerUrl } from './stores/postgres.ts'

export interface TrialOptions extends Pick<OpenHomeOptions, 'pace'> {
  /** Where a trial may be made: `level:DIRECTORY`, `postgres://USER@HOST/DATABASE`. The first that fits the kind of the backup is taken. */
  readonly at: readonly string[]
  /** Called with what could not be cleaned up and does no harm. */
  readonly onWarning: (warning: Error) => void | Promise<void>
}

interface TrialKind {
  /** The kinds of stores whose backups can be tried there. */
  readonly storeKinds: readonly string[]
  open(url: string, options: Pick<TrialOptions, 'onWarning' | 'pace'>): Promise<ReadableTrial>
}

const KINDS: Readonly<Record<string, TrialKind>> = {
  // A store in memory and one in LevelDB have the same records.
  level: { storeKinds: ['level', 'memory'], open: async (url, options) => await (await import('../stores/level/level-trial.ts')).openLevelTrial(directoryOf(url), options) },
  postgres: { storeKinds: ['postgres'], open: openPostgresTrialAt },
  postgresql: { storeKinds: ['postgres'], open: openPostgresTrialAt },
}

/** Opens an empty store of a backup's kind that lasts for one trial. Discard it. Rejects with `invalid_argument` where no place fits. */
export async function openTrial(backup: Pick<Manifest, 'backupId' | 'storeKind'>, { at, ...options }: TrialOptions): Promise<ReadableTrial> {
  const { kind, url } = findTrial(backup, at)
  return await kind.open(url, options)
}

/** Throws the `invalid_argument` that `openTrial` rejects with when no place fits; nothing is opened. */
export function checkTrial(backup: Pick<Manifest, 'backupId' | 'storeKind'>, at: readonly string[]): void {
  findTrial(backup, at)
}

function findTrial({ backupId, storeKind }: Pick<Manifest, 'backupId' | 'storeKind'>, at: readonly string[]): { readonly kind: TrialKind; readonly url: string } {
  for (const url of at) {
    const kind = kindOf(KINDS, schemeOf(url))
    if (kind === undefined) throw new InvalidArgumentError('Cannot try a restore there: the URL names no place for trials', { hint: `Known are ${listSchemes(KINDS)}` })
    if (kind.storeKinds.includes(storeKind)) return { kind, url }
  }
  if (storeKind === 'postgres') {
    throw new InvalidArgumentError(`Cannot try to restore backup ${backupId}: it is of a Postgres store, and no server is named to try it on`, {
      hint: 'Name one with --trial-server postgres://USER@HOST/DATABASE; the trial is made in a schema of its own there, and removed',
    })
  }
  throw new InvalidArgumentError(`Cannot try to restore backup ${backupId}: no place that is named can try stores of kind ${JSON.stringify(storeKind)}`, {
    hint: `Verify it at a level that needs no trial. Trials are made of stores of kind ${[...new Set(Object.values(KINDS).flatMap(({ storeKinds }) => storeKinds))].join(', ')}`,
  })
}

async function openPostgresTrialAt(url: string, options: Pick<TrialOptions, 'onWarning' | 'pace'>): Promise<ReadableTrial> {
  const { openPostgresTrial } = await import('../stores/postgres/index.ts')
  return await openPostgresTrial(parseServerUrl(url), options)
}

function directoryOf(url: string): string {
  const path = pathOfUrl(url)
  const fault = findParameterFault(parametersOfPath(url), { scheme: 'level', known: [] })
  if (path !== undefined && fault === undefined) return path
  throw new InvalidArgumentError(`Cannot try a restore there: ${fault?.sentence ?? 'the URL names no path of this machine'}`, { hint: fault?.hint ?? 'Write level:DIRECTORY' })
}
