/** The slice of `pg` that snapshots use, so that any compatible pool will do and importing Holdfast loads no driver. */
import type { Duplex } from 'node:stream'
import { type Kind, either, has } from '../../../util/check-options.ts'

/** A pool of `pg`, or anything shaped like it. */
export interface PostgresPool {
  connect(): Promise<PostgresClient>
  /** What the pool connects with, as pg's own pool shows it. A worker thread connects with the same. */
  readonly options?: object | undefined
}

export const POOL: Kind = has<PostgresPool>('a pool of pg', 'connect')
export const CONNECTION: Kind = either({ what: 'a URL', fits: (value) => typeof value === 'string' }, POOL)

/** A client taken from a pool. */
export interface PostgresClient {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: unknown[] }>
  /** The process of the server, as the client was told. */
  readonly processID?: number | null | undefined
  /** Gives the client back; with `true` its connection is closed. */
  release(destroy?: boolean): void
  on(event: 'error', listener: (error: Error) => void): unknown
  removeListener(event: 'error', listener: (error: Error) => void): unknown
}

/** What runs statements: one connection, or any of a pool for each of them. */
export interface Queryable {
  /** The rows of a statement, or of the last of several that have no values. */
  rows<Row extends object>(text: string, values?: readonly unknown[]): Promise<Row[]>
}

/** What `pg` calls on a statement that reads or writes the protocol by itself. */
export interface Submittable {
  submit(connection: WireConnection): void
  handleError(error: Error): void
  /** Of a statement that gives rows. */
  handleRowDescription?(): void
  handleDataRow?(): void
  handleCommandComplete(message: { readonly text: string }): void
  handleReadyForQuery(): void
  handleCopyInResponse?(connection: WireConnection): void
}

/** The connection under a client, as it is given to a statement. */
export interface WireConnection {
  readonly stream: Duplex
  query(text: string): void
  endCopyFrom(): void
  sendCopyFail(reason: string): void
}

/** Hands a statement to a client, which submits it when its turn comes. */
export function submit(client: PostgresClient, statement: Submittable): void {
  const submitting = client as unknown as { query(statement: Submittable): void }
  submitting.query(statement)
}

/** A name as it is written in SQL. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** Text as it is written in SQL, whatever `standard_conforming_strings` says. */
export function quoteText(text: string): string {
  const quoted = `'${text.replaceAll("'", "''")}'`
  return text.includes('\\') ? ` E${quoted.replaceAll('\\', '\\\\')}` : quoted
}

/** The number of rows in the tag of a finished COPY. */
export function copiedRows(tag: string): number {
  return Number(/^COPY (\d+)$/.exec(tag)?.[1] ?? NaN)
}
