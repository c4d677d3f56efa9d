/** The archive of a Postgres snapshot: what its entries are called and which section they are in. `format/FORMAT.md` has it in full. */
import type { CopyFormat } from '../connection/copy-out.ts'
import type { SchemaDefinition, TableDefinition } from './definition.ts'

export const ARCHIVE_FORMAT = 'holdfast-postgres'
export const ARCHIVE_VERSION = 1
export const SCHEMA_ENTRY = 'schema.json'
export const SEQUENCES_ENTRY = 'sequences.json'
export const ROWS_ENTRY = 'rows.json'

/** A slice ends with the first row that makes it this long... */
export const SLICE_BYTES: number = 1024 * 1024
/** ...or here, within a row. */
export const MAX_SLICE_BYTES: number = 8 * 1024 * 1024
/** Of `schema.json`, `sequences.json` and `rows.json`. */
export const MAX_JSON_BYTES: number = 8 * 1024 * 1024

export const FIRST_SECTION = 'schema'
export const LAST_SECTION = 'end'
/** With more tables than this, all of them share one section: a stream has at most 256. */
const MAX_TABLE_SECTIONS = 250
const SHARED_SECTION = 'tables'
/** Of a section's name, with room left for a number. */
const MAX_SLUG_LENGTH = 27

/** A table as the archive has it. */
export interface ArchivedTable extends TableDefinition {
  readonly format: CopyFormat
  /** Where its slices are: `tables/<directory>/<slice>.copy`. */
  readonly directory: string
}

/** The `lc_monetary` by which a backup spells values of `money` in text format. */
export const MONEY_LOCALE = 'C'

/** `schema.json` */
export interface ArchivedSchema extends SchemaDefinition {
  readonly tables: readonly ArchivedTable[]
  /** Only where a table is in text format. The first archives do not have it: the `lc_monetary` of their source spelled `money`. */
  readonly moneyLocale?: typeof MONEY_LOCALE | undefined
}

/** Where a sequence stands. */
export interface SequenceValue {
  readonly name: string
  /** A whole number in text: it may be beyond 2^53. */
  readonly lastValue: string
  readonly isCalled: boolean
}

/** Names of the sections, and which of them a table's slices are in. */
export interface SectionPlan {
  readonly names: readonly string[]
  readonly sectionOf: (table: number) => number
  readonly last: number
}

export function planSections(tables: readonly { readonly directory: string }[]): SectionPlan {
  const own = tables.length <= MAX_TABLE_SECTIONS
  const names = [FIRST_SECTION, ...(own ? tables.map(({ directory }) => directory) : [SHARED_SECTION]), LAST_SECTION]
  return { names, sectionOf: (table) => (own ? table + 1 : 1), last: names.length - 1 }
}

/** A directory for each table: its name in letters that sections and tar entries may have, each once. */
export function directoriesOf(tables: readonly { readonly name: string }[]): readonly string[] {
  const taken = new Set([FIRST_SECTION, LAST_SECTION])
  return tables.map(({ name }) => {
    const plain = name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-').replaceAll(/^[^a-z]+|-$/g, '')
    const slug = plain.slice(0, MAX_SLUG_LENGTH) || 'table'
    let directory = slug
    for (let number = 2; taken.has(directory); number++) directory = `${slug}-${number}`
    taken.add(directory)
    return directory
  })
}

export function sliceName(directory: string, slice: number): string {
  return `tables/${directory}/${String(slice).padStart(8, '0')}.copy`
}

export function encodeJson(value: unknown): Buffer {
  return Buffer.from(`${JSON.stringify(value, undefined, 2)}\n`)
}
