/** Makes IDs in the order of the backups, whatever the clock says. */
import { decodeTime } from 'ulid'
import { checkBackupId, newUlid } from '../util/ulid.ts'
import type { Destination } from '../contracts/destination.ts'
import { InvalidArgumentError, isHoldfastError } from '../errors/errors.ts'

export interface NextBackupIdOptions {
  readonly nowMs: number
  /** Makes an ID for a time, greater than earlier ones. @default newUlid */
  readonly newId?: ((nowMs: number) => string) | undefined
}

/** Makes an ID greater than the newest one at a destination, even if the clock was set back or another host's clock is ahead. */
export function nextBackupId(newest: string | undefined, { nowMs, newId = newUlid }: NextBackupIdOptions): string {
  const atLeastMs = newest === undefined ? nowMs : Math.max(nowMs, decodeTime(newest) + 1)
  const backupId = checkBackupId(newId(atLeastMs))
  if (newest === undefined || backupId > newest) return backupId
  throw new InvalidArgumentError(`Cannot make a backup ID greater than the newest at the destination, ${newest}: got ${backupId}`, {
    hint: 'Delete the backup whose ID is out of order, or use the default of newId',
  })
}

/** Finds the newest ID at a destination; `undefined` if the destination is empty or missing. Rejects as the listing does. */
export async function newestListed(destination: Destination, signal: AbortSignal | undefined): Promise<string | undefined> {
  let newest: string | undefined
  try {
    for await (const backupId of destination.list({ signal })) newest = backupId
  } catch (error) {
    if (!isNotThere(error)) throw error
  }
  return newest
}

/** Whether an error means that the destination does not exist yet. */
export function isNotThere(error: unknown): boolean {
  return isHoldfastError(error) && error.code === 'destination_not_found'
}
