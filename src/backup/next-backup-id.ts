/** Makes IDs in the order of the backups, whatever the clock says. */
import { decodeTime } from 'ulid'
import { checkBackupId, newUlid } from '../util/ulid.ts'
import type { Destination } from '../contracts/destination.ts'
import { InvalidArgumentError, isHoldfastError } from '../errors/errors.ts'
import { listIds } from '../repository/destination-calls.ts'
import { shellWord } from '../util/text.ts'

export interface NextBackupIdOptions {
  readonly nowMs: number
  /** Makes an ID for a time, greater than earlier ones. @default newUlid */
  readonly newId?: ((nowMs: number) => string) | undefined
}

/** Any clock before this is wrong. */
const RELEASED_MS: number = Date.UTC(2026, 10)
/** The most that the clock of a host can be ahead of another's. */
const MOST_AHEAD_MS: number = 30 * 365 * 24 * 60 * 60 * 1000

/** Makes an ID greater than the newest one at a destination, even if the clock was set back or another host's clock is ahead. */
export function nextBackupId(newest: string | undefined, { nowMs, newId = newUlid }: NextBackupIdOptions): string {
  const atLeastMs = newest === undefined ? nowMs : Math.max(nowMs, decodeTime(newest) + 1)
  const backupId = checkBackupId(newId(atLeastMs))
  if (newest === undefined || backupId > newest) return backupId
  throw new InvalidArgumentError(`Cannot make a backup ID greater than the newest at the destination, ${newest}: got ${backupId}`, {
    hint: 'Delete the backup whose ID is out of order, or use the default of newId',
  })
}

/** Whether an ID is later than the clock of any host can be: it was made by hand. Later IDs need not be greater than such a one. */
export function isBeyondClocks(backupId: string, nowMs: number): boolean {
  return decodeTime(backupId) > Math.max(nowMs, RELEASED_MS) + MOST_AHEAD_MS
}

export interface NewestListed {
  /** The newest ID that a clock can have made; `undefined` if there is none, or the destination is missing. */
  readonly newest: string | undefined
  /** The greatest ID, if no clock can have made it. */
  readonly beyond: string | undefined
}

/** Finds the newest ID at a destination. Rejects as the listing does. */
export async function newestListed(
  destination: Destination,
  { nowMs, signal }: { readonly nowMs: number; readonly signal: AbortSignal | undefined },
): Promise<NewestListed> {
  let [newest, beyond]: (string | undefined)[] = []
  try {
    for await (const backupId of listIds(destination, { signal })) {
      if (isBeyondClocks(backupId, nowMs)) beyond = backupId
      else newest = backupId
    }
  } catch (error) {
    if (!isNotThere(error)) throw error
  }
  return { newest, beyond }
}

/** The warning of an ID that no clock can have made. */
export function beyondWarning(backupId: string, { url }: Destination): Error {
  return new Error(
    `Backup ${backupId} at ${JSON.stringify(url)} has an ID that is years ahead of every clock: "latest" means it, whatever is backed up later. ` +
      `If it is not a backup of yours, run "holdfast delete ${backupId} --from ${shellWord(url)}"`,
  )
}

/** Whether an error means that the destination does not exist yet. */
export function isNotThere(error: unknown): boolean {
  return isHoldfastError(error) && error.code === 'destination_not_found'
}
