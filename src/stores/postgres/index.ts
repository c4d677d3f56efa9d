/** Postgres: metadata stores in schemas, the homes in which they are replaced, and any schema backed up and restored. */
export { type PostgresBackupableOptions, type PostgresClient, type PostgresPace, type PostgresPool, postgresBackupable } from './snapshot/postgres-backupable.ts'
export { type PayloadGuardOptions, guardPostgresPayloads } from './home/payload-guard.ts'
export type { PayloadGuard } from '../../contracts/payload-store.ts'
export { PostgresHome, type PostgresHomeOptions } from './home/postgres-home.ts'
export { type PostgresMetadataStoreOptions, PostgresMetadataStore } from './store/postgres-metadata-store.ts'
export { openPostgresTrial, type PostgresTrialOptions } from './postgres-trial.ts'
export { type OpenPostgresHomeOptions, type PostgresStore, type PostgresStoreOptions, openPostgresHome, openPostgresStore, readPostgresStoreId } from './home/postgres-store.ts'
export type { ReadableTrial as PostgresTrial } from '../../restore/subtree/restore-subtree.ts'
