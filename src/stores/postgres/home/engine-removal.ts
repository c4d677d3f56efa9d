/** Drops an engine's schema with all that is in it, and nothing beside it. */
import { StoreNotDrainedError, StoreUnavailableError } from '../../../errors/errors.ts'
import { quoteName } from '../connection/client.ts'
import type { Connection } from '../connection/connection.ts'
import { sqlStateOf } from '../connection/server-errors.ts'

/** SQLSTATE: others depend on it. */
const DEPENDED_ON = '2BP01'

/**
 * Drops the schema, in the transaction that runs; one that does not exist is fine. `store_unavailable` when something outside, such as a
 * view, depends on it: that is not taken along. `store_not_drained` when a transaction uses it.
 */
export async function dropEngineSchema(session: Connection, schema: string): Promise<void> {
  const found = await session.rows<{ statement: string }>(CONTENTS, [schema])
  const exists = await session.rows('SELECT FROM pg_namespace WHERE nspname = $1', [schema])
  if (exists.length === 0) return
  try {
    await session.rows([...found.map(({ statement }) => statement), `DROP SCHEMA ${quoteName(schema)} RESTRICT`].join('; '))
  } catch (error) {
    if (error instanceof StoreNotDrainedError) {
      throw new StoreNotDrainedError(`Cannot remove the schema "${schema}": a transaction still uses it`, { cause: error, details: error.details })
    }
    if (sqlStateOf(error) !== DEPENDED_ON) throw error
    throw new StoreUnavailableError(`Cannot remove the schema "${schema}": something outside of it depends on what is in it`, {
      cause: error,
      hint: 'Drop what refers to it, such as a view of its tables, or let it refer to the live schema; the next start removes it then',
      details: { sqlState: DEPENDED_ON },
    })
  }
}

/** Drops of each kind together, for they depend on one another: views, tables with what is theirs, sequences, routines, types. */
const CONTENTS = `
  WITH space AS (SELECT oid FROM pg_namespace WHERE nspname = $1)
  SELECT 'DROP ' || kind || ' ' || string_agg(name, ', ') || ' RESTRICT' AS statement FROM (
    SELECT CASE relkind WHEN 'v' THEN 1 WHEN 'm' THEN 2 WHEN 'f' THEN 3 WHEN 'S' THEN 5 ELSE 4 END AS turn,
      CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind,
      format('%I.%I', $1, relname) AS name
    FROM pg_class c WHERE relnamespace = (SELECT oid FROM space) AND relkind IN ('v', 'm', 'f', 'r', 'p', 'S')
      AND NOT (relkind = 'S' AND EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype IN ('a', 'i')))
    UNION ALL
    SELECT 6, 'ROUTINE', format('%I.%I(%s)', $1, proname, pg_get_function_identity_arguments(oid)) FROM pg_proc WHERE pronamespace = (SELECT oid FROM space)
    UNION ALL
    SELECT 7, 'TYPE', format('%I.%I', $1, typname) FROM pg_type t
    WHERE typnamespace = (SELECT oid FROM space) AND (typtype IN ('d', 'e', 'r') OR typtype = 'c' AND (SELECT relkind FROM pg_class WHERE oid = typrelid) = 'c')
  ) AS content GROUP BY turn, kind ORDER BY turn`
