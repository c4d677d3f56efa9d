/** Going through all that is below an inode, many entries at once, in bounded memory. */
import { drainStack, forEachLimited } from '../util/in-parallel.ts'
import type { DirectoryEntry, InodeNumber, MetadataReader } from '../contracts/metadata-store.ts'

const DIRECTORIES_AT_ONCE = 4
const ENTRIES_AT_ONCE = 32

/**
 * Calls `visit` for every entry below a directory, a directory before what is in it, in no order else. What it resolves with for a directory is handed
 * to the visits of its entries as `above`; for the first ones that is `top`. After a failure nothing is begun any more; it rejects once all has ended.
 */
export async function walkTree<T>(
  reader: MetadataReader,
  directory: { readonly inode: InodeNumber; readonly top: T },
  visit: (entry: DirectoryEntry, above: T) => Promise<T>,
): Promise<void> {
  await drainStack({ inode: directory.inode, above: directory.top }, DIRECTORIES_AT_ONCE, async ({ inode, above }, add) => {
    let after: string | undefined
    do {
      const page = await reader.readDirectory(inode, { after })
      await forEachLimited(page.entries, ENTRIES_AT_ONCE, async (entry) => {
        const below = await visit(entry, above)
        if (entry.type === 'directory') add({ inode: entry.inode, above: below })
      })
      after = page.cursor
    } while (after !== undefined)
  })
}
