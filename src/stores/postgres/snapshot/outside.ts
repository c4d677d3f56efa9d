/**
 * What the rows of a schema need from outside of it, and no snapshot of the schema has: a backup is refused rather than silent about it.
 */
import { BackupUnsupportedError, InvalidArgumentError } from '../../../errors/errors.ts'
import { quoteName, quoteText } from '../connection/client.ts'
import type { Connection } from '../connection/connection.ts'
import { HOLD_ON, LET_GO } from './open-transaction.ts'
import { type SchemaScope, FIRST_USER_OID, PARTS_OF_TYPE } from './definition.ts'

/** Where the server keeps large objects, as `leaveOut` names it. */
const LARGE_OBJECTS = 'pg_catalog.pg_largeobject'

/** A column, and what it needs. */
interface Need {
  readonly column: string
  readonly name: string
}

/** Rejects with `backup_unsupported` for what `leaveOut` does not name, and with `invalid_argument` where that names nothing. */
export async function refuseOutside(session: Connection, scope: SchemaScope): Promise<void> {
  const values = [scope.schema, scope.leaveOut]
  const [unknown] = await session.rows<{ readonly name: string }>(UNKNOWN_NAMES, values)
  if (unknown !== undefined) {
    throw new InvalidArgumentError(`Cannot back up the schema "${scope.schema}": "leaveOut" names "${unknown.name}", and there is nothing of that name to leave out`, {
      hint: 'Write the names of tables, sequences and views as they are in the schema, without its name; of a sequence of another schema, "schema.name"',
      details: unknown,
    })
  }
  const [drawn] = await session.rows<Need>(FOREIGN_SEQUENCES, values)
  if (drawn !== undefined) {
    throw refusal(scope, `${drawn.column} draws on the sequence "${drawn.name}" of another schema`, {
      hint: `Move the sequence (ALTER SEQUENCE ... SET SCHEMA), or name "${drawn.name}" in "leaveOut" and set it by hand after a restore`,
      details: drawn,
    })
  }
  const [split] = await session.rows<{ readonly name: string }>(SPLIT_HASHES, values)
  if (split !== undefined) {
    throw refusal(scope, `not all partitions of ${split.name} are in it, and another database would hash its rows into others`, {
      hint: 'Move the table and all of its partitions into one schema, and leave none of them out',
      details: split,
    })
  }
  const [own] = await session.rows<{ readonly table: string; readonly constraint: string }>(CONSTRAINED_HASHES, values)
  if (own !== undefined) {
    throw refusal(scope, `the constraint ${own.constraint} is of one partition of ${own.table}, and another database would hash its rows into others`, {
      hint: 'Drop the constraint, or let it be of the partitioned table',
      details: own,
    })
  }
  const [elsewhere] = await session.rows<{ readonly table: string; readonly name: string }>(CHILDREN_ELSEWHERE, values)
  if (elsewhere !== undefined) {
    throw refusal(scope, `rows of ${elsewhere.table} are in "${elsewhere.name}", in another schema`, {
      hint: `Move that table (ALTER TABLE ... SET SCHEMA), or name "${elsewhere.name}" in "leaveOut" and back it up by other means`,
      details: elsewhere,
    })
  }
  const [unchecked] = await session.rows<{ readonly name: string; readonly constraint: string }>(UNCHECKED_ELSEWHERE, values)
  if (unchecked !== undefined) {
    throw refusal(scope, `rows need not pass the constraint ${unchecked.constraint} of ${unchecked.name}, which is NOT VALID and in no table or type of the schema`, {
      hint: 'Check the rows (VALIDATE CONSTRAINT), drop the constraint, or move what it is of into the schema (SET SCHEMA)',
      details: unchecked,
    })
  }
  if (scope.leaveOut.includes(LARGE_OBJECTS)) return
  for (const found of await session.rows<OidColumn>(OID_COLUMNS, values)) {
    const name = `${quoteName(found.table)}.${quoteName(found.column)}`
    if (!(await namesLargeObjects(session, scope, found))) continue
    throw refusal(scope, `${name} names large objects, which are in no schema`, {
      hint: `Keep their content in a column of type bytea, or name "${LARGE_OBJECTS}" in "leaveOut" and back them up by other means`,
      details: { column: name, name: LARGE_OBJECTS },
    })
  }
}

function refusal({ schema }: SchemaScope, fault: string, options: { readonly hint: string; readonly details: object }): BackupUnsupportedError {
  return new BackupUnsupportedError(`Cannot back up the schema "${schema}": ${fault}`, { hint: options.hint, details: { ...options.details } })
}

interface OidColumn {
  readonly table: string
  readonly column: string
  /** Where in a value of the column, as JSON, its OIDs are: a path by the attributes and elements of its type. */
  readonly path: string
}

/** The path of an OID column, or of a domain over one: it leads to the value itself. */
const ITSELF = '$'

/** The locks of the query end with it. */
async function namesLargeObjects(session: Connection, { schema }: SchemaScope, { table, column, path }: OidColumn): Promise<boolean> {
  await session.rows(HOLD_ON)
  const value = `t.${quoteName(column)}`
  const named = path === ITSELF ? value : `(jsonb_path_query(to_jsonb(${value}), ${quoteText(path)}) #>> '{}')`
  const [row] = await session.rows<{ found: boolean }>(
    `SELECT EXISTS (SELECT FROM (SELECT ${named}::oid AS id FROM ONLY ${quoteName(schema)}.${quoteName(table)} t) named JOIN pg_largeobject_metadata m ON m.oid = id) AS found`,
  )
  await session.rows(LET_GO)
  return row?.found === true
}

const SPACE = '(SELECT oid FROM pg_namespace WHERE nspname = $1)'

const UNKNOWN_NAMES = `
  SELECT name FROM unnest($2::text[]) AS given (name)
  WHERE NOT EXISTS (
    SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE CASE WHEN n.nspname = $1 THEN c.relname = name ELSE n.nspname || '.' || c.relname = name END)
  LIMIT 1`

/** By the default of a column, or of the domain that it is of. */
const FOREIGN_SEQUENCES = `
  WITH used AS (
    SELECT quote_ident(r.relname) || '.' || quote_ident(a.attname) AS "column", def.oid AS def, a.atttypid AS type
    FROM pg_class r JOIN pg_attribute a ON a.attrelid = r.oid LEFT JOIN pg_attrdef def ON def.adrelid = r.oid AND def.adnum = a.attnum
    WHERE r.relnamespace = ${SPACE} AND r.relkind IN ('r', 'p') AND r.relname <> ALL ($2::text[]) AND a.attnum > 0 AND NOT a.attisdropped
  ), drawn AS (
    SELECT "column", d.refclassid, d.refobjid FROM used JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = used.def
    UNION ALL SELECT "column", d.refclassid, d.refobjid FROM used JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = used.type
  )
  SELECT "column", n.nspname || '.' || s.relname AS name
  FROM drawn JOIN pg_class s ON s.oid = drawn.refobjid JOIN pg_namespace n ON n.oid = s.relnamespace
  WHERE drawn.refclassid = 'pg_class'::regclass AND s.relkind = 'S' AND n.nspname <> $1 AND n.nspname || '.' || s.relname <> ALL ($2::text[])
  ORDER BY name, "column" LIMIT 1`

/**
 * What columns have OIDs, themselves or within arrays and composites; none where the database has no large objects. An array has at most
 * six dimensions; a path takes what is not an array for one of one element.
 */
const OID_COLUMNS = `
  WITH RECURSIVE used ("table", "column", typid, path) AS (
    SELECT r.relname, a.attname, a.atttypid, '${ITSELF}'
    FROM pg_class r JOIN pg_attribute a ON a.attrelid = r.oid
    WHERE r.relnamespace = ${SPACE} AND r.relkind = 'r' AND r.relname <> ALL ($2::text[]) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
      AND EXISTS (SELECT FROM pg_largeobject_metadata)
    UNION
    SELECT used."table", used."column", part.typid, used.path || part.step
    FROM used JOIN pg_type t ON t.oid = used.typid
    CROSS JOIN LATERAL (
      SELECT t.typbasetype AS typid, '' AS step WHERE t.typtype = 'd'
      UNION ALL SELECT t.typelem, '[*][*][*][*][*][*]' WHERE t.typelem <> 0 AND t.typcategory = 'A'
      UNION ALL SELECT a.atttypid, '.' || to_json(a.attname) FROM pg_attribute a
        WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    ) part
  )
  SELECT "table", "column", path FROM used WHERE typid = 'oid'::regtype ORDER BY 1, 2, 3`

/**
 * Partitions of tables that are partitioned by a hash of what differs between databases: enums by their OIDs, which arrays, ranges and rows
 * of them share, OIDs themselves, an operator class of one's own, text that a collation may take for equal.
 */
const UNSTABLE = `
  SELECT p.partrelid AS root, c.oid, c.relkind, c.relnamespace = ${SPACE} AND c.relname <> ALL ($2::text[]) AS inside
  FROM pg_partitioned_table p CROSS JOIN LATERAL pg_partition_tree(p.partrelid) part JOIN pg_class c ON c.oid = part.relid
  WHERE p.partstrat = 'h' AND (
    EXISTS (SELECT FROM pg_collation WHERE oid = ANY (p.partcollation::oid[]) AND NOT collisdeterministic)
    OR EXISTS (
      SELECT FROM pg_opclass o JOIN pg_type t ON t.oid = o.opcintype
      WHERE o.oid = ANY (p.partclass::oid[]) AND (o.oid >= ${FIRST_USER_OID} OR t.typtype = 'p' OR t.oid = 'oid'::regtype)))`

/** Tables split by an unstable hash whose partitions are partly in the schema, and partly elsewhere. */
const SPLIT_HASHES = `
  SELECT root::regclass::text AS name FROM (${UNSTABLE}) part
  GROUP BY root HAVING bool_or(relkind = 'r' AND inside) AND NOT bool_and(inside)
  ORDER BY 1 LIMIT 1`

/** Constraints of one partition by an unstable hash, and keys that refer to one. A constraint trigger comes with the table. */
const CONSTRAINED_HASHES = `
  SELECT part.root::regclass::text AS "table", quote_ident(own.conname) AS "constraint"
  FROM (${UNSTABLE}) part JOIN pg_constraint own ON own.conrelid = part.oid AND own.contype NOT IN ('n', 't') OR own.confrelid = part.oid
  WHERE part.inside AND part.oid <> part.root AND own.conparentid = 0 AND own.coninhcount = 0
  ORDER BY 1, 2 LIMIT 1`

/** Partitions and other children of tables in the schema, in which other sessions see rows too. */
const CHILDREN_ELSEWHERE = `
  SELECT quote_ident(p.relname) AS "table", n.nspname || '.' || c.relname AS name
  FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE p.relnamespace = ${SPACE} AND p.relkind IN ('r', 'p') AND p.relname <> ALL ($2::text[])
    AND n.nspname <> $1 AND c.relpersistence <> 't' AND n.nspname || '.' || c.relname <> ALL ($2::text[])
  ORDER BY 1, 2 LIMIT 1`

/** Checks that not all rows pass, of domains and parents that a restore leaves alone. */
const UNCHECKED_ELSEWHERE = `
  WITH RECURSIVE inside AS (
    SELECT oid FROM pg_class WHERE relnamespace = ${SPACE} AND relkind IN ('r', 'p') AND relname <> ALL ($2::text[])
  ), used (typid) AS (
    SELECT atttypid FROM pg_attribute WHERE attrelid IN (TABLE inside) AND attnum > 0 AND NOT attisdropped
    UNION SELECT part.typid FROM used JOIN pg_type t ON t.oid = used.typid CROSS JOIN LATERAL (${PARTS_OF_TYPE}) part
  )
  SELECT c.contypid::regtype::text AS name, quote_ident(c.conname) AS "constraint" FROM pg_constraint c
  WHERE c.contypid IN (TABLE used) AND NOT c.convalidated AND c.connamespace <> ${SPACE}
  UNION ALL SELECT up.conrelid::regclass::text, quote_ident(up.conname) FROM pg_constraint c
    JOIN pg_inherits i ON i.inhrelid = c.conrelid JOIN pg_constraint up ON up.conrelid = i.inhparent AND up.conname = c.conname AND up.contype = c.contype
  WHERE c.conrelid IN (TABLE inside) AND c.contype IN ('c', 'n') AND NOT c.convalidated AND up.conrelid NOT IN (TABLE inside)
  ORDER BY 1, 2 LIMIT 1`
