/** How the objects that callers give are told from others. */
import { has, type Kind } from '../util/check-options.ts'
import type { Backupable } from './backupable.ts'
import type { Catalog } from './catalog.ts'
import type { Destination } from './destination.ts'
import type { MetadataStore } from './metadata-store.ts'
import type { PayloadReferences, PayloadStore } from './payload-store.ts'
import type { Swappable } from './swappable.ts'

export const BACKUPABLE: Kind = has<Backupable>('a Backupable', 'backup', 'restore')
export const CATALOG: Kind = has<Catalog>(
  'a catalog, as openLevelCatalog() gives', 'append', 'jobs', 'job', 'backups', 'backup', 'leases', 'sweeps', 'holdGeneration',
)
export const DESTINATION: Kind = has<Destination>(
  'a destination, as fsDestination() gives', 'put', 'manifest', 'open', 'stat', 'list', 'delete', 'cleanUp',
)
export const METADATA_STORE: Kind = has<MetadataStore>('a metadata store, as openLevelStore() gives', 'view', 'importView')
export const PAYLOAD_STORE: Kind = has<PayloadStore>('a payload store, as PayloadDirectory.open() gives', 'exists')
export const REFERENCES: Kind = has<PayloadReferences>('a store, as openLevelStore() gives', 'payloadIds')
export const SWAPPABLE: Kind = has<Swappable>('a store that can be swapped, as openLevelStore() gives', 'readStoreId', 'swap')
