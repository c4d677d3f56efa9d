/** Catalogs in LevelDB. Loads the LevelDB binding. */
export { type CatalogDatabase, type LevelCatalogOptions, levelCatalog } from '../../catalog/level-catalog.ts'
export { type OpenLevelCatalogOptions, openLevelCatalog } from './open-level-catalog.ts'
