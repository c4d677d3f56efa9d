/** Checks that a live engine serves, after it was swapped in. */
import { messageOf } from '../errors/error-message.ts'
import { StoreUnavailableError, isHoldfastError } from '../errors/errors.ts'
import type { MetadataReader, Share } from '../contracts/metadata-store.ts'

const SHARES_TO_CHECK = 100
const ENTRIES_TO_CHECK = 100

/**
 * Reads the settings, the shares, their roots, and the first entries of each with their inodes.
 * Rejects with `store_unavailable` when any of that fails; retryable if the cause is, such as a broken connection.
 */
export async function checkServes(store: MetadataReader): Promise<void> {
  try {
    await store.settings()
    for (const share of (await store.shares()).slice(0, SHARES_TO_CHECK)) await checkShare(store, share)
  } catch (error) {
    const retryable = isHoldfastError(error) && error.retryable
    throw new StoreUnavailableError(`Cannot serve the store: ${messageOf(error)}`, { cause: error, retryable })
  }
}

async function checkShare(store: MetadataReader, { name, root }: Share): Promise<void> {
  const inode = await store.inode(root)
  if (inode?.type !== 'directory') throw new Error(`the root ${root} of the share ${JSON.stringify(name)} is not a directory`)
  const { entries } = await store.readDirectory(root, { limit: ENTRIES_TO_CHECK })
  for (const entry of entries) {
    if ((await store.inode(entry.inode)) !== undefined) continue
    throw new Error(`the inode ${entry.inode} of ${JSON.stringify(entry.name)} in the share ${JSON.stringify(name)} is missing`)
  }
}
