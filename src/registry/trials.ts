/** Opens stores for trial restores by URL. A new kind is one line here. */
import type { Manifest } from '../contracts/manifest.ts'
import { InvalidArgumentError } from '../errors/errors.ts'
import type { ReadableTrial } from '../restore/subtree/restore-subtree.ts'
import { FUNCTION, OBJECT, type OptionKinds, STRING, checkArgument, checkOptions, listOf } from '../util/check-options.ts'
import { findParameterFault, findPathFault, kindOf, listSchemes, parametersOfPath, pathOfUrl, schemeOf } from '../util/urls.ts'
import { HOME_OPTIONS, type OpenHomeOptions } from './stores/address.ts'
import { parseServerUrl } from './stores/postgres.ts'

export interface TrialOptions extends Pick<OpenHomeOptions, 'pace'> {
  /** The places for trials: `level:DIRECTORY`, `postgres://USER@HOST/DATABASE`. The first that fits the backup's kind is used. */
  readonly at: readonly string[]
  /** Called with harmless failures to clean up. */
  readonly onWarning: (warning: Error) => void | Promise<void>
}

const OPTIONS: OptionKinds<TrialOptions> = { pace: HOME_OPTIONS.pace, at: listOf(STRING, 'URLs'), onWarning: FUNCTION }

interface TrialKind {
  /** The kinds of stores whose backups can be restored there. */
  readonly storeKinds: readonly string[]
  open(url: string, options: Pick<TrialOptions, 'onWarning' | 'pace'>): Promise<ReadableTrial>
}

const KINDS: Readonly<Record<string, TrialKind>> = {
  // Memory and LevelDB stores have the same records.
  level: { storeKinds: ['level', 'memory'], open: async (url, options) => await (await import('../stores/level/level-trial.ts')).openLevelTrial(directoryOf(url), options) },
  postgres: { storeKinds: ['postgres'], open: openPostgresTrialAt },
  postgresql: { storeKinds: ['postgres'], open: openPostgresTrialAt },
}

/** Opens an empty store of a backup's kind for one trial. The caller discards it. Rejects with `invalid_argument` when no place fits. */
export async function openTrial(backup: Pick<Manifest, 'backupId' | 'storeKind'>, given: TrialOptions): Promise<ReadableTrial> {
  checkArgument('openTrial', backup, { name: 'backup', kind: OBJECT })
  checkOptions('openTrial', given, OPTIONS)
  const { at, ...options } = given
  const { kind, url } = findTrial(backup, at)
  return await kind.open(url, options)
}

/** Checks that `openTrial` would find a place, or throws its `invalid_argument`; opens nothing. */
export function checkTrial(backup: Pick<Manifest, 'backupId' | 'storeKind'>, at: readonly string[]): void {
  findTrial(backup, at)
}

function findTrial(
  { backupId, storeKind }: Pick<Manifest, 'backupId' | 'storeKind'>,
  at: readonly string[],
): { readonly kind: TrialKind; readonly url: string } {
  for (const url of at) {
    const kind = kindOf(KINDS, schemeOf(url))
    if (kind === undefined) {
      throw new InvalidArgumentError('Cannot make a trial restore there: the URL is not a place for trials', {
        hint: `Known are ${listSchemes(KINDS)}`,
      })
    }
    if (kind.storeKinds.includes(storeKind)) return { kind, url }
  }
  if (storeKind === 'postgres') {
    throw new InvalidArgumentError(`Cannot make a trial restore of backup ${backupId}: it is of a Postgres store, and no server is named for the trial`, {
      hint: 'Name a server, postgres://USER@HOST/DATABASE, with --trial-server URL (at: [URL]); the trial uses a schema of its own there, and removes it',
    })
  }
  throw new InvalidArgumentError(`Cannot make a trial restore of backup ${backupId}: no named place takes stores of kind ${JSON.stringify(storeKind)}`, {
    hint:
      `Verify it at level content. Trials work for stores of kind ${[...new Set(Object.values(KINDS).flatMap(({ storeKinds }) => storeKinds))].join(', ')}; ` +
      'a server makes one of a database of its own with verifyBackup and openTrial',
  })
}

async function openPostgresTrialAt(url: string, options: Pick<TrialOptions, 'onWarning' | 'pace'>): Promise<ReadableTrial> {
  const { openPostgresTrial } = await import('../stores/postgres/index.ts')
  return await openPostgresTrial(parseServerUrl(url), options)
}

function directoryOf(url: string): string {
  const path = pathOfUrl(url)
  const fault = findPathFault(url) ?? findParameterFault(parametersOfPath(url), { scheme: 'level', known: [] })
  if (path !== undefined && fault === undefined) return path
  throw new InvalidArgumentError(`Cannot make a trial restore there: ${fault?.sentence ?? 'the URL has no local path'}`, {
    hint: fault?.hint ?? 'Write level:DIRECTORY',
  })
}
