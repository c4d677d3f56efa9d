/** A metadata store in a schema of its own that lasts for one trial. */
import { newBackupId } from '../../backup-id.ts'
import type { Backupable } from '../../backupable.ts'
import type { MetadataStore } from '../../metadata/metadata-store.ts'
import { andAlso, closing } from '../common/clean-up.ts'
import type { Query } from './home-records.ts'
import { poolHandle } from './pool-handle.ts'
import { poolQuery } from './pool-query.ts'
import { PostgresMetadataStore } from './postgres-metadata-store.ts'
import { type PostgresPool, quoteName } from './snapshot/client.ts'

/** Begins the name of every schema that a trial makes; the rest tells trials apart. */
const SCHEMA_PREFIX = 'holdfast_trial_'
const RANDOM_CHARACTERS = 12
/** How long the server may take to make or drop a schema. */
const CHANGE_TIMEOUT_MS = 300_000

export interface PostgresTrial extends Backupable, Pick<MetadataStore, 'view'> {
  /** Closes the store and removes its schema. */
  discard(): Promise<void>
}

/**
 * Makes an empty store in a new schema, to be restored into and removed by `discard`. The role makes schemas in the database. A process that is
 * killed leaves the schema, which nothing else uses: it can be dropped.
 *
 * `invalid_argument` for a URL that is none, `store_unavailable` when the server cannot be reached or refuses.
 */
export async function openPostgresTrial(connection: PostgresPool | string): Promise<PostgresTrial> {
  const handle = await poolHandle(connection)
  const schema = `${SCHEMA_PREFIX}${newBackupId().slice(-RANDOM_CHARACTERS).toLowerCase()}`
  const query = (action: string): Query => poolQuery(handle.pool, `Cannot ${action} the schema "${schema}" of a trial`, CHANGE_TIMEOUT_MS)
  const drop = async (): Promise<void> => void (await query('remove')(`DROP SCHEMA ${quoteName(schema)} CASCADE`))
  try {
    await query('make')(`CREATE SCHEMA ${quoteName(schema)}`)
    const store = await PostgresMetadataStore.open(handle.pool, { schema }).catch((error: unknown) => andAlso(error, drop))
    return {
      kind: store.kind,
      backup: (sink, options) => store.backup(sink, options),
      restore: (source, options) => store.restore(source, options),
      view: () => store.view(),
      discard: () =>
        closing(handle, async () => {
          await store.close()
          await drop()
        }),
    }
  } catch (error) {
    return await andAlso(error, () => handle.close())
  }
}
