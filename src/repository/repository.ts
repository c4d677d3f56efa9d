/** The door to the backups of one destination. */
import type { Catalog } from '../contracts/catalog.ts'
import { SIGNAL_OPTION } from '../contracts/checked-calls.ts'
import type { Destination, DestinationOptions } from '../contracts/destination.ts'
import { CATALOG, DESTINATION } from '../contracts/kinds.ts'
import { BOOLEAN, checkArgument, checkOptions, type Kind, listOf, OBJECT, type OptionKinds, optional, STRING } from '../util/check-options.ts'
import type { VerifyReport } from './check-backup.ts'
import { type DeleteOptions, deleteBackups, type DeleteReport } from './delete-backups.ts'
import { type ListBackupsOptions, listBackups, type ListedBackup, listWithMissing } from './list-backups.ts'
import { resolveBackup, resolveBackups } from './resolve-backup.ts'
import { openBackup, type OpenOptions, type StoredBackup } from './stored-backup.ts'
import { verifyBackup, type VerifyBackupOptions } from './verify-backup.ts'

export interface RepositoryOptions {
  /** The catalog whose records are compared when a backup is opened or listed. @default nothing is compared */
  readonly catalog?: Catalog | undefined
}

/**
 * The backups of one destination. Every read of a stored backup goes through a repository. Every method rejects with what the destination
 * rejects with, with `catalog_unavailable` if there is a catalog, and with the signal's reason.
 */
export interface Repository {
  readonly destination: Destination

  /** Finds a backup's ID from an ID, the beginning of one, or `latest`. Rejects with `invalid_argument` and `manifest_missing`. */
  resolve(text: string, options?: DestinationOptions): Promise<string>

  /** Finds the IDs of several backups, in the order of the texts, as `resolve` does, with one listing at most. */
  resolveAll(texts: readonly string[], options?: DestinationOptions): Promise<readonly string[]>

  /**
   * Reads and checks the manifest of a backup, and resolves with the opened backup.
   *
   * Rejects with `manifest_missing`, `manifest_invalid`, `manifest_version_unsupported`, `manifest_feature_unsupported`, with
   * `invalid_argument` for a malformed ID, and with `backup_altered` for a backup that differs from its record, unless `allowAltered`.
   */
  open(backupId: string, options?: OpenOptions): Promise<StoredBackup>

  /**
   * Lists all backups in ascending order of their IDs, each with its state: `readable`, `altered`, `newer`, `damaged`, `unreachable`,
   * `gone`, or with a catalog `missing`. `after` continues an earlier list. Rejects when the listing cannot be completed.
   */
  list(options?: ListBackupsOptions): AsyncIterable<ListedBackup>

  /** Verifies a backup and records the outcome: see `verifyBackup`. */
  verify(backupId: string, options?: Omit<VerifyBackupOptions, 'destination' | 'catalog' | 'backupId'>): Promise<VerifyReport>

  /**
   * Deletes backups and records that, unless one of them is needed: whether a store keeps a good backup is decided for all of them
   * together. Rejects with `backup_protected`, and as `deleteBackup` does.
   */
  delete(backupIds: readonly string[], options?: DeleteOptions): Promise<readonly DeleteReport[]>
}

/** Opens the repository of a destination. Does nothing until used, and need not be closed. */
export function openRepository(destination: Destination, options: RepositoryOptions = {}): Repository {
  checkArgument('openRepository', destination, { name: 'destination', kind: DESTINATION })
  checkOptions('openRepository', options, { catalog: optional(CATALOG) })
  const { catalog } = options
  const place = { destination, catalog }
  return {
    destination,
    async resolve(text, options = {}) {
      checkArgument('resolve', text, { name: 'text', kind: STRING })
      checkOptions('resolve', options, SIGNAL_OPTION)
      return await resolveBackup(destination, text, options)
    },
    async resolveAll(texts, options = {}) {
      checkArgument('resolveAll', texts, { name: 'texts', kind: STRINGS })
      checkOptions('resolveAll', options, SIGNAL_OPTION)
      return await resolveBackups(destination, texts, options)
    },
    async open(backupId, options = {}) {
      checkArgument('open', backupId, { name: 'backupId', kind: STRING })
      checkOptions('open', options, OPEN_OPTIONS)
      return await openBackup({ ...options, ...place, backupId })
    },
    list(options = {}) {
      checkOptions('list', options, LIST_OPTIONS)
      return catalog === undefined ? listBackups(destination, async () => undefined, options) : listWithMissing(destination, catalog, options)
    },
    async verify(backupId, options = {}) {
      checkArgument('verify', options, { name: 'options', kind: OBJECT })
      return await verifyBackup({ ...options, ...place, backupId })
    },
    async delete(backupIds, options = {}) {
      checkArgument('delete', options, { name: 'options', kind: OBJECT })
      return await deleteBackups({ ...options, ...place, backupIds })
    },
  }
}

const STRINGS: Kind = listOf(STRING, 'strings')
const OPEN_OPTIONS: OptionKinds<OpenOptions> = { ...SIGNAL_OPTION, allowAltered: optional(BOOLEAN) }
const LIST_OPTIONS: OptionKinds<ListBackupsOptions> = { ...SIGNAL_OPTION, after: optional(STRING) }
