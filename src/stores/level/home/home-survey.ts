/** Finds out what is at the path of a home, without changing anything. */
import { join } from 'node:path'
import { StoreUnavailableError } from '../../../errors/errors.ts'
import type { Files } from '../../../util/files.ts'
import { LEVELDB_FILE } from '../../../util/level-errors.ts'
import { CATALOG_DIRECTORY, ENGINES_DIRECTORY, JOURNAL_FILE, LOCK_DIRECTORY, POINTER_FILE } from './home-files.ts'

/** `absent`: nothing, or only the beginnings of a home. `plain`: a LevelDB directory that is not a home. */
export type HomeSurvey = 'absent' | 'home' | 'plain'

/** What an unfinished home may have in it. */
const BEGINNINGS: readonly string[] = [CATALOG_DIRECTORY, LOCK_DIRECTORY, ENGINES_DIRECTORY, `${POINTER_FILE}.tmp`, 'lost+found']

/** Surveys a path. Rejects with `store_unavailable` when there is something else, or a damaged home. */
export async function surveyHome(files: Files, path: string): Promise<HomeSurvey> {
  const info = await files.info(path)
  if (info === undefined) return 'absent'
  if (info.type !== 'directory') {
    throw new StoreUnavailableError(`Cannot open the store at "${path}": it is not a directory`, {
      hint: 'Name the directory itself, not a link to it',
    })
  }
  const names = await files.list(path)
  if (names.includes(POINTER_FILE)) return 'home'
  const engines = names.includes(ENGINES_DIRECTORY) ? await files.list(join(path, ENGINES_DIRECTORY)) : []
  if (engines.length > 0 || names.includes(JOURNAL_FILE)) throw lostPointer(path, engines)
  if (names.includes('CURRENT')) return 'plain'
  const foreign = names.find((name) => !BEGINNINGS.includes(name))
  if (foreign === undefined) return 'absent'
  throw new StoreUnavailableError(`Cannot open the store at "${path}": the directory has other files in it, such as ${JSON.stringify(foreign)}`, {
    hint: 'Name the directory of a store, or one that is empty or does not exist',
  })
}

/** The files of an adopted LevelDB among names. `CURRENT` is first: without it the directory is not a LevelDB. */
export function adoptedFiles(names: readonly string[]): readonly string[] {
  return names.filter((name) => LEVELDB_FILE.test(name)).toSorted((a, b) => Number(b === 'CURRENT') - Number(a === 'CURRENT'))
}

function lostPointer(path: string, engines: readonly string[]): StoreUnavailableError {
  return new StoreUnavailableError(`Cannot open the store at "${path}": "${POINTER_FILE}", which names the live engine, is missing`, {
    hint: `Put "${POINTER_FILE}" back from a copy of this directory, or move the directory away and restore a backup to this path`,
    details: { engines },
  })
}
