/** Single statements over any connection of a pool. */
import { answerWithin, takeClient } from './answers.ts'
import type { PostgresPool } from './client.ts'
import { postgresError } from './server-errors.ts'

/** Runs one statement and gives its rows. */
export type Query = (text: string, values?: unknown[]) => Promise<readonly object[]>

/** Runs each statement by itself. `action` begins the message of what fails, or goes unanswered for longer than `answerTimeoutMs`. */
export function poolQuery(pool: PostgresPool, action: string, answerTimeoutMs: number): Query {
  return async (text, values) => {
    try {
      return await queryOnce(pool, { text, values, answerTimeoutMs })
    } catch (error) {
      throw postgresError(error, { action, badData: 'invalid' })
    }
  }
}

export interface QueryOnceOptions {
  readonly text: string
  readonly values?: unknown[] | undefined
  readonly answerTimeoutMs: number
}

/** The rows of a statement, or of the last of several. Rejects with what the server or the driver gives; the connection is cut then. */
export async function queryOnce(pool: PostgresPool, { text, values, answerTimeoutMs }: QueryOnceOptions): Promise<readonly object[]> {
  const client = await takeClient(pool, answerTimeoutMs)
  client.on('error', ignore)
  try {
    const results = [await answerWithin(client.query(text, values), answerTimeoutMs)].flat()
    client.removeListener('error', ignore)
    client.release()
    return (results.at(-1)?.rows ?? []) as object[]
  } catch (error) {
    client.release(true)
    throw error
  }
}

function ignore(): void {}
