/** Handles the failure of an attempt after its backup was published. */
import type { Destination } from '../contracts/destination.ts'
import { messageOf } from '../errors/error-message.ts'
import { isAbort } from '../errors/aborts.ts'
import { BackupAbortedError, CombinedError, isHoldfastError } from '../errors/errors.ts'
import { isDamage } from '../repository/verify-backup.ts'

export interface PublishedBackup {
  readonly destination: Destination
  readonly backupId: string
  readonly isVerified: boolean
  readonly signal: AbortSignal | undefined
}

/**
 * Returns the error to throw. A backup that was read back and is damaged is deleted: `latest` must not find it. Any other may be good, so
 * it stays, and the error says so.
 */
export async function publishFailure(error: unknown, backup: PublishedBackup): Promise<unknown> {
  // One that is not listed may come back, for example when its file system is mounted again.
  const isMissing = isHoldfastError(error) && error.code === 'manifest_missing'
  if (!backup.isVerified && isDamage(error) && !isMissing) return await deleteDamaged(error, backup)
  const { backupId, destination, isVerified, signal } = backup
  const details = { backupId, destination: destination.url, isPublished: true, isVerified }
  const place = `${backupId} at ${JSON.stringify(destination.url)}`
  if (isAbort(error, signal)) {
    const message = `The backup was cancelled after it was published: ${place} is listed, but was neither verified nor recorded`
    return new BackupAbortedError(message, { cause: signal?.reason, hint: nextSteps(backup), details })
  }
  const state = isVerified ? 'it is published and verified, but not recorded' : 'it is published, but neither verified nor recorded'
  return new CombinedError(`Cannot ${isVerified ? 'record' : 'verify'} backup ${place}: ${messageOf(error)}; ${state}`, [error], {
    hint: nextSteps(backup),
    details,
  })
}

async function deleteDamaged(error: unknown, { destination, backupId, isVerified }: PublishedBackup): Promise<unknown> {
  const details = { backupId, destination: destination.url, isVerified }
  try {
    await destination.delete(backupId)
    const text = `${messageOf(error)}; the published backup differs from what was written, so it was deleted again`
    return new CombinedError(text, [error], {
      hint: 'Check the storage of the destination, then take the backup again',
      details: { ...details, isPublished: false },
    })
  } catch (deleting) {
    const text = `${messageOf(error)}; the published backup differs from what was written, and is still listed, because deleting it failed too: ${messageOf(deleting)}`
    return new CombinedError(text, [error, deleting], {
      hint: `Do not trust backup ${backupId}; delete it as soon as the destination can be written`,
      details: { ...details, isPublished: true },
    })
  }
}

function nextSteps({ backupId, isVerified }: PublishedBackup): string {
  const verify = isVerified ? '' : `Verify it with "holdfast verify ${backupId}", then record it`
  return `${isVerified ? 'Record it' : verify} with "holdfast catalog rebuild"; or delete this backup and take a new one`
}
