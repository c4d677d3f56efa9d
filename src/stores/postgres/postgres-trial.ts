/** A metadata store in a schema of its own that lasts for one trial; what killed trials left goes at the next one. */
import { newUlid } from '../../util/ulid.ts'
import type { ReadableTrial } from '../../restore/subtree/restore-subtree.ts'
import { messageOf } from '../../errors/error-message.ts'
import { afterwards, closing, failureAfter, undoOnError } from '../../errors/clean-up.ts'
import { poolHandle } from './connection/pools.ts'
import { Connection } from './connection/connection.ts'
import { type PostgresMetadataStoreOptions, PostgresMetadataStore } from './store/postgres-metadata-store.ts'
import { ANSWER_TIMEOUT_MS } from './connection/answer-deadline.ts'
import { FUNCTION, checkArgument, checkOptions, optional } from '../../util/check-options.ts'
import { PACE_OPTIONS } from './snapshot/pace.ts'
import { CONNECTION, type PostgresPool, quoteName, quoteText } from './connection/client.ts'
import { lockKey, openLockConnection, tryLock } from './connection/advisory-locks.ts'

/** Begins the name of every schema that a trial makes; the rest tells trials apart. */
const SCHEMA_PREFIX = 'holdfast_trial_'
const RANDOM_CHARACTERS = 12
/** The comment of such a schema. A schema without it is not a trial's. */
const COMMENT = 'Holdfast: a trial restore, whose process has an advisory lock for it; without one, the next trial removes it'
/** Whatever the role or the database has for transactions. */
const READ_WRITE = 'SET TRANSACTION READ WRITE'
/** How long the server may take to make or drop a schema. */
const CHANGE_TIMEOUT_MS = 300_000
/** How long the clean-up waits for whatever uses a table of a schema that no trial has locked. */
const CLEAN_UP_LOCK_TIMEOUT_MS = 2000

export interface PostgresTrialOptions extends Pick<PostgresMetadataStoreOptions, 'pace'> {
  /** Called with what killed trials left and could not be removed; it does no harm. @default ignored */
  readonly onWarning?: ((warning: Error) => void | Promise<void>) | undefined
}

/**
 * Makes an empty store in a new schema, to be restored into and removed by `discard`. The role makes schemas in the database. A process
 * that is killed leaves the schema, and with its connection its lock on it goes: that tells, on whatever machine it ran, that the trial has
 * ended. Those that have are removed first.
 *
 * `invalid_argument` for a URL that is none, `store_unavailable` when the server cannot be reached or refuses.
 */
export async function openPostgresTrial(connection: PostgresPool | string, options: PostgresTrialOptions = {}): Promise<ReadableTrial> {
  checkArgument('openPostgresTrial', connection, { name: 'connection', kind: CONNECTION })
  checkOptions('openPostgresTrial', options, { pace: PACE_OPTIONS.pace, onWarning: optional(FUNCTION) })
  const { pace, onWarning = () => {} } = options
  const handle = await poolHandle(connection)
  const schema = `${SCHEMA_PREFIX}${newUlid().slice(-RANDOM_CHARACTERS).toLowerCase()}`
  const run = async (verb: string, text: string): Promise<void> => {
    await Connection.queries(handle.pool, { action: `Cannot ${verb} the schema "${schema}" of a trial`, answerTimeoutMs: CHANGE_TIMEOUT_MS }).rows(`${READ_WRITE}; ${text}`)
  }
  const drop = (): Promise<void> => run('remove', `DROP SCHEMA ${quoteName(schema)} CASCADE`)
  let session: Connection | undefined
  try {
    session = await openLockConnection(handle.pool, { action: `Cannot lock the schema "${schema}" of a trial`, answerTimeoutMs: ANSWER_TIMEOUT_MS })
    const lock = session
    // Nothing removes what is locked before it is there.
    await tryLock(lock, lockKey('trials', schema))
    await removeOldTrials(handle.pool, onWarning)
    // In one transaction.
    await run('make', `CREATE SCHEMA ${quoteName(schema)}; COMMENT ON SCHEMA ${quoteName(schema)} IS ${quoteText(COMMENT)}`)
    const store = await undoOnError(() => PostgresMetadataStore.open(handle.pool, { schema, pace }), drop)
    return {
      kind: store.kind,
      backup: (sink, options) => store.backup(sink, options),
      restore: (source, options) => store.restore(source, options),
      view: () => store.view(),
      discard: () =>
        closing(handle, () =>
          afterwards(
            async () => {
              await store.close()
              await drop()
            },
            () => lock.end(),
          ),
        ),
    }
  } catch (error) {
    const thrown = await failureAfter(error, () => session?.end())
    throw await failureAfter(thrown, () => handle.close())
  }
}

/** Removes what killed trials left, of those that the role may remove. That it stays does no harm, so a failure is only worth a warning. */
async function removeOldTrials(pool: PostgresPool, onWarning: NonNullable<PostgresTrialOptions['onWarning']>): Promise<void> {
  let session: Connection | undefined
  try {
    session = await openLockConnection(pool, { action: 'Cannot remove what trials have left', answerTimeoutMs: ANSWER_TIMEOUT_MS })
    const found = await session.rows<{ schema: string }>(
      `SELECT nspname AS schema FROM pg_namespace
       WHERE starts_with(nspname, $1) AND obj_description(oid, 'pg_namespace') = $2 AND pg_has_role(nspowner, 'USAGE') ORDER BY nspname`,
      [SCHEMA_PREFIX, COMMENT],
    )
    for (const { schema } of found) await removeUnlocked(session, schema).catch((error: unknown) => onWarning(leftOver(`the schema "${schema}", which a trial restore left`, error)))
  } catch (error) {
    await onWarning(leftOver('what trial restores have left', error))
  } finally {
    await session?.end()
  }
}

/** Removes a trial's schema unless the trial is running. */
async function removeUnlocked(session: Connection, schema: string): Promise<void> {
  if (!(await tryLock(session, lockKey('trials', schema)))) return
  // Another clean-up may have come first.
  const drop = (): Promise<object[]> => session.rows(`DROP SCHEMA IF EXISTS ${quoteName(schema)} CASCADE`, [], { timeoutMs: CHANGE_TIMEOUT_MS })
  await session.transaction(drop, { lock_timeout: CLEAN_UP_LOCK_TIMEOUT_MS })
}

function leftOver(what: string, error: unknown): Error {
  return new Error(`Cannot remove ${what}: ${messageOf(error)}`, { cause: error })
}
