/** What Holdfast keeps in LevelDBs, as ledgers: entries are put, and counted again. */
import { openLevelCatalog } from '../../src/catalog/level/index.ts'
import { openLevelStore } from '../../src/stores/level/index.ts'
import { newUlid } from '../../src/util/ulid.ts'

export interface Ledger {
  /** Puts an entry of so many bytes, and resolves with its ID once the write is acknowledged. */
  put(bytes: number): Promise<string>
  ids(): Promise<readonly string[]>
  close(): Promise<void>
}

export const LEDGERS: Readonly<Record<string, (path: string) => Promise<Ledger>>> = {
  async store_unavailable(path) {
    const store = await openLevelStore(path)
    return {
      async put(bytes) {
        const id = newUlid()
        await store.setSetting(id, 'x'.repeat(bytes))
        return id
      },
      ids: async () => [...(await store.settings()).keys()],
      close: () => store.close(),
    }
  },
  async catalog_unavailable(path) {
    const catalog = await openLevelCatalog(path)
    const owner = { host: 'host', pid: 1, bootId: 'boot', start: '1' }
    return {
      async put(bytes) {
        const leaseId = newUlid()
        await catalog.append({ type: 'lease-taken', at: new Date().toISOString(), leaseId, purpose: 'backup', owner, storeId: 'x'.repeat(bytes) })
        return leaseId
      },
      ids: async () => (await catalog.leases()).map(({ leaseId }) => leaseId),
      close: () => catalog.close(),
    }
  },
}
