/** Looking into backups without restoring them. */
export { type Change, type ChangeKind, type BackupDiff, diffBackups, type DiffBackupsOptions } from './diff-backups.ts'
export { type BackupEntry, checkBackupPath, listBackupPath, type ListBackupOptions, listBackupShares } from './list-backup.ts'
export { findPath } from '../metadata/tree-path.ts'
