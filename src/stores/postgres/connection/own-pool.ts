/** A pool of connections that is Holdfast's own. */
import type { Pool, PoolConfig } from 'pg'

/** How long a connection may be silent before the system asks the server whether it is there. */
const KEEPALIVE_DELAY_MS = 30_000

/** A pool whose connections notice that a server is gone, and keep no process alive when they are not in use. */
export async function ownPool(config: PoolConfig): Promise<Pool> {
  const { Pool } = await import('pg')
  const pool = new Pool({ application_name: 'holdfast', keepAlive: true, keepAliveInitialDelayMillis: KEEPALIVE_DELAY_MS, allowExitOnIdle: true, ...config })
  // An idle connection that breaks is replaced when it is needed.
  pool.on('error', () => undefined)
  // One that is cut says goodbye, which nobody may ever confirm.
  pool.on('release', (destroy, client) => {
    if (destroy) (client as unknown as { unref(): void }).unref()
  })
  return pool
}
