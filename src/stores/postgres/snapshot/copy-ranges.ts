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

/** The ranges of all tables, in order, each cut when it is asked for. The last of a table has no end: it takes whatever there is. */
export class CopyRanges {
  readonly #options: { readonly schema: string; readonly pageBytes: number }
  /** Tables that are not read to their end. */
  readonly #left: (TableSize & { readonly index: number })[]
  /** The first page of the first of them that no range has. */
  #from = 0

  constructor(sizes: readonly TableSize[], options: { readonly schema: string; readonly pageBytes: number }) {
    this.#options = options
    this.#left = sizes.map((size, index) => ({ ...size, index })).filter(({ table, pages }) => pages > 0 || !table.hasRanges)
  }

  /**
   * The next range, of about as many bytes; `undefined` when there are no more. A table that is one range is read with a sixth less work,
   * and through a few pages of the server's memory instead of all, which others need.
   */
  next(bytes: number): CopyRange | undefined {
    const [current] = this.#left
    if (current === undefined) return undefined
    const { table, pages, index } = current
    const from = this.#from
    const to = table.hasRanges ? from + Math.max(1, Math.floor(bytes / this.#options.pageBytes)) : pages
    const isLast = to >= pages
    this.#from = isLast ? 0 : to
    if (isLast) this.#left.shift()
    const range = { from, to: isLast ? undefined : to }
    return { table: index, text: copyText(table, this.#options.schema, range), format: table.format }
  }
}

/** A COPY command whose rows are being read. */
export interface RunningCopy {
  readonly range: CopyRange
  readonly copy: CopyOut
}

/** Runs COPY commands on several sessions and gives them in order, so that each is read while those after it are under way. */
export class CopyRunner {
  readonly #ranges: CopyRanges
  readonly #stride: Stride
  readonly #interrupt: Interrupt
  readonly #running: RunningCopy[] = []
  readonly #state = new Condition()
  #sessions = 0
  #ahead = 0
  #isExhausted = false

  constructor(ranges: CopyRanges, { stride, interrupt }: { readonly stride: Stride; readonly interrupt: Interrupt }) {
    this.#ranges = ranges
    this.#stride = stride
    this.#interrupt = interrupt
  }

  /** Takes ranges until there are none. */
  async run(session: Connection): Promise<void> {
    const { bytes, isAhead } = this.#stride
    this.#sessions++
    for (;;) {
      await this.#until(() => this.#isExhausted || this.#ahead < (isAhead ? this.#sessions * AHEAD_OF_STREAM : 1))
      const range = this.#ranges.next(bytes)
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
