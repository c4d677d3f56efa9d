/** Removes a share, or what is at a place, with all that is in it. Others may find it half removed meanwhile. */
import type { InodeNumber, MetadataStore, Place } from '../contracts/metadata-store.ts'

/** Does nothing where there is no such share. */
export async function removeShareTree(store: MetadataStore, name: string): Promise<void> {
  const share = await store.share(name)
  if (share === undefined) return
  await removeEntries(store, share.root)
  await store.removeShare(name)
}

/** `entry_not_found` where there is nothing. */
export async function removeTree(store: MetadataStore, place: Place): Promise<void> {
  const found = await store.lookup(place)
  if (found?.type === 'directory') await removeEntries(store, found.inode)
  await store.unlink(place)
}

async function removeEntries(store: MetadataStore, directory: InodeNumber): Promise<void> {
  let after: string | undefined
  do {
    const page = await store.readDirectory(directory, { after })
    for (const entry of page.entries) {
      if (entry.type === 'directory') await removeEntries(store, entry.inode)
      await store.unlink({ parent: directory, name: entry.name })
    }
    after = page.cursor
  } while (after !== undefined)
}
