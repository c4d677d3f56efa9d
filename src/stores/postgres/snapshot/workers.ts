/** Snapshots and restores in a worker thread with connections of its own, as the calling thread sees them. */
import type { SnapshotSink, SnapshotSource } from '../../../contracts/backupable.ts'
import { closing } from '../../../errors/clean-up.ts'
import type { PayloadIdSet } from '../../../payload-ids/payload-id-set.ts'
import { WorkerLink, receiveSnapshot, sendSnapshot } from '../../worker/worker-link.ts'
import type { FromRestoreWorker, FromSnapshotWorker } from '../../worker/worker-messages.ts'
import type { PostgresPool } from '../connection/client.ts'
import type { ReadSnapshotOptions } from './read-snapshot.ts'
import type { WriteSnapshotOptions } from './write-snapshot.ts'

/** Options of pg's clients and pools that say where and how to connect. */
const CONNECTION_OPTIONS = [
  'connectionString',
  'host',
  'port',
  'user',
  'password',
  'database',
  'ssl',
  'sslmode',
  'sslnegotiation',
  'enableChannelBinding',
  'options',
  'application_name',
  'client_encoding',
  'connectionTimeoutMillis',
  'keepAlive',
  'keepAliveInitialDelayMillis',
] as const

/** `workerData` of either worker: plain data only. */
export interface WorkerRequest<Options> {
  readonly connection: Readonly<Record<string, unknown>>
  readonly options: Omit<Options, 'interrupt' | 'onProgress' | 'allocate'>
}

/** How a pool connects, as plain data; `undefined` when the pool does not say, or when it cannot cross to another thread. */
export async function connectionOf({ options }: PostgresPool): Promise<Readonly<Record<string, unknown>> | undefined> {
  if (options === undefined || 'stream' in options || 'Client' in options) return undefined
  // pg keeps the password and the keys from being enumerated.
  const given = options as Readonly<Record<string, unknown>>
  const connection: Record<string, unknown> = {}
  for (const name of CONNECTION_OPTIONS) if (given[name] !== undefined) connection[name] = given[name]
  if (typeof connection['password'] === 'function') connection['password'] = await (connection['password'] as () => unknown)()
  const { ssl } = connection
  if (typeof ssl === 'object' && ssl !== null && 'key' in ssl) connection['ssl'] = { ...ssl, key: ssl.key }
  try {
    return structuredClone(connection)
  } catch {
    // A function among them, such as one that checks certificates: it cannot be called from there.
    return undefined
  }
}

export async function snapshotInWorker(
  connection: Readonly<Record<string, unknown>>,
  sink: SnapshotSink,
  { interrupt, onProgress, ...options }: WriteSnapshotOptions,
): Promise<PayloadIdSet> {
  const url = new URL('./snapshot-worker.js', import.meta.url)
  const link = new WorkerLink<FromSnapshotWorker>(url, { connection, options }, { name: 'holdfast-snapshot', interrupt })
  return await closing(link, () => receiveSnapshot(link, sink, onProgress))
}

export async function restoreInWorker(
  connection: Readonly<Record<string, unknown>>,
  source: SnapshotSource,
  { interrupt, onProgress, ...options }: ReadSnapshotOptions,
): Promise<void> {
  const url = new URL('./restore-worker.js', import.meta.url)
  const link = new WorkerLink<FromRestoreWorker>(url, { connection, options }, { name: 'holdfast-restore', interrupt })
  // The source is not touched before the schema is known to be empty.
  await closing(link, () => sendSnapshot(link, source, { credit: 0, onProgress }))
}
