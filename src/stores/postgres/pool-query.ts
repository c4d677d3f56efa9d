/** Single statements over any connection of a pool. */
import type { Query } from './home-records.ts'
import type { PostgresPool } from './snapshot/client.ts'
import { postgresError } from './snapshot/errors.ts'

/** Runs each statement by itself; what fails is told as this action. */
export function poolQuery(pool: PostgresPool, action: string): Query {
  const toError = (error: unknown): Error => postgresError(error, { action, badData: 'invalid' })
  return async (text, values) => {
    const client = await pool.connect().catch((error: unknown) => {
      throw toError(error)
    })
    client.on('error', ignore)
    try {
      const { rows } = await client.query(text, values)
      client.removeListener('error', ignore)
      client.release()
      return rows as object[]
    } catch (error) {
      client.release(true)
      throw toError(error)
    }
  }
}

function ignore(): void {}
