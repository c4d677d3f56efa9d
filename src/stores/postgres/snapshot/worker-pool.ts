/** A worker thread's own pool. */
import { Socket } from 'node:net'
import type { WorkerPort } from '../../common/worker-port.ts'
import { Interrupt } from '../../common/interrupt.ts'
import type { PostgresPool } from './client.ts'
import { RecyclingSocket } from './recycling-socket.ts'

/** Runs a task with a pool, and closes all its connections in every case. The task's interrupt fails when the calling thread wants no more. */
export async function withPool<T>(
  port: WorkerPort,
  { connection, connections }: { readonly connection: object; readonly connections: number },
  task: (pool: PostgresPool, interrupt: Interrupt) => Promise<T>,
): Promise<T> {
  const { Pool } = await import('pg')
  const pool = new Pool({ application_name: 'holdfast', ...connection, max: connections, stream: newSocket as () => Socket })
  // An idle connection that breaks is replaced when it is needed.
  pool.on('error', () => undefined)
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
