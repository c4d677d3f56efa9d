/** A worker thread's own pool. */
import { Socket } from 'node:net'
import type { WorkerPort } from '../../worker/worker-port.ts'
import { Interrupt } from '../../../util/interrupt.ts'
import type { PostgresPool } from './client.ts'
import { ownPool } from './pools.ts'
import { RecyclingSocket } from './recycling-socket.ts'

/** One that asks the server what the others are doing, and ends it. */
const SPARE_CONNECTIONS = 1
/** How much longer the pool waits than the caller, which says how long the server was waited for. */
const MARGIN_MS = 1000

/** Runs a task with a pool, and closes its connections in every case. The interrupt fails when the calling thread wants no more. */
export async function withPool<T>(
  port: WorkerPort,
  { connection, connections, answerTimeoutMs }: { readonly connection: { readonly connectionTimeoutMillis?: number | undefined }; readonly connections: number; readonly answerTimeoutMs: number },
  task: (pool: PostgresPool, interrupt: Interrupt) => Promise<T>,
): Promise<T> {
  // A pool does not end while a connection is being made; 0 means for ever.
  const connectionTimeoutMillis = Math.min(connection.connectionTimeoutMillis || Infinity, answerTimeoutMs + MARGIN_MS)
  const pool = await ownPool({ ...connection, connectionTimeoutMillis, max: connections + SPARE_CONNECTIONS, stream: newSocket as () => Socket })
  const interrupt = new Interrupt()
  port.onStop((error) => interrupt.fail(error))
  try {
    return await task(pool, interrupt)
  } finally {
    await pool.end()
  }
}

/** The socket of a connection, which `pg` gives its options. TLS reads from the socket under it by itself. */
function newSocket({ ssl }: { readonly ssl?: unknown }): Socket {
  return ssl === undefined || ssl === false ? new RecyclingSocket() : new Socket()
}
