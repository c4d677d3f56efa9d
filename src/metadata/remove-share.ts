/** Removes a share with all that is in it. */
import type { InodeNumber, MetadataStore } from './metadata-store.ts'

export async function removeShareTree(store: MetadataStore, name: string): Promise<void> {
  const share = await store.share(name)
  if (share === undefined) return
  await removeEntries(store, share.root)
  await store.removeShare(name)
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
