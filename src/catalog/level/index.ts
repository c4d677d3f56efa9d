/** Catalogs in LevelDB. Loads the LevelDB binding. */
export { type CatalogDatabase, type LevelCatalogOptions, levelCatalog } from './level-catalog.ts'
export { type OpenLevelCatalogOptions, openLevelCatalog } from './open-level-catalog.ts'
