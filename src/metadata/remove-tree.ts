/** Removes a share, or an entry, with its content. Not atomic: other readers may see a half removed tree. */
import type { InodeNumber, MetadataStore, Place } from '../contracts/metadata-store.ts'
import { pagesOf } from './walk-tree.ts'

/** Removes a share with its content, if it exists. */
export async function removeShareTree(store: MetadataStore, name: string): Promise<void> {
  const share = await store.share(name)
  if (share === undefined) return
  await removeEntries(store, share.root)
  await store.removeShare(name)
}

/** Removes an entry with its content. Rejects with `entry_not_found` when there is none. */
export async function removeTree(store: MetadataStore, place: Place): Promise<void> {
  const found = await store.lookup(place)
  if (found?.type === 'directory') await removeEntries(store, found.inode)
  await store.unlink(place)
}

async function removeEntries(store: MetadataStore, directory: InodeNumber): Promise<void> {
  for await (const entries of pagesOf(store, directory)) {
    for (const { inode, name, type } of entries) {
      if (type === 'directory') await removeEntries(store, inode)
      await store.unlink({ parent: directory, name })
    }
  }
}
