/** Chooses the share to export. */
import type { MetadataStore, Share } from '../contracts/metadata-store.ts'
import { InvalidArgumentError, MetadataError } from '../errors/errors.ts'
import { isStaging } from '../restore/subtree/staging.ts'

/** How many shares an error names. */
const MAX_NAMED = 10

/**
 * Finds the share with a name, or, without a name, the only share. Rejects with `entry_not_found`, and with `invalid_argument` when there
 * are several.
 */
export async function chooseShare(store: MetadataStore, name: string | undefined): Promise<Share> {
  const all = await store.shares()
  // A share that a killed restore left is chosen only by name.
  const shares = name === undefined ? all.filter((share) => !isStaging(share)) : all
  const names = shares.slice(0, MAX_NAMED).map((share) => JSON.stringify(share.name)).join(', ')
  const share = name === undefined && shares.length === 1 ? shares[0] : shares.find((candidate) => candidate.name === name)
  if (share !== undefined) return share
  if (shares.length === 0) throw new MetadataError('entry_not_found', 'Cannot export: the store has no share')
  if (name === undefined) {
    throw new InvalidArgumentError(`Cannot tell which share to export: the store has ${shares.length}`, {
      hint: `Name one with --share: ${names}`,
    })
  }
  throw new MetadataError('entry_not_found', `Cannot export share ${JSON.stringify(name)}: the store has no such share`, {
    hint: `Name one of its shares: ${names}`,
  })
}
