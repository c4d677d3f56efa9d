/** A pool in which something befalls one statement. */
import type { PostgresClient, PostgresPool } from '../../../src/stores/postgres/index.ts'

type Query = PostgresClient['query']
type Answer = ReturnType<Query>

/** `alter` is called in place of each statement that matches, and may run it. It hides how it connects, so that no worker thread connects by itself. */
export function alteredPool(pool: PostgresPool, text: string | RegExp, alter: (run: () => Answer, client: PostgresClient) => Answer): PostgresPool {
  const matches = (statement: unknown): boolean => typeof statement === 'string' && (typeof text === 'string' ? statement === text : text.test(statement))
  return {
    async connect() {
      const client = await pool.connect()
      const query: Query = (statement, values) => (matches(statement) ? alter(() => client.query(statement, values), client) : client.query(statement, values))
      return { query, release: (destroy) => client.release(destroy), on: (event, listener) => client.on(event, listener), removeListener: (event, listener) => client.removeListener(event, listener) }
    },
  }
}

/** The server runs it, and its answer is lost. */
export async function losing(run: () => Answer, _: PostgresClient): Answer {
  await run()
  throw new Error('Connection terminated unexpectedly')
}

/** The server ends the session instead. */
export async function breakConnection(_: () => Answer, client: PostgresClient): Answer {
  return await client.query('SELECT pg_terminate_backend(pg_backend_pid())')
}
