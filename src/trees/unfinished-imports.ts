/**
 * Finds and removes the shares of killed imports. A setting names the share of a running import, and an option of the share names the
 * import, so that the share of another program is left alone.
 */
import { newUlid } from '../util/ulid.ts'
import type { MetadataStore } from '../contracts/metadata-store.ts'
import { checkName } from '../metadata/validate.ts'
import { removeShareTree } from '../metadata/remove-tree.ts'

const SETTING_PREFIX = 'holdfast.import.'
const SHARE_OPTION = 'import'

/** Records that an import begins. The caller creates the share with the options; `end` records that it is whole. */
export async function beginImport(store: MetadataStore, share: string): Promise<{ readonly options: Readonly<Record<string, string>>; end(): Promise<void> }> {
  const importId = newUlid()
  const setting = `${SETTING_PREFIX}${importId}`
  await store.setSetting(setting, share)
  return { options: { [SHARE_OPTION]: importId }, end: () => store.setSetting(setting, undefined) }
}

/** Removes the shares of unfinished imports. No import may be running. */
export async function removeUnfinishedImports(store: MetadataStore): Promise<void> {
  for (const [setting, name] of await store.settings()) {
    if (!setting.startsWith(SETTING_PREFIX)) continue
    // Release 0.1.0 noted an import before it checked the name of its share.
    const share = isName(name) ? await store.share(name) : undefined
    if (share?.options[SHARE_OPTION] === setting.slice(SETTING_PREFIX.length)) await removeShareTree(store, name)
    await store.setSetting(setting, undefined)
  }
}

function isName(name: string): boolean {
  try {
    return checkName(name) === name
  } catch {
    return false
  }
}
