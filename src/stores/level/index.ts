/** Metadata stores in LevelDB, and backups of any abstract-level database. Loads the LevelDB binding. */
export { type LevelBackupableOptions, levelBackupable } from './engine/level-backupable.ts'
export { type LevelEngines, type LevelEnginesOptions } from './home/level-engines.ts'
export { LevelHome, type LevelHomeOptions, openLevelHome } from './home/level-home.ts'
export { LevelMetadataStore, type LevelMetadataStoreOptions } from './store/level-metadata-store.ts'
export { type LevelStore, type LevelStoreOptions, openLevelStore } from './home/level-store.ts'
