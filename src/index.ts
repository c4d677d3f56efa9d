/** The public face: contracts, errors, and what works on any store and any destination. Loads no database, no binding and no SDK. */
export * from './errors.ts'
export {
  type BackupOptions,
  type Backupable,
  isBackupable,
  type RestoreOptions,
  type SnapshotProgress,
  type SnapshotSink,
  type SnapshotSource,
  type SnapshotSummary,
  type StoreKind,
} from './backupable.ts'
export {
  BACKUP_OBJECTS,
  type BackupObject,
  type BackupStat,
  type BackupUpload,
  type Destination,
  type DestinationOptions,
  type DestinationWarning,
  MAX_MANIFEST_BYTES,
  type PutOptions,
  type SweepOptions,
  type SweepReport,
} from './destination.ts'
export { type DrainOptions, type Engines, type RestoreJournal, type SideEngine, type Swappable } from './swappable.ts'
export { MAX_PAYLOADS_PER_CALL, type PayloadReferences, type PayloadStore, type PayloadStoreOptions, type StoredPayload, type Tally } from './payload-store.ts'
export { type BackupHolder, type FoundHolds, type Holder, type HoldSource, type LeaseHolder, type ReadHoldsOptions } from './holds/hold-set.ts'
export type { HeldBy } from './holds/held-cursor.ts'
export type { HeldIds, HeldList, HeldStream } from './holds/held-ids.ts'
export { Holds, type HoldsParts, holdersOf, openHolds, type OpenHoldsOptions } from './holds/holds.ts'
export { type HeldLease, Leases, type LeasesOptions, type ProcessProof, type ProtectOptions, type ReconcileReport, SweepSession } from './holds/leases.ts'
export { directoryCache, type DirectoryCacheOptions, type PayloadIdsCache } from './holds/payload-ids-cache.ts'
export { type SteadyClock, steadyClock } from './holds/steady-clock.ts'
export { type SweepPayloadsOptions, type SweepPayloadsProgress, type SweepPayloadsReport, sweepPayloads } from './holds/sweep-payloads.ts'
export { type Mark, type SweepProgress, type SweepState, sweepStateFile } from './holds/sweep-state.ts'
export { directoryUnionStore, type StoredSet, type StoredUnion, type UnionDescription, type UnionDraft, type UnionPart, type UnionStore } from './holds/union-store.ts'
export { checkBackupId, isBackupId, newBackupId } from './backup-id.ts'
export { checkPayloadId, decodePayloadIds, emptyPayloadIdSet, PayloadIdSet, PayloadIdSetBuilder, type PayloadIdSetOptions, type PayloadIdSetState } from './payload-ids.ts'
export { type Manifest, encodeManifest, MANIFEST_VERSION, parseManifest } from './snapshot/manifest.ts'
export { type DataFrame, decodeRecords, openSnapshot, type OpenSnapshotOptions, type SnapshotReader, type StoredRecord, type Value } from './snapshot/snapshot-reader.ts'
export { SnapshotWriter, type SnapshotWriterOptions } from './snapshot/snapshot-writer.ts'
export { BACKUP_PHASES, type BackupPhase, type BackupProgress, type BackupRecord, runBackup, type RunBackupOptions } from './backup/run-backup.ts'
export { deleteBackup, type DeleteBackupOptions, type DeleteReport } from './backup/delete-backup.ts'
export { readRecords, type ReadRecordsOptions, type RecordBatch } from './backup/read-records.ts'
export { resolveBackup } from './backup/resolve-backup.ts'
export {
  type TrialStore,
  type VerificationLevel,
  VERIFY_STEPS,
  verifyBackup,
  type VerifyBackupOptions,
  type VerifyProgress,
  type VerifyReport,
  type VerifyStep,
} from './backup/verify-backup.ts'
export type * from './catalog/catalog.ts'
export { JOB_KINDS, JOB_STATES, VERIFICATION_LEVELS } from './catalog/catalog.ts'
export type * from './catalog/hold-events.ts'
export type { JobOwner } from './catalog/job-owner.ts'
export { type BackupPlace, rebuildCatalog, type RebuildCatalogOptions, type RebuildReport } from './catalog/rebuild-catalog.ts'
export { type RestoreBackupOptions, type RestoreReport, restoreBackup } from './restore/restore-backup.ts'
export {
  type ReadableTrial,
  RESTORE_SUBTREE_STEPS,
  restoreSubtree,
  type RestoreSubtreeOptions,
  type RestoreSubtreeProgress,
  type RestoreSubtreeReport,
  type RestoreSubtreeStep,
} from './restore/restore-subtree.ts'
export { rollback, type RollbackOptions, type RollbackReport } from './restore/rollback.ts'
export { recover, type RecoverOptions, type RecoveryOutcome, type RecoveryReport } from './restore/recover.ts'
export { RESTORE_STEPS, type RestoreProgress, type RestoreStep, type StepProgress, type StepTime } from './restore/steps.ts'
export {
  CONVERT_STEPS,
  type ConvertedStore,
  type ConvertProgress,
  type ConvertReport,
  type ConvertStep,
  convertStore,
  type ConvertStoreOptions,
} from './metadata/convert-store.ts'
export type { TreeCounts } from './metadata/copy-tree.ts'
export { RECORD_KINDS, type RecordKind } from './metadata/view-summary.ts'
export type * from './metadata/metadata-store.ts'
export { INODE_TYPES, RENAME_MODES } from './metadata/metadata-store.ts'
export { HOLDFAST_VERSION } from './version.ts'
