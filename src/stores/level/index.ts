/** Metadata stores in LevelDB, and backups of any abstract-level database. Loads the LevelDB binding. */
export { type LevelBackupableOptions, levelBackupable } from './level-backupable.ts'
export { type LevelEngines, type LevelEnginesOptions } from './level-engines.ts'
export { LevelHome, type LevelHomeOptions, openLevelHome } from './level-home.ts'
export { LevelMetadataStore, type LevelMetadataStoreOptions } from './level-metadata-store.ts'
export { type LevelStore, type LevelStoreOptions, openLevelStore } from './level-store.ts'
