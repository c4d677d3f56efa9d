/** IDs that are in the order of the backups, whatever the clock says. */
import { decodeTime } from 'ulid'
import { checkBackupId, newUlid } from '../util/ulid.ts'
import type { Destination } from '../contracts/destination.ts'
import { InvalidArgumentError, isHoldfastError } from '../errors/errors.ts'

export interface NextBackupIdOptions {
  readonly nowMs: number
  /** Makes an ID for a time; those of later calls must be greater. @default newUlid */
  readonly newId?: ((nowMs: number) => string) | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Makes an ID that is greater than every one a destination lists, also when the clock was set back or another host's is ahead.
 * Rejects with what the list rejects with; a destination that does not exist yet lists nothing.
 */
export async function nextBackupId(destination: Destination, { nowMs, newId = newUlid, signal }: NextBackupIdOptions): Promise<string> {
  const newest = await newestListed(destination, signal)
  const atLeastMs = newest === undefined ? nowMs : Math.max(nowMs, decodeTime(newest) + 1)
  const backupId = checkBackupId(newId(atLeastMs))
  if (newest === undefined || backupId > newest) return backupId
  throw new InvalidArgumentError(`Cannot make a backup ID greater than the newest at the destination, ${newest}: got ${backupId}`, {
    hint: 'Delete the backup whose ID is out of order, or use the default of newId',
  })
}

async function newestListed(destination: Destination, signal: AbortSignal | undefined): Promise<string | undefined> {
  let newest: string | undefined
  try {
    for await (const backupId of destination.list({ signal })) newest = backupId
  } catch (error) {
    if (!isHoldfastError(error) || error.code !== 'destination_not_found') throw error
  }
  return newest
}
