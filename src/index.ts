/** The public face: contracts, errors, and what works on any store and any destination. Loads no database, no binding and no SDK. */
export * from './errors/errors.ts'
export {
  type BackupContent, type BackupOptions, type Backupable, isBackupable, type RestoreOptions, type SnapshotProgress, type SnapshotSink,
  type SnapshotSource, type SnapshotSummary, type StoreKind,
} from './contracts/backupable.ts'
export {
  BACKUP_OBJECTS, type BackupObject, type BackupStat, type BackupUpload, type Destination, type DestinationOptions, type DestinationWarning,
  MAX_MANIFEST_BYTES, type CleanUpOptions, type CleanUpReport, type ReadObjectOptions,
} from './contracts/destination.ts'
export { type DrainOptions, type Engines, type RestoreJournal, type SideEngine, type Swappable } from './contracts/swappable.ts'
export {
  type KnownUser, MAX_PAYLOADS_PER_CALL, type PayloadGuard, type PayloadReferences, type PayloadStore, type PayloadStoreOptions, type PayloadUser,
  type StoredPayload, type Tally, type WritablePayloadStore,
} from './contracts/payload-store.ts'
export type { BackupHolder, Holder, LeaseHolder, ReadHoldsOptions } from './gc/holds/hold-source.ts'
export type { HeldBy } from './gc/holds/held-cursor.ts'
export { findHolders, type FindHoldersOptions, type Holds, holdersOf, openHolds, type OpenHoldsOptions } from './gc/holds/holds.ts'
export { type Leases, type LeasesOptions, type ProcessProof, type ReconcileReport, releaseLease, warnOfLease } from './gc/leases/leases.ts'
export { type SweepPayloadsOptions, type SweepPayloadsProgress, type SweepPayloadsReport, sweepPayloads } from './gc/sweep/sweep-payloads.ts'
export type { SteadyClock } from './util/steady-clock.ts'
export { checkBackupId, isUlid as isBackupId, newUlid as newBackupId } from './util/ulid.ts'
export { checkPayloadId, decodePayloadIds, emptyPayloadIdSet, PayloadIdSet, PayloadIdSetBuilder, type PayloadIdSetOptions, type PayloadIdSetState } from './payload-ids/payload-id-set.ts'
export { type Manifest, MANIFEST_VERSION, recordCount, type StoredObject } from './contracts/manifest.ts'
export { encodeManifest, isNewerManifest, type ManifestFields, parseManifest } from './format/manifest.ts'
export { type ContentCheck, type DataFrame, decodeRecords, type FrameSource, openSnapshot, type OpenSnapshotOptions, type SnapshotReader, type StoredRecord, type Value } from './format/snapshot-reader.ts'
export { SnapshotWriter, type SnapshotWriterOptions } from './format/snapshot-writer.ts'
export { BACKUP_PHASES, type BackupPhase, type BackupProgress, type BackupRecord, runBackup, type RunBackupOptions } from './backup/run-backup.ts'
export { jobIdOf, type JobHooks, type StartedJob } from './catalog/run-job.ts'
export { openRepository, type Repository, type RepositoryOptions } from './repository/repository.ts'
export type { OpenOptions, RecordBatch, StoredBackup } from './repository/stored-backup.ts'
export type { ListBackupsOptions, ListedBackup } from './repository/list-backups.ts'
export { deleteBackup, type DeleteBackupOptions, type DeleteOptions, type DeleteReport } from './repository/delete-backups.ts'
export { type CheckBackupOptions, type CheckedContent, type TrialStore, VERIFY_STEPS, type VerifyProgress, type VerifyReport, type VerifyStep } from './repository/check-backup.ts'
export { verifyBackup, type VerifyBackupOptions } from './repository/verify-backup.ts'
export type * from './contracts/catalog.ts'
export { JOB_KINDS, JOB_STATES, VERIFICATION_LEVELS } from './contracts/catalog.ts'
export type * from './contracts/hold-events.ts'
export type { JobOwner } from './util/job-owner.ts'
export { type BackupPlace, rebuildCatalog, type RebuildCatalogOptions, type RebuildReport } from './repository/rebuild-catalog.ts'
export type { AttemptOptions, AttemptReport } from './restore/attempt.ts'
export { describePlan, type PlannedTarget, planRestore, type PlanRestoreOptions, type RestorePlan } from './restore/plan-restore.ts'
export { type RestoreBackupOptions, type RestoreReport, restoreBackup } from './restore/restore-backup.ts'
export {
  type ReadableTrial, RESTORE_SUBTREE_STEPS, restoreSubtree, type RestoreSubtreeOptions, type RestoreSubtreeProgress, type RestoreSubtreeReport,
  type RestoreSubtreeStep,
} from './restore/subtree/restore-subtree.ts'
export { RESTORE_INTO_STEPS, restoreInto, type RestoreIntoOptions, type RestoreIntoReport, type RestoreIntoStep } from './restore/restore-into.ts'
export { rollback, type RollbackOptions, type RollbackReport } from './restore/rollback.ts'
export { recover, type RecoverOptions, type RecoveryOutcome, type RecoveryReport } from './restore/recover.ts'
export { RESTORE_STEPS, type RestoreProgress, type RestoreStep, type StepProgress, type StepTime } from './restore/steps.ts'
export {
  CONVERT_STEPS, type ConvertedStore, type ConvertProgress, type ConvertReport, type ConvertStep, convertStore, type ConvertStoreOptions,
} from './metadata/convert-store.ts'
export type { TreeCounts } from './metadata/copy-tree.ts'
export { RECORD_KINDS, type RecordKind } from './metadata/view-summary.ts'
export type * from './contracts/metadata-store.ts'
export { INODE_TYPES, RENAME_MODES } from './contracts/metadata-store.ts'
export { checkTree } from './metadata/check-tree.ts'
export { parsePath, showPath, type TreePath } from './metadata/tree-path.ts'
export { HOLDFAST_VERSION } from './util/version.ts'
