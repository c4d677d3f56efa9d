/** Opens a payload directory for the sweep of one store: no other store may need payloads there. */
import { HoldUnavailableError } from '../../errors/errors.ts'
import { PayloadDirectory } from './payload-directory.ts'
import type { PayloadUser } from './payload-users.ts'

export interface OpenToSweepOptions {
  /** The store that the payloads are swept for. */
  readonly user: PayloadUser
  /** Whether to take the store for the only user of a directory that knows of none. @default false */
  readonly register?: boolean | undefined
  /** Whether nothing may be changed: then the store is not noted, and what killed imports left stays. @default false */
  readonly dryRun?: boolean | undefined
  /** Called before payloads are deleted, again and again; when it rejects, none is from then on. */
  readonly beforeDelete?: (() => Promise<void>) | undefined
}

/**
 * Opens a payload directory to sweep it for one store, notes the store there, and removes what killed imports left half written. The
 * directory looks again, before it deletes, whether another store came to need payloads there.
 *
 * `hold_unavailable` when another store needs payloads there, or when the directory does not know of any and `register` is not set.
 */
export async function openToSweep(path: string, { user, register = false, dryRun = false, beforeDelete = async () => {} }: OpenToSweepOptions): Promise<PayloadDirectory> {
  const payloads: PayloadDirectory = await PayloadDirectory.open(path, {
    beforeDelete: async () => {
      await beforeDelete()
      await refuseOtherUsers(payloads, user)
    },
  })
  await refuseOtherUsers(payloads, user)
  if (!register) await refuseWithoutUsers(payloads, user)
  if (dryRun) return payloads
  await payloads.addUser(user)
  await payloads.removeAbandoned()
  return payloads
}

/** A store that is not asked what it refers to would lose its payloads. */
async function refuseOtherUsers(payloads: PayloadDirectory, { storeId, place }: PayloadUser): Promise<void> {
  const other = (await payloads.users()).find((user) => user.storeId !== storeId || (user.place ?? place) !== place)
  if (other === undefined) return
  const where = other.place === undefined ? '' : ` at ${JSON.stringify(other.place)}`
  const which = other.storeId === storeId ? 'a copy of it' : `the store "${other.storeId}"`
  throw new HoldUnavailableError(`Cannot sweep ${JSON.stringify(payloads.path)} for the store "${storeId}" at ${JSON.stringify(place)}: ${which}${where} refers to payloads there too`, {
    hint: `Nothing was deleted. Keep the payloads of each store in a directory of its own; if that store was moved from there or is gone for good, remove ${JSON.stringify(other.path)}`,
    retryable: false,
    details: { storeId: other.storeId, place: other.place },
  })
}

/** A directory that knows of no store does not tell whether others refer to payloads there: an operator must say so. */
async function refuseWithoutUsers(payloads: PayloadDirectory, { storeId, place }: PayloadUser): Promise<void> {
  if ((await payloads.users()).length > 0) return
  throw new HoldUnavailableError(`Cannot sweep ${JSON.stringify(payloads.path)} for the store "${storeId}" at ${JSON.stringify(place)}: the directory does not say which stores refer to payloads there`, {
    hint: 'Nothing was deleted. Check that it is the right directory; if no other store needs payloads there, say so with --register',
    retryable: false,
    details: { storeId, place },
  })
}
