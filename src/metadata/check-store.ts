/** Whether a store serves: what is asked of a live engine after it was swapped in. */
import { StoreUnavailableError } from '../errors.ts'
import type { MetadataStore } from './metadata-store.ts'

const SHARES_TO_CHECK = 100
const ENTRIES_TO_CHECK = 100

/** Reads through the store's own interface: the settings, the shares, their roots, and the first entries of each with their inodes. */
export async function checkServes(store: MetadataStore): Promise<void> {
  await store.settings()
  const shares = await store.shares()
  for (const { name, root } of shares.slice(0, SHARES_TO_CHECK)) {
    const inode = await store.inode(root)
    if (inode?.type !== 'directory') throw new StoreUnavailableError(`Cannot serve the share ${JSON.stringify(name)}: its root ${root} is no directory`)
    const { entries } = await store.readDirectory(root, { limit: ENTRIES_TO_CHECK })
    for (const entry of entries) {
      if ((await store.inode(entry.inode)) !== undefined) continue
      throw new StoreUnavailableError(`Cannot serve the entry ${JSON.stringify(entry.name)} of the share ${JSON.stringify(name)}: its inode ${entry.inode} is missing`)
    }
  }
}
