/** A pool that tells of every statement that is run through it, so that a process or a connection can be ended at each in turn. */
import { type Client, Pool } from 'pg'
import type { PostgresPool } from '../../../src/stores/postgres/index.ts'

export interface Statement {
  /** Counted from 0, over all connections. */
  readonly index: number
  readonly text: string
  /** The process of the server that runs it. */
  readonly processId: number
  /** Whether it commits a transaction that has renamed schemas. */
  readonly isSwap: boolean
}

export interface StatementHooks {
  /** Called before it is handed to the connection; not waited for where that is a COPY. */
  before?(statement: Statement): Promise<void> | void
  /** Called when the server has it, before it answers. */
  sent?(statement: Statement): void
  /** Called when it has ended. */
  after?(statement: Statement, outcome: 'done' | 'failed'): Promise<void> | void
}

/** What `pg` calls on a COPY. */
interface Submitted {
  submit(connection: unknown): void
  handleReadyForQuery(): void
}

/** It hides how it connects, so that no worker thread connects by itself. */
export function statementPool(url: string, hooks: StatementHooks): { readonly pool: PostgresPool; readonly close: () => Promise<void> } {
  const inner = new Pool({ connectionString: url, max: 8, application_name: 'holdfast statements' })
  inner.on('error', () => undefined)
  let count = 0
  inner.on('connect', (client) => {
    let isRenaming = false
    const statementOf = (text: string): Statement => {
      if (text.startsWith('BEGIN')) isRenaming = false
      isRenaming ||= text.includes(' RENAME TO ')
      return { index: count++, text, processId: (client as unknown as { processID: number }).processID, isSwap: isRenaming && text === 'COMMIT' }
    }
    const query = client.query.bind(client) as (...args: unknown[]) => unknown
    const run = async (statement: Statement, args: unknown[]): Promise<unknown> => {
      await hooks.before?.(statement)
      const running = query(...args)
      setImmediate(() => hooks.sent?.(statement))
      const [result] = await Promise.allSettled([running])
      await hooks.after?.(statement, result.status === 'fulfilled' ? 'done' : 'failed')
      if (result.status === 'rejected') throw result.reason
      return result.value
    }
    ;(client as unknown as { query: Client['query'] }).query = ((...args: unknown[]) => {
      const [first] = args
      if (typeof first === 'string') return run(statementOf(first), args)
      const submitted = first as Submitted
      const statement = statementOf('COPY')
      void hooks.before?.(statement)
      const end = submitted.handleReadyForQuery.bind(submitted)
      submitted.handleReadyForQuery = () => {
        void Promise.resolve(hooks.after?.(statement, 'done')).then(end)
      }
      setImmediate(() => hooks.sent?.(statement))
      return query(submitted)
    }) as Client['query']
  })
  return { pool: { connect: () => inner.connect() }, close: () => inner.end() }
}
