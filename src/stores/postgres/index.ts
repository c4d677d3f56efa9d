/** Postgres: any schema backed up and restored. */
export { type PostgresBackupableOptions, type PostgresClient, type PostgresPool, postgresBackupable } from './postgres-backupable.ts'
