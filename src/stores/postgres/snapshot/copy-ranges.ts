/** Tables as COPY commands, and connections that run them: a table at a time, or several ranges of it at once. */
import type { Interrupt } from '../../common/interrupt.ts'
import { quoteName } from './client.ts'
import { CopyOut } from './copy-out.ts'
import type { FoundTable } from './definition.ts'
import type { Session } from './session.ts'

/** How many pages of a table one COPY reads: about as many bytes as are read ahead of the stream. */
const RANGE_BYTES: number = 4 * 1024 * 1024
/** How much is kept of a COPY whose turn has not come. */
const READ_AHEAD_BYTES: number = 6 * 1024 * 1024
/** COPY commands that are begun and not yet written, for each connection. */
const AHEAD_OF_STREAM = 2

export interface CopyRange {
  /** Index of its table. */
  readonly table: number
  readonly text: string
  readonly format: FoundTable['format']
}

export interface TableSize {
  readonly table: FoundTable
  /** Of the rows themselves, not of values that are stored out of line. */
  readonly pages: number
}

export interface CopyRangesOptions {
  readonly schema: string
  readonly pageBytes: number
  /** How many connections read tables at once. */
  readonly readers: number
}

/**
 * The ranges of all tables, in order. The last of a table has no end: it takes whatever there is. A table that one connection reads is one
 * range: the server then reads it with a sixth less work, and through a few pages of its memory instead of all, which others need.
 */
export function* copyRanges(sizes: readonly TableSize[], { schema, pageBytes, readers }: CopyRangesOptions): Generator<CopyRange, void, undefined> {
  const step = readers > 1 ? Math.max(1, Math.floor(RANGE_BYTES / pageBytes)) : Infinity
  for (const [index, { table, pages }] of sizes.entries()) {
    if (pages === 0) continue
    for (let from = 0; from < pages; from += step) {
      const conditions = [
        ...(from > 0 ? [`ctid >= '(${from},0)'`] : []),
        ...(table.isHeap && from + step < pages ? [`ctid < '(${from + step},0)'`] : []),
      ]
      yield { table: index, text: copyText(table, schema, conditions), format: table.format }
      if (!table.isHeap) break
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
  readonly #ranges: Iterator<CopyRange>
  readonly #interrupt: Interrupt
  readonly #running: RunningCopy[] = []
  #sessions = 0
  #ahead = 0
  #isExhausted = false
  #wakeReader: (() => void) | undefined
  readonly #wakeRunners = new Set<() => void>()

  constructor(ranges: Iterator<CopyRange>, interrupt: Interrupt) {
    this.#ranges = ranges
    this.#interrupt = interrupt
  }

  /** Takes ranges until there are none. What it fails with is the interrupt's. */
  async run(session: Session): Promise<void> {
    this.#sessions++
    while (await this.#mayBegin()) {
      const { value: range, done } = this.#ranges.next()
      if (done === true) {
        this.#isExhausted = true
        this.#wakeReader?.()
        return
      }
      const copy = session.copyOut(range.text, { format: range.format, limitBytes: READ_AHEAD_BYTES })
      this.#ahead++
      this.#running.push({ range, copy })
      this.#wakeReader?.()
      await this.#interrupt.race(copy.finished)
    }
  }

  /** The commands in order; each is to be read to its end before the next is asked for. */
  async *copies(): AsyncGenerator<RunningCopy, void, undefined> {
    for (;;) {
      this.#interrupt.check()
      const running = this.#running.shift()
      if (running !== undefined) {
        yield running
        this.#ahead--
        for (const wake of this.#wakeRunners) wake()
        this.#wakeRunners.clear()
      } else if (this.#isExhausted) {
        return
      } else {
        await this.#interrupt.race(
          new Promise<void>((resolve) => {
            this.#wakeReader = resolve
          }),
        )
      }
    }
  }

  async #mayBegin(): Promise<boolean> {
    while (!this.#isExhausted && this.#ahead >= this.#sessions * AHEAD_OF_STREAM) {
      await this.#interrupt.race(
        new Promise<void>((resolve) => {
          this.#wakeRunners.add(resolve)
        }),
      )
    }
    return !this.#isExhausted
  }
}

function copyText({ name, columns, format }: FoundTable, schema: string, conditions: readonly string[]): string {
  const path = `${quoteName(schema)}.${quoteName(name)}`
  const list = columns.map((column) => quoteName(column.name)).join(', ')
  const whole = list === '' ? path : `${path} (${list})`
  const source = conditions.length === 0 ? whole : `(SELECT ${list} FROM ONLY ${path} WHERE ${conditions.join(' AND ')})`
  return `COPY ${source} TO STDOUT (FORMAT ${format})`
}
