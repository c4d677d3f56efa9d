/**
 * Where a part of a backup is built in a live store before it takes its place: a share of its own, which the restore removes. What a killed one left is
 * found by its name and removed by the next one.
 */
import { newUlid } from '../../util/ulid.ts'
import { hasEnded, type JobOwner, markUnderWay, mayBeUnderWay, thisProcess } from '../../util/job-owner.ts'
import { messageOf } from '../../errors/error-message.ts'
import { InvalidArgumentError } from '../../errors/errors.ts'
import type { MetadataStore, Place, Share } from '../../contracts/metadata-store.ts'
import { removeShareTree } from '../../metadata/remove-tree.ts'

const SHARE_PREFIX = '.holdfast-restore-'
/** An option of such a share: the process that builds in it, as JSON. A share without it is not Holdfast's. */
const OWNER_OPTION = 'holdfast.owner'
/** A server that serves all shares does not serve this one to its users. */
const ROOT = { mode: 0o700 }

export interface Staging {
  /** The share's name. */
  readonly share: string
  /** For what is built. */
  readonly place: Place
  /** Removes the share with all that is in it. A failure leaves it to the next restore. */
  remove(): Promise<void>
}

/** Makes an empty one. */
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

/** Whether a share is where a restore builds, or has built until it was killed. */
export function isStaging(share: Share): boolean {
  return ownerOf(share) !== undefined
}

/**
 * Removes what restores that were killed have left: where that is proven, and the share `release`, where it cannot be told. Resolves with what is worth a
 * warning: a share that stays, which does no harm to the next restore. `invalid_argument` for a share to release that no restore has left, or one that goes on.
 */
export async function removeUnfinished(store: MetadataStore, { release }: { readonly release?: string | undefined } = {}): Promise<readonly Error[]> {
  const warnings: Error[] = []
  const unfinished = (await store.shares()).filter(isStaging)
  if (release !== undefined && !unfinished.some(({ name }) => name === release)) throw notReleased(release, 'no restore has left a share of that name')
  for (const share of unfinished) {
    const isOver = hasRestoreEnded(store, share)
    if (isOver === false && share.name === release) throw notReleased(release, 'the restore that builds in it goes on')
    if (isOver === undefined && share.name !== release) warnings.push(unproven(share))
    if (isOver !== true && share.name !== release) continue
    try {
      await removeShareTree(store, share.name)
    } catch (error) {
      warnings.push(new Error(`The share "${share.name}", which another restore left, could not be removed: ${messageOf(error)}`, { cause: error }))
    }
  }
  return warnings
}

/** Of a store that no other process can have open, a restore that is not this one's has ended, on whatever machine it was. `undefined` where it cannot be told. */
function hasRestoreEnded({ isAlone = false }: MetadataStore, share: Share): boolean | undefined {
  const owner = ownerOf(share)
  const id = share.name.slice(SHARE_PREFIX.length)
  if (owner === undefined) return undefined
  return isAlone ? !mayBeUnderWay(id, owner) : hasEnded(id, owner)
}

function unproven({ name }: Share): Error {
  return new Error(
    `The share "${name}" is of another restore, of which it cannot be told whether it goes on. If its machine, or container, is gone for good, say so: holdfast restore --path ... --release ${name}`,
  )
}

function notReleased(name: string, why: string): InvalidArgumentError {
  return new InvalidArgumentError(`Cannot release the share ${JSON.stringify(name)}: ${why}`)
}

function ownerOf({ name, options }: Share): JobOwner | undefined {
  const text = options[OWNER_OPTION]
  if (!name.startsWith(SHARE_PREFIX) || text === undefined) return undefined
  try {
    const owner = JSON.parse(text) as Partial<Record<keyof JobOwner, unknown>> | null
    if (typeof owner?.host !== 'string' || typeof owner.pid !== 'number' || typeof owner.bootId !== 'string' || typeof owner.start !== 'string') return undefined
    return { host: owner.host, pid: owner.pid, bootId: owner.bootId, start: owner.start }
  } catch {
    return undefined
  }
}
