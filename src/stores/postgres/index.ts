/** Postgres: a metadata store in a schema, and any schema backed up and restored. */
export { type PostgresBackupableOptions, type PostgresClient, type PostgresPool, postgresBackupable } from './postgres-backupable.ts'
export { type PostgresMetadataStoreOptions, PostgresMetadataStore } from './postgres-metadata-store.ts'
