/** Tables as COPY commands, and connections that run them: a table at a time, or several ranges of it at once. */
import { Condition } from '../../../util/condition.ts'
import type { Interrupt } from '../../../util/interrupt.ts'
import { quoteName } from '../connection/client.ts'
import { CopyOut } from '../connection/copy-out.ts'
import type { FoundTable } from './definition.ts'
import type { Connection } from '../connection/connection.ts'
import { LET_GO } from './open-transaction.ts'
import type { Stride } from './pace.ts'

/** How much is kept of a COPY whose turn has not come. */
const READ_AHEAD_BYTES: number = 6 * 1024 * 1024
/** COPY commands that are begun and not yet written, for each connection. */
const AHEAD_OF_STREAM = 2

export interface CopyRange {
  /** Index of its table. */
  readonly table: number
  /** The command, which takes its locks with it when it ends. */
  readonly text: string
  readonly format: FoundTable['format']
}

export interface TableSize {
  readonly table: FoundTable
  /** Of the rows themselves, not of values that are stored out of line. */
  readonly pages: number
}

/**
 * The ranges of all tables, in order, each of about as many bytes; the last of a table has no end and takes whatever there is. A table that
 * is one range is read with a sixth less work, and through a few pages of the server's memory instead of all, which others need.
 */
export function* copyRanges(
  sizes: readonly TableSize[],
  { schema, pageBytes, bytes }: { readonly schema: string; readonly pageBytes: number; readonly bytes: number },
): Generator<CopyRange, void, undefined> {
  const step = Math.max(1, Math.floor(bytes / pageBytes))
  for (const [index, { table, pages }] of sizes.entries()) {
    if (pages === 0 && table.hasRanges) continue
    for (let from: number | undefined = 0; from !== undefined; ) {
      const to: number | undefined = table.hasRanges && from + step < pages ? from + step : undefined
      yield { table: index, text: copyText(table, schema, { from, to }), format: table.format }
      from = to
    }
  }
}

/** A COPY command whose rows are being read. */
export interface RunningCopy {
  readonly range: CopyRange
  readonly copy: CopyOut
}

/** Runs COPY commands on several sessions and gives them in order, so that each is read while those after it are under way. */
export class CopyRunner {
  readonly #ranges: Iterator<CopyRange, void, undefined>
  readonly #isAhead: boolean
  readonly #interrupt: Interrupt
  readonly #running: RunningCopy[] = []
  readonly #state = new Condition()
  #sessions = 0
  #ahead = 0
  #isExhausted = false

  constructor(ranges: Iterator<CopyRange, void, undefined>, { isAhead, interrupt }: Pick<Stride, 'isAhead'> & { readonly interrupt: Interrupt }) {
    this.#ranges = ranges
    this.#isAhead = isAhead
    this.#interrupt = interrupt
  }

  /** Takes ranges until there are none. */
  async run(session: Connection): Promise<void> {
    this.#sessions++
    for (;;) {
      await this.#until(() => this.#isExhausted || this.#ahead < (this.#isAhead ? this.#sessions * AHEAD_OF_STREAM : 1))
      const { value: range } = this.#ranges.next()
      if (range === undefined) break
      const copy = session.copyOut(range.text, { format: range.format, limitBytes: READ_AHEAD_BYTES })
      this.#ahead++
      this.#running.push({ range, copy })
      this.#state.changed()
      await copy.finished
    }
    this.#isExhausted = true
    this.#state.changed()
  }

  /** The commands in order; each is to be read to its end before the next is asked for. */
  async *copies(): AsyncGenerator<RunningCopy, void, undefined> {
    for (;;) {
      await this.#until(() => this.#running.length > 0 || this.#isExhausted)
      const running = this.#running.shift()
      if (running === undefined) return
      yield running
      this.#ahead--
      this.#state.changed()
    }
  }

  async #until(condition: () => boolean): Promise<void> {
    this.#interrupt.check()
    await this.#state.until(condition, (change) => this.#interrupt.race(change))
  }
}

/**
 * The pages are in settings, so that a server that keeps statistics of statements has one for all ranges of a table. A query has the
 * indexes of its tables locked until its transaction ends, where it does not let go: a REINDEX would wait for the backup, and all other
 * sessions for the REINDEX.
 */
function copyText({ name, columns, format }: FoundTable, schema: string, { from, to }: { readonly from: number; readonly to: number | undefined }): string {
  const path = `${quoteName(schema)}.${quoteName(name)}`
  const list = columns.map((column) => quoteName(column.name)).join(', ')
  const target = `TO STDOUT (FORMAT ${format})`
  if (from === 0 && to === undefined) return `COPY ${list === '' ? path : `${path} (${list})`} ${target}`
  const settings = `SELECT set_config('holdfast.from', '(${from},0)', true), set_config('holdfast.to', '(${to ?? from},0)', true)`
  const end = to === undefined ? '' : ` AND ctid < current_setting('holdfast.to')::tid`
  return `${settings}; COPY (SELECT ${list} FROM ONLY ${path} WHERE ctid >= current_setting('holdfast.from')::tid${end}) ${target}; ${LET_GO}`
}
