/** Stores, destinations, catalogs, payload stores and trials by URL. Loads a driver when a URL asks for it. */
export { openDestination } from '../../destinations/registry.ts'
export { type CatalogAddress, openCatalog, type OpenCatalogOptions, parseCatalogUrl } from './catalogs.ts'
export { findContentCheck } from './content-checks.ts'
export { type HoldsOptions, type LeasesOptions, Parts, type RecordOptions, withParts } from './parts.ts'
export { openPayloadStore, type OpenPayloadStoreOptions, openPayloadStoreToSweep } from './payload-stores.ts'
export { catalogPathOf, openHome, openStore, parseStoreUrl, placeOf } from './stores.ts'
export type { OpenHomeOptions, OpenStoreOptions, PayloadUse, StoreAddress, StoreHome } from './stores/address.ts'
export { checkTrial, openTrial, type TrialOptions } from './trials.ts'
