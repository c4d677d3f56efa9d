/** Finds the check of a backup's content by the kind of its store. A new kind is one line here. */
import type { Manifest } from '../contracts/manifest.ts'
import type { ContentCheck } from '../format/snapshot-reader.ts'
import { kindOf } from '../util/urls.ts'

type FindCheck = (manifest: Manifest) => Promise<ContentCheck | undefined>

const ofMetadata: FindCheck = async (manifest) => (await import('../stores/level/store/content-check.ts')).contentCheckOf(manifest)

const KINDS: Readonly<Record<string, FindCheck>> = {
  // Memory and LevelDB stores have the same records.
  level: ofMetadata,
  memory: ofMetadata,
  postgres: async () => (await import('../stores/postgres/store/content-check.ts')).checkArchive,
}

/**
 * Finds the rules that a restore of the backup applies to its content, for `verifyBackup`. Resolves with `undefined` for a store of a kind,
 * or with records, that this release does not know. Loads no driver.
 */
export async function findContentCheck(manifest: Manifest): Promise<ContentCheck | undefined> {
  return await kindOf(KINDS, manifest.storeKind)?.(manifest)
}
