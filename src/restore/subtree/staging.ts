/**
 * Builds a part of a backup in a share of its own in the live store, before it takes its place. The restore removes the share; the next one
 * finds the share of a killed one by its name.
 */
import { newUlid } from '../../util/ulid.ts'
import { hasEnded, type JobOwner, markUnderWay, mayBeUnderWay, thisProcess } from '../../util/job-owner.ts'
import { decodeOwner } from '../../catalog/event-codec.ts'
import { messageOf } from '../../errors/error-message.ts'
import { InvalidArgumentError } from '../../errors/errors.ts'
import type { MetadataStore, Place, Share } from '../../contracts/metadata-store.ts'
import { removeShareTree } from '../../metadata/remove-tree.ts'

const SHARE_PREFIX = '.holdfast-restore-'
/** The share option with the owner, as JSON. A share without this option belongs to another program. */
const OWNER_OPTION = 'holdfast.owner'
/** Private: a server that serves all shares does not show this one to users. */
const ROOT = { mode: 0o700 }

export interface Staging {
  /** The share's name. */
  readonly share: string
  /** The place to build in. */
  readonly place: Place
  /** Removes the share and its content. After a failure, the next restore does. */
  remove(): Promise<void>
}

/** Creates an empty staging share. */
export async function openStaging(store: MetadataStore): Promise<Staging> {
  const id = newUlid()
  const share = `${SHARE_PREFIX}${id}`
  const unmark = markUnderWay(id)
  try {
    const { root } = await store.createShare(share, { options: { [OWNER_OPTION]: JSON.stringify(thisProcess()) }, root: ROOT })
    return { share, place: { parent: root, name: 'restored' }, remove: () => removeShareTree(store, share).finally(unmark) }
  } catch (error) {
    unmark()
    throw error
  }
}

/** Whether a share is the staging share of a running or killed restore. */
export function isStaging(share: Share): boolean {
  return ownerOf(share) !== undefined
}

/**
 * Removes the shares of restores that are proven to have ended, and the share `release`. Resolves with a warning for each share that stays,
 * which is harmless. Rejects with `invalid_argument` when `release` is not a staging share, or its restore is running.
 */
export async function removeUnfinished(store: MetadataStore, { release }: { readonly release?: string | undefined } = {}): Promise<readonly Error[]> {
  const warnings: Error[] = []
  const unfinished = (await store.shares()).filter(isStaging)
  if (release !== undefined && !unfinished.some(({ name }) => name === release)) throw releaseError(release, 'there is no such share of a restore')
  for (const share of unfinished) {
    const isOver = hasRestoreEnded(store, share)
    if (isOver === false && share.name === release) throw releaseError(release, 'its restore is still running')
    if (isOver === undefined && share.name !== release) warnings.push(unprovenWarning(share))
    if (isOver !== true && share.name !== release) continue
    try {
      await removeShareTree(store, share.name)
    } catch (error) {
      warnings.push(new Error(`The share "${share.name}" of another restore could not be removed: ${messageOf(error)}`, { cause: error }))
    }
  }
  return warnings
}

/**
 * Whether the restore of a share has ended: always, unless in this process, if no other process can have the store open. `undefined` if not
 * known.
 */
function hasRestoreEnded({ isAlone = false }: MetadataStore, share: Share): boolean | undefined {
  const owner = ownerOf(share)
  const id = share.name.slice(SHARE_PREFIX.length)
  if (owner === undefined) return undefined
  return isAlone ? !mayBeUnderWay(id, owner) : hasEnded(id, owner)
}

function unprovenWarning({ name }: Share): Error {
  return new Error(
    `The share "${name}" belongs to a restore that may still be running. If its machine or container is gone for good, remove the share: ` +
      `restore a path with --release ${name} (release: "${name}")`,
  )
}

function releaseError(name: string, why: string): InvalidArgumentError {
  return new InvalidArgumentError(`Cannot release the share ${JSON.stringify(name)}: ${why}`)
}

function ownerOf({ name, options }: Share): JobOwner | undefined {
  const text = options[OWNER_OPTION]
  if (!name.startsWith(SHARE_PREFIX) || text === undefined) return undefined
  try {
    return decodeOwner(JSON.parse(text))
  } catch {
    return undefined
  }
}
