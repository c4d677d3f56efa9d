/** Reads the archive from the frames of a stream, and checks that it is what FORMAT.md says. */
import { messageOf } from '../../../errors/error-message.ts'
import { RestoreCorruptError } from '../../../errors/errors.ts'
import { NAME } from '../../../format/header-trailer.ts'
import type { DataFrame, SnapshotReader } from '../../../format/snapshot-reader.ts'
import {
  type ArchivedSchema, type ArchivedTable, type SequenceValue, ARCHIVE_FORMAT, ARCHIVE_VERSION, MAX_JSON_BYTES, ROWS_ENTRY, SCHEMA_ENTRY,
  SEQUENCES_ENTRY, planSections, sliceName,
} from './archive.ts'
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
  readonly #reader: SnapshotReader
  readonly #onFrame: (frame: DataFrame) => Promise<void> | void
  #schema: ArchivedSchema = { tables: [], sequences: [] }
  #rows: readonly number[] | undefined

  /** `onFrame` is called with each frame, before its content is used. */
  constructor(reader: SnapshotReader, onFrame: (frame: DataFrame) => Promise<void> | void) {
    this.#reader = reader
    this.#frames = reader.frames()
    this.#onFrame = onFrame
  }

  /** Reads what the snapshot says of its schema. */
  async readHead(): Promise<{ readonly schema: ArchivedSchema; readonly sequences: readonly SequenceValue[] }> {
    this.#schema = await this.#json(SCHEMA_ENTRY, parseSchema)
    const expected = planSections(this.#schema.tables).names
    const actual = this.#reader.header.sections
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

  /** The slices of all tables, in order; ends when the whole stream was read and checked. */
  async *slices(): AsyncGenerator<ArchivedSlice, void, undefined> {
    const plan = planSections(this.#schema.tables)
    let table = -1
    let slice = 0
    for (let frame = await this.#next(); frame !== undefined; frame = await this.#next()) {
      if (this.#rows !== undefined) throw corrupt(frame, 'an entry follows the last one')
      if (frame.section === plan.last) {
        this.#rows = parseRows(jsonOf(frame, ROWS_ENTRY, TAR_END.byteLength), this.#schema.tables)
        continue
      }
      const { name, content } = entryOf(frame)
      if (name !== this.#sliceName(table, slice)) {
        table = this.#tableStarting(name, table, frame)
        slice = 0
      }
      if (frame.section !== plan.sectionOf(table)) throw corrupt(frame, `the entry "${name}" is in the section of another table`)
      slice++
      yield { table, bytes: content }
    }
  }

  /** How many rows each table has; known when the slices were read. */
  rows(): readonly number[] {
    if (this.#rows === undefined) throw new RestoreCorruptError(`Cannot restore the snapshot: its entry "${ROWS_ENTRY}" is missing`)
    return this.#rows
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

function entryOf(frame: DataFrame, tailBytes = 0): ReturnType<typeof decodeTarEntry> {
  const { buffer, byteOffset, byteLength } = frame.data
  try {
    return decodeTarEntry(Buffer.from(buffer, byteOffset, byteLength), { tailBytes })
  } catch (cause) {
    throw corrupt(frame, messageOf(cause), cause)
  }
}

function jsonOf(frame: DataFrame, wanted: string, tailBytes = 0): unknown {
  const { name, content } = entryOf(frame, tailBytes)
  if (name !== wanted) throw corrupt(frame, `the entry "${wanted}" is missing, there is "${name}"`)
  if (content.byteLength > MAX_JSON_BYTES) throw corrupt(frame, `the entry "${name}" is too large`)
  try {
    return JSON.parse(content.toString('utf8')) as unknown
  } catch (cause) {
    throw corrupt(frame, `the entry "${name}" is not JSON`, cause)
  }
}

function parseSchema(value: unknown): ArchivedSchema {
  const { format, version, tables, sequences } = (value ?? {}) as { format?: unknown; version?: unknown; tables?: unknown; sequences?: unknown }
  if (format !== ARCHIVE_FORMAT || version !== ARCHIVE_VERSION) throw invalid(SCHEMA_ENTRY, `it is of the format ${String(format)}, version ${String(version)}`)
  if (!Array.isArray(tables) || !tables.every(isTable)) throw invalid(SCHEMA_ENTRY, 'its tables are malformed')
  if (!isListOf(sequences, isText)) throw invalid(SCHEMA_ENTRY, 'its sequences are malformed')
  const directories = new Set(tables.map(({ directory }) => directory))
  if (directories.size !== tables.length) throw invalid(SCHEMA_ENTRY, 'two tables have one directory')
  return { tables, sequences }
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
  return isText(name) && isText(directory) && NAME.test(directory) && (format === 'binary' || format === 'text') && isListOf(columns, isColumn)
}

function isColumn(value: unknown): value is { name: string; type: string } {
  const { name, type } = (value ?? {}) as { name?: unknown; type?: unknown }
  return isText(name) && isText(type)
}

function isRowCount(value: unknown): value is { table: string; rows: number } {
  const { table, rows } = (value ?? {}) as { table?: unknown; rows?: unknown }
  return isText(table) && Number.isSafeInteger(rows)
}

function isSequence(value: unknown): value is SequenceValue {
  const { name, lastValue, isCalled } = (value ?? {}) as { name?: unknown; lastValue?: unknown; isCalled?: unknown }
  return isText(name) && isText(lastValue) && /^-?\d{1,19}$/.test(lastValue) && typeof isCalled === 'boolean'
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

function corrupt(frame: DataFrame, fault: string, cause?: unknown): RestoreCorruptError {
  return new RestoreCorruptError(`Cannot restore frame ${frame.sequence}: ${fault}`, { offset: frame.offset, frame: frame.sequence, cause })
}
