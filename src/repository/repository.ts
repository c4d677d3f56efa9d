/** The door to the backups of one destination. */
import type { Catalog } from '../contracts/catalog.ts'
import type { Destination, DestinationOptions } from '../contracts/destination.ts'
import type { VerifyReport } from './check-backup.ts'
import { type DeleteOptions, deleteBackups, type DeleteReport } from './delete-backups.ts'
import { type ListBackupsOptions, listBackups, type ListedBackup } from './list-backups.ts'
import { resolveBackup } from './resolve-backup.ts'
import { openBackup, type OpenOptions, type StoredBackup } from './stored-backup.ts'
import { verifyBackup, type VerifyBackupOptions } from './verify-backup.ts'

export interface RepositoryOptions {
  /** What recorded the backups. What it has of a backup is compared whenever that is opened or listed. @default nothing is compared */
  readonly catalog?: Catalog | undefined
}

/**
 * The backups of one destination. Everything that reads what is stored of a backup goes through here. Every method rejects with what the destination
 * rejects with, with `catalog_unavailable` where there is a catalog, and with the signal's reason.
 */
export interface Repository {
  readonly destination: Destination

  /** The ID of the backup that is meant by an ID, the beginning of one, or `latest`. Rejects with `invalid_argument` and `manifest_missing`. */
  resolve(text: string, options?: DestinationOptions): Promise<string>

  /**
   * Reads and checks the manifest of a backup. What else there is to read of it is read through what this resolves with.
   *
   * Rejects with `manifest_missing`, `manifest_invalid`, `manifest_version_unsupported`, `invalid_argument` for what is not an ID, and `backup_altered` for a
   * backup that is not as the catalog recorded it, unless `allowAltered`.
   */
  open(backupId: string, options?: OpenOptions): Promise<StoredBackup>

  /**
   * All backups in ascending order of their IDs, each with what it is: `readable`, `altered`, `newer`, `damaged`, `unreachable` or `gone`. It goes on
   * where an earlier list ended with `after`. Rejects when the list cannot be completed; it never just ends.
   */
  list(options?: ListBackupsOptions): AsyncIterable<ListedBackup>

  /** Verifies a backup and records the outcome: see `verifyBackup`. */
  verify(backupId: string, options?: Omit<VerifyBackupOptions, 'destination' | 'catalog' | 'backupId'>): Promise<VerifyReport>

  /**
   * Deletes backups and records it, unless one of them is needed. Which backup is the last good one of a store is decided for all of them together.
   * Rejects with `backup_protected`, and as `deleteBackup` does.
   */
  delete(backupIds: readonly string[], options?: DeleteOptions): Promise<readonly DeleteReport[]>
}

/** Makes a destination's backups accessible. Does nothing until it is used, and has nothing to be closed. */
export function openRepository(destination: Destination, { catalog }: RepositoryOptions = {}): Repository {
  const place = { destination, catalog }
  return {
    destination,
    resolve: (text, options) => resolveBackup(destination, text, options),
    open: (backupId, options) => openBackup({ ...options, ...place, backupId }),
    list: (options) => listBackups(destination, async (backupId) => await catalog?.backup(backupId, destination.url), options),
    verify: (backupId, options) => verifyBackup({ ...options, ...place, backupId }),
    delete: (backupIds, options) => deleteBackups({ ...options, ...place, backupIds }),
  }
}
