/** A metadata store in a schema of its own that lasts for one trial. */
import { newBackupId } from '../../backup-id.ts'
import type { Backupable } from '../../backupable.ts'
import { poolHandle } from './pool-handle.ts'
import { poolQuery } from './pool-query.ts'
import { PostgresMetadataStore } from './postgres-metadata-store.ts'
import { type PostgresPool, quoteName } from './snapshot/client.ts'

/** Begins the name of every schema that a trial makes; the rest tells trials apart. */
const SCHEMA_PREFIX = 'holdfast_trial_'
const RANDOM_CHARACTERS = 12
/** How long the server may take to drop a schema. */
const REMOVAL_TIMEOUT_MS = 300_000

/**
 * Makes an empty store in a new schema, to be restored into and removed by `discard`. The role makes schemas in the database. A process that is
 * killed leaves the schema, which nothing else uses: it can be dropped.
 *
 * `invalid_argument` for a URL that is none, `store_unavailable` when the server cannot be reached or refuses.
 */
export async function openPostgresTrial(connection: PostgresPool | string): Promise<Backupable & { discard(): Promise<void> }> {
  const handle = await poolHandle(connection)
  const schema = `${SCHEMA_PREFIX}${newBackupId().slice(-RANDOM_CHARACTERS).toLowerCase()}`
  try {
    const store = await PostgresMetadataStore.open(handle.pool, { schema })
    return {
      kind: store.kind,
      backup: (sink, options) => store.backup(sink, options),
      restore: (source, options) => store.restore(source, options),
      async discard() {
        try {
          await store.close()
          await poolQuery(handle.pool, `Cannot remove the schema "${schema}" of a trial`, REMOVAL_TIMEOUT_MS)(`DROP SCHEMA ${quoteName(schema)} CASCADE`)
        } finally {
          await handle.close()
        }
      },
    }
  } catch (error) {
    await handle.close()
    throw error
  }
}
