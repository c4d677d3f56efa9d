/** Walks all entries below an inode, many at once, in bounded memory. */
import { drainStack, forEachLimited } from '../util/in-parallel.ts'
import type { DirectoryEntry, InodeNumber, MetadataReader } from '../contracts/metadata-store.ts'

const DIRECTORIES_AT_ONCE = 4
const ENTRIES_AT_ONCE = 32

/**
 * Calls `visit` for every entry below a directory, in any order but a directory before its content.
 *
 * The result of visiting a directory is `above` for its entries; for the first ones that is `top`.
 * After a failure no new visit begins; the call rejects when all have ended.
 */
export async function walkTree<T>(
  reader: MetadataReader,
  directory: { readonly inode: InodeNumber; readonly top: T },
  visit: (entry: DirectoryEntry, above: T) => Promise<T>,
): Promise<void> {
  await drainStack({ inode: directory.inode, above: directory.top }, DIRECTORIES_AT_ONCE, async ({ inode, above }, add) => {
    for await (const entries of pagesOf(reader, inode)) {
      await forEachLimited(entries, ENTRIES_AT_ONCE, async (entry) => {
        const below = await visit(entry, above)
        if (entry.type === 'directory') add({ inode: entry.inode, above: below })
      })
    }
  })
}

/** The entries of a directory, a page at a time. */
export async function* pagesOf(reader: MetadataReader, directory: InodeNumber): AsyncGenerator<readonly DirectoryEntry[], void, undefined> {
  let after: string | undefined
  do {
    const page = await reader.readDirectory(directory, { after })
    yield page.entries
    after = page.cursor
  } while (after !== undefined)
}
