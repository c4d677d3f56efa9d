/** Pools of connections: the caller's, or Holdfast's own. */
import type { Pool, PoolConfig } from 'pg'
import { InvalidArgumentError } from '../../../errors/errors.ts'
import { loadWith } from '../../../util/optional-package.ts'
import type { PostgresPool } from './client.ts'

export interface PoolHandle {
  readonly pool: PostgresPool
  /** Ends a pool of our own; the caller's stays open. */
  close(): Promise<void>
}

/** How long connecting may take, and waiting for a connection that is free. */
const CONNECTION_TIMEOUT_MS = 30_000
/** How long a connection may be silent before the system asks the server whether it is there. */
const KEEPALIVE_DELAY_MS = 30_000
const PROTOCOLS: readonly string[] = ['postgres:', 'postgresql:']
/** One that holds the locks of a restore, one that reads the records meanwhile, and one for the store's own work. */
const FEWEST_CONNECTIONS = 3

/**
 * Takes a pool as it is, or makes one from a URL; connects to nothing yet. `invalid_argument` for a malformed URL, which is not repeated:
 * it may hold a password. Throws `RangeError` for a pool that says that it has too few connections.
 */
export async function poolHandle(connection: PostgresPool | string): Promise<PoolHandle> {
  if (typeof connection !== 'string') {
    const { max } = (connection.options ?? {}) as { readonly max?: unknown }
    if (typeof max === 'number' && max < FEWEST_CONNECTIONS) {
      throw new RangeError(`A pool of ${FEWEST_CONNECTIONS} connections or more is needed, got one of ${max}`)
    }
    return { pool: connection, close: async () => {} }
  }
  if (!isConnectionUrl(connection)) throw new InvalidArgumentError('Cannot use the connection URL: it is not of the form postgres://USER:PASSWORD@HOST:PORT/DATABASE, with what is special in a URL escaped')
  const pool = await ownPool({ connectionString: connection, connectionTimeoutMillis: CONNECTION_TIMEOUT_MS })
  return { pool, close: () => pool.end() }
}

/** A pool whose connections notice that a server is gone, and keep no process alive when they are not in use. */
export async function ownPool(config: PoolConfig): Promise<Pool> {
  const { Pool } = await loadWith('pg', () => import('pg'))
  const pool = new Pool({ application_name: 'holdfast', keepAlive: true, keepAliveInitialDelayMillis: KEEPALIVE_DELAY_MS, allowExitOnIdle: true, ...config })
  // An idle connection that breaks is replaced when it is needed.
  pool.on('error', () => undefined)
  // A connection that is cut says goodbye, and the server may never confirm that.
  pool.on('release', (destroy, client) => {
    if (destroy) (client as unknown as { unref(): void }).unref()
  })
  return pool
}

function isConnectionUrl(text: string): boolean {
  try {
    const { protocol, pathname, username, hostname, password } = new URL(text)
    // Escapes that cannot be undone, and what follows a password that was not escaped.
    for (const part of [username, hostname, password, pathname]) decodeURIComponent(part)
    return PROTOCOLS.includes(protocol) && !pathname.includes('@')
  } catch {
    return false
  }
}
