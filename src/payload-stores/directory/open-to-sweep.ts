/** Opens a payload directory for the sweep of one store: no other store may need payloads there. */
import { HoldUnavailableError } from '../../errors/errors.ts'
import type { PayloadUser } from '../../contracts/payload-store.ts'
import { BOOLEAN, FUNCTION, type Kind, type OptionKinds, STRING, checkArgument, checkOptions, optional, shapedAs } from '../../util/check-options.ts'
import { PayloadDirectory } from './payload-directory.ts'

export interface OpenToSweepOptions {
  /** The store to sweep for. */
  readonly user: PayloadUser
  /** Whether to trust that the store is the only user of a directory that records none. @default false */
  readonly register?: boolean | undefined
  /** Whether to change nothing: not note the store, and keep leftovers of killed imports. @default false */
  readonly dryRun?: boolean | undefined
  /** Called before each batch of deletions; a rejection ends them. */
  readonly beforeDelete?: (() => Promise<void>) | undefined
}

const USER: Kind = shapedAs<PayloadUser>('the store to sweep for', { storeId: STRING, place: STRING })
export const SWEEP_OPTIONS: OptionKinds<OpenToSweepOptions> = { user: USER, register: optional(BOOLEAN), dryRun: optional(BOOLEAN), beforeDelete: optional(FUNCTION) }

/**
 * Opens a payload directory to sweep it for one store, notes the store there, and removes leftovers of killed imports. Before deleting, the
 * directory checks again that no other store uses it.
 * Rejects with `hold_unavailable` when another store uses the directory, or when the directory records no store and `register` is not set.
 */
export async function openToSweep(path: string, options: OpenToSweepOptions): Promise<PayloadDirectory> {
  checkArgument('openToSweep', path, { name: 'path', kind: STRING })
  checkOptions('openToSweep', options, SWEEP_OPTIONS)
  const { user, register = false, dryRun = false, beforeDelete = async () => {} } = options
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

/** Refuses a directory that another store uses: the sweep would delete that store's payloads. */
async function refuseOtherUsers(payloads: PayloadDirectory, { storeId, place }: PayloadUser): Promise<void> {
  const other = await payloads.otherUser({ storeId, place })
  if (other === undefined) return
  const where = other.place === undefined ? '' : ` at ${JSON.stringify(other.place)}`
  const which = other.storeId === storeId ? 'a copy of it' : `the store "${other.storeId}"`
  throw new HoldUnavailableError(`Cannot sweep ${JSON.stringify(payloads.path)} for the store "${storeId}" at ${JSON.stringify(place)}: ${which}${where} refers to payloads there too`, {
    hint: `${other.storeId === storeId ? 'If both are one store, name it as it is named there; otherwise keep' : 'Keep'} the payloads of each store in a directory of its own; if that store was moved or is gone for good, remove ${JSON.stringify(other.path)}. Nothing was deleted`,
    retryable: false,
    details: { storeId: other.storeId, place: other.place },
  })
}

/** Refuses a directory that records no store: only an operator knows whether other stores use it. */
async function refuseWithoutUsers(payloads: PayloadDirectory, { storeId, place }: PayloadUser): Promise<void> {
  if ((await payloads.users()).length > 0) return
  throw new HoldUnavailableError(`Cannot sweep ${JSON.stringify(payloads.path)} for the store "${storeId}" at ${JSON.stringify(place)}: the directory does not record which stores use it`, {
    hint: 'Check that it is the right directory; if no other store uses it, add --register (register: true). Nothing was deleted',
    retryable: false,
    details: { storeId, place },
  })
}
