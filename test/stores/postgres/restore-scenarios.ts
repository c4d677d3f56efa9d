/** What a home does that may be cut off at any statement; runs in the test's process, and in child processes that are killed. */
import { fsDestination } from '../../../destinations/fs/index.ts'
import { restoreBackup } from '../../../src/restore/restore-backup.ts'
import { rollback } from '../../../src/restore/rollback.ts'
import { type PostgresPool, openPostgresHome, openPostgresStore } from '../../../src/stores/postgres/index.ts'

export const SCHEMA = 'meta'
export const STORE_ID = 'store-under-test'

export interface Work {
  readonly connection: PostgresPool
  /** Where the backup is that is restored. */
  readonly backups: string
  readonly backupId: string
}

const home = async (connection: PostgresPool): ReturnType<typeof openPostgresHome> => await openPostgresHome({ connection, schema: SCHEMA, onWarning: () => undefined })

async function restore({ connection, backups, backupId }: Work): Promise<void> {
  const target = await home(connection)
  try {
    await restoreBackup({ target, destination: fsDestination({ path: backups }), backupId })
  } finally {
    await target.close()
  }
}

async function open({ connection }: Work): Promise<void> {
  const store = await openPostgresStore({ connection, schema: SCHEMA, storeId: STORE_ID, onWarning: () => undefined })
  await store.close()
}

/** What each does, by name. */
export const WORKS: Readonly<Record<string, (work: Work) => Promise<void>>> = {
  restore,
  open,
  async rollback({ connection }) {
    const target = await home(connection)
    try {
      await rollback({ target })
    } finally {
      await target.close()
    }
  },
}
