/**
 * Imports that did not end. A setting names the share of an import while it runs, and an option of the share names the import, so
 * that what a killed import had created is found by the next one, and a share that is somebody else's is left alone.
 */
import { newUlid } from '../util/ulid.ts'
import type { MetadataStore } from '../contracts/metadata-store.ts'
import { removeShareTree } from '../metadata/remove-tree.ts'

const SETTING_PREFIX = 'holdfast.import.'
const SHARE_OPTION = 'import'

/** Says that an import begins. The share is to be created with the options; `end` says that it is whole. */
export async function beginImport(store: MetadataStore, share: string): Promise<{ readonly options: Readonly<Record<string, string>>; end(): Promise<void> }> {
  const importId = newUlid()
  const setting = `${SETTING_PREFIX}${importId}`
  await store.setSetting(setting, share)
  return { options: { [SHARE_OPTION]: importId }, end: () => store.setSetting(setting, undefined) }
}

/** Removes what imports that did not end had created. None may be running. */
export async function removeUnfinishedImports(store: MetadataStore): Promise<void> {
  for (const [setting, name] of await store.settings()) {
    if (!setting.startsWith(SETTING_PREFIX)) continue
    const share = await store.share(name)
    if (share?.options[SHARE_OPTION] === setting.slice(SETTING_PREFIX.length)) await removeShareTree(store, name)
    await store.setSetting(setting, undefined)
  }
}
