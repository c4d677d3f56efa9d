/** Single statements over any connection of a pool. */
import type { Query } from '../home/home-records.ts'
import { answerWithin, takeClient } from './answers.ts'
import type { PostgresPool } from './client.ts'
import { postgresError } from './server-errors.ts'

/** Runs each statement by itself; what fails, or goes unanswered for longer than this, is told as this action. */
export function poolQuery(pool: PostgresPool, action: string, answerTimeoutMs: number): Query {
  const toError = (error: unknown): Error => postgresError(error, { action, badData: 'invalid' })
  return async (text, values) => {
    const client = await takeClient(pool, answerTimeoutMs).catch((error: unknown) => {
      throw toError(error)
    })
    client.on('error', ignore)
    try {
      const { rows } = await answerWithin(client.query(text, values), answerTimeoutMs)
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
