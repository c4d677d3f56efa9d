/** What a schema consists of, as far as a snapshot has to know: tables, columns and their types, sequences. */
import { BackupUnsupportedError, StoreUnavailableError } from '../../../errors/errors.ts'
import type { CopyFormat } from '../connection/copy-out.ts'
import type { Connection } from '../connection/connection.ts'

/** A column that is stored; generated columns are not. */
export interface ColumnDefinition {
  readonly name: string
  /** As the server spells it with the schema as its search path. */
  readonly type: string
  /** Of enum types, also as elements or attributes of the column's type: their labels, in order. */
  readonly labels?: readonly (readonly string[])[] | undefined
  /** Of domains, ranges and composites of the database's own that the type is, or is made of: what they are, such as "percent: integer". */
  readonly parts?: readonly string[] | undefined
}

export interface TableDefinition {
  readonly name: string
  readonly columns: readonly ColumnDefinition[]
}

export interface SchemaDefinition {
  readonly tables: readonly TableDefinition[]
  readonly sequences: readonly string[]
}

/** A table as it is found on a server. */
export interface FoundTable extends TableDefinition {
  readonly oid: number
  /** Binary, unless the binary form of a column's type holds what another database has not: OIDs of types, tables, functions. */
  readonly format: CopyFormat
  /**
   * Whether rows can be asked for by ranges of pages: they are a heap's, and the role may read all columns, not only some. What is mostly
   * stored out of line, a COPY of few pages may send for long, with locks that a COPY of the whole table does without.
   */
  readonly hasRanges: boolean
}

export interface FoundSchema {
  readonly tables: readonly FoundTable[]
  readonly sequences: readonly string[]
}

/**
 * Names of relations that a snapshot leaves out, and a restore leaves alone: of the schema's own, and with their schema of what is outside
 * of it.
 */
export interface SchemaScope {
  readonly schema: string
  readonly leaveOut: readonly string[]
}

/** Tables and partitions that hold rows of their own, in the order of their names' bytes. */
export async function findTables(
  session: Connection,
  scope: SchemaScope,
): Promise<readonly { readonly name: string; readonly oid: number; readonly hasRanges: boolean }[]> {
  const rows = await session.rows<{ name: string | null; oid: number; kind: string; has_ranges: boolean }>(
    `SELECT c.relname AS name, c.oid, c.relkind AS kind,
       am.amname IS NOT DISTINCT FROM 'heap' AND has_table_privilege(c.oid, 'SELECT')
         AND coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)) <= pg_relation_size(c.oid), true) AS has_ranges
     FROM pg_namespace n
       LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'm', 'f') AND c.relname <> ALL ($2::text[])
       LEFT JOIN pg_am am ON am.oid = c.relam
     WHERE n.nspname = $1 ORDER BY c.relname COLLATE "C"`,
    [scope.schema, scope.leaveOut],
  )
  if (rows.length === 0) {
    throw new StoreUnavailableError(`Cannot use the schema "${scope.schema}": it does not exist`, {
      hint: 'Check the name of the schema, upper and lower case included, and the database that the connection names',
    })
  }
  const found = rows.flatMap(({ name, ...row }) => (name === null ? [] : [{ name, ...row }]))
  const foreign = found.filter(({ kind }) => kind !== 'r')
  if (foreign.length > 0) {
    const names = foreign.map(({ name }) => `"${name}"`).join(', ')
    throw new BackupUnsupportedError(`Cannot snapshot the schema "${scope.schema}": ${names} are foreign tables or materialized views`, {
      hint: 'Name them in "leaveOut": foreign tables are backed up where they are, materialized views are refreshed after a restore',
      details: { relations: foreign.map(({ name }) => name) },
    })
  }
  return found.map(({ name, oid, has_ranges: hasRanges }) => ({ name, oid, hasRanges }))
}

/** Tables that have partitions in place of rows, and that the role may read. Sessions lock them before their partitions. */
export async function findParents(session: Connection, scope: SchemaScope): Promise<readonly string[]> {
  const found = await session.rows<{ name: string }>(
    `SELECT relname AS name FROM pg_class
     WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND relkind = 'p' AND relname <> ALL ($2::text[]) AND has_table_privilege(oid, 'SELECT')
     ORDER BY relname COLLATE "C"`,
    [scope.schema, scope.leaveOut],
  )
  return found.map(({ name }) => name)
}

/** The partitions of a schema, each with the topmost table in scope that it is a partition of. */
export async function findRoots(session: Connection, { schema, leaveOut }: SchemaScope): Promise<ReadonlyMap<string, string>> {
  const rows = await session.rows<{ name: string; root: string }>(
    `SELECT c.relname AS name, top.relname AS root FROM pg_class c CROSS JOIN LATERAL (
       SELECT p.relname FROM pg_partition_ancestors(c.oid) WITH ORDINALITY AS up (oid, n) JOIN pg_class p ON p.oid = up.oid
       WHERE p.relnamespace = c.relnamespace AND p.relname <> ALL ($2::text[]) ORDER BY n DESC LIMIT 1) top
     WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND c.relkind = 'r' AND c.relispartition`,
    [schema, leaveOut],
  )
  return new Map(rows.map(({ name, root }) => [name, root]))
}

/** Everything that a snapshot has to know of a schema. */
export async function findSchema(session: Connection, scope: SchemaScope): Promise<FoundSchema> {
  const tables = await findTables(session, scope)
  const stored = await session.rows<{ oid: number; portable: boolean; columns: readonly ColumnDefinition[] }>(COLUMNS, [tables.map(({ oid }) => oid)])
  const found = new Map(stored.map((row) => [row.oid, row]))
  return {
    tables: tables.map((table) => {
      const { portable = false, columns = [] } = found.get(table.oid) ?? {}
      return { ...table, format: portable ? 'binary' : 'text', columns }
    }),
    sequences: await findSequences(session, scope),
  }
}

/** What the two definitions are of. */
interface Sides {
  readonly wanted: string
  readonly actual: string
}

/** How two definitions differ, in words; `undefined` when the tables of one can be filled from the other, whatever the order of columns. */
export function differenceOf(wanted: SchemaDefinition, actual: SchemaDefinition, sides: Sides): string | undefined {
  const tables = byName(actual.tables)
  for (const table of wanted.tables) {
    const found = tables.get(table.name)
    if (found === undefined) return `table "${table.name}" of ${sides.wanted} is missing in ${sides.actual}`
    const difference = columnDifference(table, found, sides)
    if (difference !== undefined) return difference
    tables.delete(table.name)
  }
  const [extra] = tables.keys()
  if (extra !== undefined) return `table "${extra}" of ${sides.actual} is not in ${sides.wanted}`
  const missing = wanted.sequences.find((name) => !actual.sequences.includes(name))
  if (missing !== undefined) return `sequence "${missing}" of ${sides.wanted} is missing in ${sides.actual}`
  const added = actual.sequences.find((name) => !wanted.sequences.includes(name))
  return added === undefined ? undefined : `sequence "${added}" of ${sides.actual} is not in ${sides.wanted}`
}

function columnDifference(wanted: TableDefinition, actual: TableDefinition, sides: Sides): string | undefined {
  const columns = byName(actual.columns)
  for (const { name, type, labels, parts } of wanted.columns) {
    const path = `"${wanted.name}"."${name}"`
    const found = columns.get(name)
    if (found === undefined) return `column ${path} of ${sides.wanted} is missing in ${sides.actual}`
    if (found.type !== type) return `column ${path} is of type ${type} in ${sides.wanted} and of type ${found.type} in ${sides.actual}`
    if (JSON.stringify(found.labels) !== JSON.stringify(labels)) {
      return `column ${path} has an enum type with other labels in ${sides.actual} than in ${sides.wanted}`
    }
    // The first archives do not have them.
    const part = parts?.find((each) => found.parts?.includes(each) !== true)
    if (part !== undefined) return `column ${path} uses the type ${part} in ${sides.wanted}, and not in ${sides.actual}`
    columns.delete(name)
  }
  const [extra] = columns.keys()
  return extra === undefined ? undefined : `column "${wanted.name}"."${extra}" of ${sides.actual} is not in ${sides.wanted}`
}

function byName<T extends { readonly name: string }>(items: readonly T[]): Map<string, T> {
  return new Map(items.map((item) => [item.name, item]))
}

/** OIDs below are the same in every database. */
export const FIRST_USER_OID = 16384

/** Of the type `t`: the types that its values are made of, and whether their binary form names these by OID. */
export const PARTS_OF_TYPE = `
  SELECT t.typelem AS typid, true AS is_named WHERE t.typelem <> 0 AND t.typcategory = 'A'
  UNION ALL SELECT t.typbasetype, false WHERE t.typtype = 'd'
  UNION ALL SELECT r.rngsubtype, false FROM pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
  UNION ALL SELECT a.atttypid, true FROM pg_attribute a
    WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped`

/**
 * The binary form of an array names the type of its elements, that of a composite those of its attributes, by OID; values of the reg types
 * are OIDs themselves. An empty tsquery is refused by the server that sent it.
 */
const COLUMNS = `
  WITH RECURSIVE stored AS (
    SELECT a.attrelid, a.attnum, a.attname, a.atttypid, format_type(a.atttypid, a.atttypmod) AS type
    FROM pg_attribute a
    WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
  ), used (attrelid, attnum, typid, is_named) AS (
    SELECT attrelid, attnum, atttypid, false FROM stored
    UNION
    SELECT used.attrelid, used.attnum, part.typid, part.is_named
    FROM used JOIN pg_type t ON t.oid = used.typid
    CROSS JOIN LATERAL (${PARTS_OF_TYPE}) part
  ), types AS (
    SELECT used.attrelid, used.attnum,
      bool_and(t.typsend::oid <> 0 AND t.typreceive::oid <> 0 AND NOT (used.is_named AND t.oid >= ${FIRST_USER_OID})
        AND NOT (t.typname ~ '^(reg|tsquery$)' AND t.typnamespace = 'pg_catalog'::regnamespace)) AS portable,
      jsonb_agg(e.labels ORDER BY t.typname COLLATE "C") FILTER (WHERE e.labels IS NOT NULL) AS labels,
      jsonb_agg(DISTINCT t.oid::regtype || ': ' || made.text) FILTER (WHERE made.text IS NOT NULL) AS parts
    FROM used JOIN pg_type t ON t.oid = used.typid
    LEFT JOIN LATERAL (
      SELECT jsonb_agg(enumlabel ORDER BY enumsortorder) AS labels FROM pg_enum WHERE enumtypid = t.oid
    ) e ON true
    LEFT JOIN LATERAL (
      SELECT format_type(t.typbasetype, t.typtypmod) AS text WHERE t.typtype = 'd'
      UNION ALL SELECT 'range of ' || rngsubtype::regtype FROM pg_range WHERE t.oid IN (rngtypid, rngmultitypid)
      -- Quoted alike by every server; which names quote_ident() quotes depends on its version.
      UNION ALL SELECT string_agg(to_json(attname)::text || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped AND t.typtype = 'c'
    ) made ON t.oid >= ${FIRST_USER_OID}
    GROUP BY used.attrelid, used.attnum
  )
  SELECT attrelid AS oid, bool_and(portable) AS portable,
    json_agg(json_strip_nulls(json_build_object('name', attname, 'type', type, 'labels', labels, 'parts', parts)) ORDER BY attnum) AS columns
  FROM stored JOIN types USING (attrelid, attnum) GROUP BY attrelid`

/** All sequences but those that belong to a table which is left out. */
async function findSequences(session: Connection, { schema, leaveOut }: SchemaScope): Promise<readonly string[]> {
  const rows = await session.rows<{ name: string }>(
    `SELECT c.relname AS name FROM pg_class c
     WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND c.relkind = 'S' AND c.relname <> ALL ($2::text[])
       AND NOT EXISTS (
         SELECT FROM pg_depend d JOIN pg_class owner ON owner.oid = d.refobjid
         WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
           AND owner.relname = ANY ($2::text[]))
     ORDER BY c.relname COLLATE "C"`,
    [schema, leaveOut],
  )
  return rows.map(({ name }) => name)
}
