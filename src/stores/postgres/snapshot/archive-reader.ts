/** Reads the archive from the frames of a stream, and checks that it is what FORMAT.md says. */
import { isUtf8 } from 'node:buffer'
import { messageOf } from '../../../errors/error-message.ts'
import { RestoreCorruptError } from '../../../errors/errors.ts'
import { NAME } from '../../../format/header-trailer.ts'
import { compareKeys, frameFault as corrupt } from '../../../format/record-order.ts'
import type { DataFrame, FrameSource } from '../../../format/snapshot-reader.ts'
import {
  type ArchivedSchema, type ArchivedTable, type SequenceValue, ARCHIVE_FORMAT, ARCHIVE_VERSION, FIRST_SECTION, LAST_SECTION, MAX_JSON_BYTES,
  MONEY_LOCALE, ROWS_ENTRY, SCHEMA_ENTRY, SEQUENCES_ENTRY, planSections, sliceName,
} from './archive.ts'
import { type PayloadIdColumn, TableRows } from './table-rows.ts'
import { TAR_END, decodeTarEntry } from './tar-entry.ts'

/** Part of a table's COPY stream. */
export interface ArchivedSlice {
  readonly table: number
  /** A view of the frame: use it before the next slice is asked for. */
  readonly bytes: Buffer
}

/** One read of an archive: `readHead`, `slices`, then `rows`. */
export class ArchiveReader {
  readonly #frames: AsyncGenerator<DataFrame, void, undefined>
  readonly #source: FrameSource
  readonly #onFrame: (frame: DataFrame) => Promise<void> | void
  #schema: ArchivedSchema = { tables: [], sequences: [] }
  #rows: readonly number[] | undefined
  /** How many rows the slices of each table have. */
  readonly #counted: number[] = []

  /** `onFrame` is called with each frame, before its content is used. */
  constructor(source: FrameSource, onFrame: (frame: DataFrame) => Promise<void> | void) {
    this.#source = source
    this.#frames = source.frames()
    this.#onFrame = onFrame
  }

  /** Reads what the snapshot says of its schema. */
  async readHead(): Promise<{ readonly schema: ArchivedSchema; readonly sequences: readonly SequenceValue[] }> {
    this.#schema = await this.#json(SCHEMA_ENTRY, parseSchema)
    const expected = planSections(this.#schema.tables).names
    const actual = this.#source.header.sections
    if (expected.length !== actual.length || expected.some((name, index) => name !== actual[index])) {
      throw new RestoreCorruptError(`Cannot restore a snapshot with sections ${actual.join(', ')}: its tables are ${expected.slice(1, -1).join(', ')}`)
    }
    const sequences = await this.#json(SEQUENCES_ENTRY, parseSequences)
    const names = this.#schema.sequences
    if (sequences.length !== names.length || sequences.some(({ name }, index) => name !== names[index])) {
      throw invalid(SEQUENCES_ENTRY, 'it does not name the sequences of the snapshot')
    }
    return { schema: this.#schema, sequences }
  }

  /**
   * The slices of all tables, in order; ends when the whole stream was read and checked. `payloadIds` takes those in a column, wherever it
   * is.
   */
  async *slices(payloadIds?: PayloadIdColumn): AsyncGenerator<ArchivedSlice, void, undefined> {
    const plan = planSections(this.#schema.tables)
    let rows: TableRows | undefined
    let table = -1
    let slice = 0
    for (let frame = await this.#next(); frame !== undefined; frame = await this.#next()) {
      if (this.#rows !== undefined) throw corrupt(frame, 'an entry follows the last one')
      if (frame.section === plan.last) {
        this.#endTable(table, rows, frame)
        this.#rows = parseRows(jsonOf(frame, ROWS_ENTRY, TAR_END.byteLength), this.#schema.tables)
        continue
      }
      const { name, content } = entryOf(frame)
      if (rows === undefined || name !== this.#sliceName(table, slice)) {
        this.#endTable(table, rows, frame)
        table = this.#tableStarting(name, table, frame)
        slice = 0
        rows = new TableRows(this.#schema.tables[table] as ArchivedTable, payloadIds)
      }
      if (frame.section !== plan.sectionOf(table)) throw corrupt(frame, `the entry "${name}" is in the section of another table`)
      const following = rows
      checkCount(frame, Math.max(1, inFrame(frame, () => following.add(content))))
      slice++
      yield { table, bytes: content }
    }
  }

  /** How many rows each table has; known when the slices were read. */
  rows(): readonly number[] {
    if (this.#rows === undefined) throw new RestoreCorruptError(`Cannot restore the snapshot: its entry "${ROWS_ENTRY}" is missing`)
    for (const [index, rows] of this.#rows.entries()) checkRows(this.#schema.tables[index], { expected: rows, actual: this.#counted[index] ?? 0 })
    return this.#rows
  }

  #endTable(table: number, rows: TableRows | undefined, next: DataFrame): void {
    if (rows !== undefined) this.#counted[table] = inFrame(next, () => rows.end())
  }

  #sliceName(table: number, slice: number): string | undefined {
    const directory = this.#schema.tables[table]?.directory
    return directory === undefined ? undefined : sliceName(directory, slice)
  }

  #tableStarting(name: string, after: number, frame: DataFrame): number {
    for (let table = after + 1; table < this.#schema.tables.length; table++) if (name === this.#sliceName(table, 0)) return table
    throw corrupt(frame, `the entry "${name}" is not the one that follows`)
  }

  async #json<T>(name: string, parse: (value: unknown) => T): Promise<T> {
    const frame = await this.#next()
    if (frame === undefined) throw new RestoreCorruptError(`Cannot restore the snapshot: its entry "${name}" is missing`)
    if (frame.section !== 0) throw corrupt(frame, `the entry "${name}" is missing`)
    return parse(jsonOf(frame, name))
  }

  async #next(): Promise<DataFrame | undefined> {
    const { value, done } = await this.#frames.next()
    if (done === true) return undefined
    await this.#onFrame(value)
    return value
  }
}

/** Throws `restore_corrupt` when a table does not have as many rows as the archive says. */
export function checkRows(table: ArchivedTable | undefined, { expected, actual }: { readonly expected: number; readonly actual: number | undefined }): void {
  if (actual === expected) return
  throw new RestoreCorruptError(`Cannot restore table "${table?.name}": ${actual} rows were read, the snapshot counts ${expected}`)
}

function checkCount(frame: DataFrame, records: number): void {
  if (frame.records !== records) throw corrupt(frame, `it counts ${frame.records} records, and has ${records}`)
}

/** Runs a check of what is in a frame, and says of its error which frame it is. */
function inFrame<T>(frame: DataFrame, check: () => T): T {
  try {
    return check()
  } catch (cause) {
    throw corrupt(frame, messageOf(cause), cause)
  }
}

function entryOf(frame: DataFrame, tailBytes = 0): ReturnType<typeof decodeTarEntry> {
  const { buffer, byteOffset, byteLength } = frame.data
  return inFrame(frame, () => decodeTarEntry(Buffer.from(buffer, byteOffset, byteLength), { tailBytes }))
}

function jsonOf(frame: DataFrame, wanted: string, tailBytes = 0): unknown {
  const { name, content } = entryOf(frame, tailBytes)
  if (name !== wanted) throw corrupt(frame, `the entry "${wanted}" is missing, there is "${name}"`)
  checkCount(frame, 1)
  if (content.byteLength > MAX_JSON_BYTES) throw corrupt(frame, `the entry "${name}" is too large`)
  if (!isUtf8(content)) throw corrupt(frame, `the entry "${name}" is not UTF-8`)
  try {
    return JSON.parse(content.toString('utf8')) as unknown
  } catch (cause) {
    throw corrupt(frame, `the entry "${name}" is not JSON`, cause)
  }
}

function parseSchema(value: unknown): ArchivedSchema {
  const { format, version, tables, sequences, moneyLocale } = (value ?? {}) as Record<'format' | 'version' | 'tables' | 'sequences' | 'moneyLocale', unknown>
  if (format !== ARCHIVE_FORMAT || version !== ARCHIVE_VERSION) throw invalid(SCHEMA_ENTRY, `it is of the format ${String(format)}, version ${String(version)}`)
  if (!Array.isArray(tables) || !tables.every(isTable)) throw invalid(SCHEMA_ENTRY, 'its tables are malformed')
  if (moneyLocale !== undefined && moneyLocale !== MONEY_LOCALE) throw invalid(SCHEMA_ENTRY, `it has money in the spelling of ${JSON.stringify(moneyLocale)}`)
  if (!isListOf(sequences, isText) || !areAscending(sequences)) throw invalid(SCHEMA_ENTRY, 'its sequences are malformed or out of order')
  if (!areAscending(tables.map(({ name }) => name))) throw invalid(SCHEMA_ENTRY, 'its tables are out of order')
  const directories = new Set([FIRST_SECTION, LAST_SECTION, ...tables.map(({ directory }) => directory)])
  if (directories.size !== tables.length + 2) throw invalid(SCHEMA_ENTRY, 'two tables have one directory, or one has that of another entry')
  return { tables, sequences, moneyLocale }
}

/** Whether names are in strictly ascending order of their bytes. */
function areAscending(names: readonly string[]): boolean {
  return names.every((name, index) => index === 0 || compareKeys(names[index - 1] ?? '', name) < 0)
}

function parseSequences(value: unknown): readonly SequenceValue[] {
  if (!isListOf(value, isSequence)) throw invalid(SEQUENCES_ENTRY, 'it is not a list of sequences')
  return value
}

function parseRows(value: unknown, tables: readonly ArchivedTable[]): readonly number[] {
  if (!isListOf(value, isRowCount) || value.length !== tables.length || value.some(({ table }, index) => table !== tables[index]?.name)) {
    throw invalid(ROWS_ENTRY, 'it does not name the tables of the snapshot')
  }
  return value.map(({ rows }) => rows)
}

function isTable(value: unknown): value is ArchivedTable {
  const { name, directory, format, columns } = (value ?? {}) as { name?: unknown; directory?: unknown; format?: unknown; columns?: unknown }
  if (!isText(name) || !isText(directory) || !NAME.test(directory) || !isListOf(columns, isColumn)) return false
  if (new Set(columns.map((column) => column.name)).size !== columns.length) return false
  return format === 'text' || (format === 'binary' && columns.length > 0)
}

function isColumn(value: unknown): value is { name: string; type: string } {
  const { name, type, labels, parts } = (value ?? {}) as { name?: unknown; type?: unknown; labels?: unknown; parts?: unknown }
  if (!isText(name) || !isText(type) || (parts !== undefined && !isListOf(parts, isText))) return false
  return labels === undefined || isListOf(labels, (list) => isListOf(list, isText))
}

function isRowCount(value: unknown): value is { table: string; rows: number } {
  const { table, rows } = (value ?? {}) as { table?: unknown; rows?: unknown }
  return isText(table) && Number.isSafeInteger(rows)
}

function isSequence(value: unknown): value is SequenceValue {
  const { name, lastValue, isCalled } = (value ?? {}) as { name?: unknown; lastValue?: unknown; isCalled?: unknown }
  return isText(name) && isText(lastValue) && isInt8(lastValue) && typeof isCalled === 'boolean'
}

/** Whether a text is a whole number of 8 bytes. */
function isInt8(text: string): boolean {
  return /^-?\d{1,19}$/.test(text) && BigInt.asIntN(64, BigInt(text)) === BigInt(text)
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isListOf<T>(value: unknown, isItem: (item: unknown) => item is T): value is T[] {
  return Array.isArray(value) && value.every(isItem)
}

function invalid(name: string, fault: string): RestoreCorruptError {
  return new RestoreCorruptError(`Cannot restore the snapshot: in its entry "${name}", ${fault}`)
}
