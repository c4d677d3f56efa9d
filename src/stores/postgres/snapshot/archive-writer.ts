/** Writes the archive into a framed stream: one entry to a frame. */
import type { SnapshotProgress } from '../../../contracts/backupable.ts'
import type { Allocate } from '../../../format/frame.ts'
import type { SnapshotWriter } from '../../../format/snapshot-writer.ts'
import {
  type ArchivedSchema, type SectionPlan, type SequenceValue, ARCHIVE_FORMAT, ARCHIVE_VERSION, MAX_JSON_BYTES, MONEY_LOCALE, ROWS_ENTRY,
  SCHEMA_ENTRY, SEQUENCES_ENTRY, encodeJson, sliceName,
} from './archive.ts'
import { BackupUnsupportedError } from '../../../errors/errors.ts'
import { BINARY_HEADER, BINARY_TRAILER, type Piece } from '../connection/copy-out.ts'
import { EntryFrame } from './entry-frame.ts'
import { type Slice, Slicer } from './slicer.ts'
import { TAR_END } from './tar-entry.ts'

const NO_TRAILER = Buffer.alloc(0)
const NO_ENDS = new Uint32Array(0)

export interface ArchiveWriterOptions {
  readonly schema: ArchivedSchema
  readonly sections: SectionPlan
  /** Where the memory of frames comes from. @default fresh memory */
  readonly allocate?: Allocate | undefined
  readonly onProgress?: ((progress: SnapshotProgress) => void) | undefined
}

/** `start`, then the pieces of all tables in order, then `finish`. One call at a time. */
export class ArchiveWriter {
  readonly #writer: SnapshotWriter
  readonly #options: ArchiveWriterOptions
  readonly #rows: number[]
  /** The table whose slices are being written. */
  #table: { readonly index: number; readonly slicer: Slicer; slices: number } | undefined

  constructor(writer: SnapshotWriter, options: ArchiveWriterOptions) {
    this.#writer = writer
    this.#options = options
    this.#rows = options.schema.tables.map(() => 0)
  }

  async start(sequences: readonly SequenceValue[]): Promise<void> {
    const { tables, sequences: names } = this.#options.schema
    const moneyLocale = tables.some(({ format }) => format === 'text') ? MONEY_LOCALE : undefined
    await this.#writeJson(0, SCHEMA_ENTRY, { format: ARCHIVE_FORMAT, version: ARCHIVE_VERSION, moneyLocale, tables, sequences: names })
    await this.#writeJson(0, SEQUENCES_ENTRY, sequences)
  }

  /** Takes rows of a table, whose index is not less than the last one's. */
  async addRows(table: number, piece: Piece): Promise<void> {
    if (piece.bytes.byteLength === 0) return
    if (this.#table?.index !== table) await this.#begin(table)
    await this.#addPiece(piece)
  }

  /** Writes what is left, and the end of the archive. */
  async finish(): Promise<void> {
    await this.#endTable()
    const rows = this.#options.schema.tables.map(({ name }, index) => ({ table: name, rows: this.#rows[index] ?? 0 }))
    await this.#writeJson(this.#options.sections.last, ROWS_ENTRY, rows, TAR_END.byteLength)
  }

  async #begin(index: number): Promise<void> {
    await this.#endTable()
    this.#table = { index, slicer: new Slicer(this.#options.allocate), slices: 0 }
    if (this.#options.schema.tables[index]?.format === 'binary') await this.#addPiece({ bytes: BINARY_HEADER, ends: NO_ENDS })
  }

  async #addPiece(piece: Piece): Promise<void> {
    for (const slice of this.#table?.slicer.add(piece) ?? []) await this.#writeSlice(slice)
  }

  async #endTable(): Promise<void> {
    if (this.#table === undefined) return
    const isBinary = this.#options.schema.tables[this.#table.index]?.format === 'binary'
    const slice = this.#table.slicer.end(isBinary ? BINARY_TRAILER : NO_TRAILER)
    if (slice !== undefined) await this.#writeSlice(slice)
    this.#table = undefined
  }

  async #writeSlice({ entry, rows }: Slice): Promise<void> {
    const table = this.#table
    if (table === undefined) return
    const { schema, sections } = this.#options
    const name = sliceName(schema.tables[table.index]?.directory ?? '', table.slices++)
    this.#rows[table.index] = (this.#rows[table.index] ?? 0) + rows
    await this.#writeFrame(sections.sectionOf(table.index), entry.end(name), Math.max(1, rows))
  }

  async #writeJson(section: number, name: string, value: unknown, tailBytes = 0): Promise<void> {
    const content = encodeJson(value)
    if (content.byteLength > MAX_JSON_BYTES) {
      throw new BackupUnsupportedError(`Cannot back up the schema: ${name} would be of ${content.byteLength} bytes, at most ${MAX_JSON_BYTES} are written`)
    }
    const entry = new EntryFrame(content.byteLength + tailBytes, this.#options.allocate)
    entry.append(content)
    await this.#writeFrame(section, entry.end(name, { tailBytes }), 1)
  }

  async #writeFrame(section: number, frame: Buffer, records: number): Promise<void> {
    await this.#writer.writeFrame(section, frame, records)
    this.#options.onProgress?.({ bytes: this.#writer.bytes, records: this.#writer.records })
  }
}
