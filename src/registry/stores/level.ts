/** `level:PATH`: metadata stores in local directories. */
import { realpath } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { CATALOG_DIRECTORY } from '../../stores/level/home/home-files.ts'
import { isSystemError } from '../../util/files.ts'
import { findParameterFault, findPathFault, parametersOfPath, pathOfUrl } from '../../util/urls.ts'
import { refuseStoreUrl, type StoreAddress, type StoreKind } from './address.ts'

export const levelStores: StoreKind = { form: 'level:PATH', parse: parseLevelUrl }

function parseLevelUrl(url: string): StoreAddress {
  const written = pathOfUrl(url)
  if (written === undefined) {
    const { sentence = 'it has no local path', hint = 'Write level:PATH with a relative or an absolute path' } = findPathFault(url) ?? {}
    throw refuseStoreUrl(sentence, hint)
  }
  const fault = findParameterFault(parametersOfPath(url), { scheme: 'level', known: [] })
  if (fault !== undefined) throw refuseStoreUrl(fault.sentence, `${fault.hint}; write a path that contains "?" as level:///PATH with %3F`)
  const path = resolve(written)
  return {
    shown: url,
    catalogPath: async () => join(path, CATALOG_DIRECTORY),
    directory: path,
    place: async () => `level:${await realPathOf(path)}`,
    openStore: async ({ create = false, adopt }) => await (await driver()).openLevelStore(path, { create, adopt }),
    openHome: async ({ adopt }) => await (await driver()).openLevelHome(path, { adopt }),
  }
}

async function driver(): Promise<typeof import('../../stores/level/index.ts')> {
  return await import('../../stores/level/index.ts')
}

/** The real path of a path whose last parts may not exist yet. */
async function realPathOf(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    if (!isSystemError(error, 'ENOENT') || dirname(path) === path) throw error
    return join(await realPathOf(dirname(path)), basename(path))
  }
}
