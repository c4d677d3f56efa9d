/** A pool whose connections can all be ended, as those of a process that is killed. */
import { Pool } from 'pg'
import { onTestFinished } from 'vitest'
import type { PostgresPool } from '../../../src/stores/postgres/index.ts'
import { serverUrl } from './server.ts'

export interface CuttablePool {
  readonly pool: PostgresPool
  /** Ends all connections; none is given from then on. */
  readonly cut: () => void
}

/** Of the tests' server, or of another URL. It hides how it connects, so that no worker thread connects by itself. */
export async function cuttablePool(url?: string): Promise<CuttablePool> {
  const inner = new Pool({ connectionString: url ?? (await serverUrl()), max: 8 })
  inner.on('error', () => undefined)
  onTestFinished(() => inner.end())
  const given = new Set<{ readonly stream: { destroy(): unknown } }>()
  let isCut = false
  inner.on('connect', (client) => void given.add((client as unknown as { readonly connection: { readonly stream: { destroy(): unknown } } }).connection))
  const pool: PostgresPool = {
    connect: () => (isCut ? Promise.reject(new Error('The connection was cut')) : inner.connect()),
  }
  return {
    pool,
    cut: () => {
      isCut = true
      for (const { stream } of given) stream.destroy()
    },
  }
}
