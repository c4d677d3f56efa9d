/** An empty schema made ready to be filled fast, and made whole again. Needs no superuser, only the owner. */
import { InternalError } from '../../../errors/errors.ts'
import { quoteName, quoteText } from '../connection/client.ts'
import type { FoundTable } from './definition.ts'
import type { Connection } from '../connection/connection.ts'

/** What is taken away before the rows come, and how to put it back. */
interface Removable {
  readonly remove: string
  readonly restore: readonly string[]
}

export interface TargetOptions {
  readonly schema: string
  readonly tables: readonly FoundTable[]
  /** Tables that have partitions in place of rows. */
  readonly parents: readonly string[]
}

export class RestoreTarget {
  readonly #session: Connection
  readonly #schema: string
  readonly #tables: readonly FoundTable[]
  readonly #parents: readonly string[]
  /** In the order in which they are taken away; constraints are put back in the other. */
  #removed: { readonly indexes: readonly Removable[]; readonly constraints: readonly Removable[]; readonly triggers: readonly Removable[] } = {
    indexes: [],
    constraints: [],
    triggers: [],
  }
  #structure = ''
  /** Whether rows may be written as if they had always been there: the tables are new to every session. */
  #isFresh = false

  constructor(session: Connection, { schema, tables, parents }: TargetOptions) {
    this.#session = session
    this.#schema = schema
    this.#tables = tables
    this.#parents = parents
  }

  get isFresh(): boolean {
    return this.#isFresh
  }

  /** Whether any table has a row. */
  async isPopulated(): Promise<boolean> {
    if (this.#tables.length === 0) return false
    const queries = this.#tables.map(({ name }) => `EXISTS (SELECT FROM ONLY ${this.#path(name)})`)
    const [row] = await this.#session.rows<{ found: boolean }>(`SELECT ${queries.join(' OR ')} AS found`)
    return row?.found === true
  }

  /** Keeps other sessions out of the tables until the transaction ends. */
  async lock(lockTimeoutMs: number): Promise<void> {
    if (this.#tables.length === 0) return
    await this.#session.rows(`SET LOCAL lock_timeout = ${lockTimeoutMs}`)
    // Other sessions lock a table before its partitions.
    const names = [...this.#parents, ...this.#tables.map(({ name }) => name)]
    await this.#session.rows(`LOCK TABLE ${names.map((name) => `ONLY ${this.#path(name)}`).join(', ')} IN ACCESS EXCLUSIVE MODE`)
  }

  /** Takes away what would be checked or called row by row. */
  async prepare(): Promise<void> {
    this.#structure = await this.#describe()
    const constraints = await this.#constraints()
    const triggers = await this.#triggers()
    for (const { remove } of [...triggers, ...constraints]) await this.#session.rows(remove)
    // Which indexes nothing else needs shows only when the foreign keys are gone.
    const indexes = await this.#indexes()
    for (const { remove } of indexes) await this.#session.rows(remove)
    this.#removed = { indexes, constraints, triggers }
    await this.#truncate()
  }

  /** Puts everything back, checked, and refreshes the statistics that the planner goes by. */
  async complete(): Promise<void> {
    const { indexes, constraints, triggers } = this.#removed
    for (const { restore } of indexes) for (const statement of restore) await this.#session.rows(statement)
    for (const { name } of this.#tables) await this.#session.rows(`ANALYZE ${this.#path(name)}`)
    // The planner would check foreign keys by hash: along indexes that were just made, and even by sorting, it takes half as long.
    await this.#session.rows('SET LOCAL enable_hashjoin = off')
    for (const { restore } of [...constraints.toReversed(), ...triggers]) for (const statement of restore) await this.#session.rows(statement)
    await this.#session.rows('SET LOCAL enable_hashjoin TO DEFAULT')
    if ((await this.#describe()) !== this.#structure) {
      throw new InternalError(`Cannot restore into the schema "${this.#schema}": its constraints, indexes or triggers would not be what they were`)
    }
  }

  /** New files for all tables: rows of earlier attempts are gone, and those that come need no log of visibility. */
  async #truncate(): Promise<void> {
    if (this.#tables.length === 0) return
    const [row] = await this.#session.rows<{ found: boolean }>(
      `SELECT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid = ANY ($1::oid[])) AS found`,
      [this.#oids()],
    )
    // A table that is none of the snapshot's refers to one that is: it must be empty too, but truncating is refused all the same.
    if (row?.found === true) return
    await this.#session.rows(`TRUNCATE ONLY ${this.#tables.map(({ name }) => this.#path(name)).join(', ONLY ')}`)
    this.#isFresh = true
  }

  /**
   * Foreign keys, and checks that rows cannot be held to as they come: not all of them pass, or a function looks at tables that are filled
   * later. A parent's comes before its children's: when it is gone, these have only what is their own.
   */
  async #constraints(): Promise<Removable[]> {
    const rows = await this.#session.rows<ConstraintRow>(CONSTRAINTS, [this.#oids(), this.#schema])
    return rows.map(({ kind, path, name, definition, comment, validated }) => ({
      remove: `ALTER ${kind} ${path} DROP CONSTRAINT ${quoteName(name)}`,
      restore: [
        `ALTER ${kind} ${path} ADD CONSTRAINT ${quoteName(name)} ${definition}`,
        ...(comment === null ? [] : [`COMMENT ON CONSTRAINT ${quoteName(name)} ON ${kind === 'DOMAIN' ? 'DOMAIN ' : ''}${path} IS ${quoteText(comment)}`]),
        ...validated.map((child) => `ALTER TABLE ${child} VALIDATE CONSTRAINT ${quoteName(name)}`),
      ],
    }))
  }

  /** Triggers of the schema's own that would fire. */
  async #triggers(): Promise<Removable[]> {
    const rows = await this.#session.rows<{ path: string; name: string; enabled: string }>(
      `SELECT tgrelid::regclass::text AS path, tgname AS name, tgenabled AS enabled FROM pg_trigger
       WHERE (tgrelid = ANY ($1::oid[]) OR ${OF_PARENTS}) AND NOT tgisinternal AND tgenabled IN ('O', 'A') ORDER BY 1, 2`,
      [this.#oids(), this.#schema, this.#parents],
    )
    return rows.map(({ path, name, enabled }) => ({
      remove: `ALTER TABLE ONLY ${path} DISABLE TRIGGER ${quoteName(name)}`,
      restore: [`ALTER TABLE ONLY ${path} ENABLE ${enabled === 'A' ? 'ALWAYS ' : ''}TRIGGER ${quoteName(name)}`],
    }))
  }

  /** Indexes that can be made again exactly as they are, which is much faster than filling them row by row; all others are filled. */
  async #indexes(): Promise<Removable[]> {
    const rows = await this.#session.rows<IndexRow>(INDEXES, [this.#oids()])
    return rows.map(({ path, schema, name, definition, tablespace, constraint, type, deferrable, deferred }) => {
      // The definition of an index says nothing of its tablespace.
      const create = [`SELECT set_config('default_tablespace', ${quoteText(tablespace ?? '')}, true)`, definition]
      if (constraint === null) return { remove: `DROP INDEX ${quoteName(schema)}.${quoteName(name)}`, restore: create }
      const timing = deferrable ? ` DEFERRABLE INITIALLY ${deferred ? 'DEFERRED' : 'IMMEDIATE'}` : ''
      const kind = type === 'p' ? 'PRIMARY KEY' : 'UNIQUE'
      return {
        remove: `ALTER TABLE ${path} DROP CONSTRAINT ${quoteName(constraint)}`,
        restore: [...create, `ALTER TABLE ${path} ADD CONSTRAINT ${quoteName(constraint)} ${kind} USING INDEX ${quoteName(name)}${timing}`],
      }
    })
  }

  /** Everything that was taken away and put back, in text that is equal when nothing changed. */
  async #describe(): Promise<string> {
    const [row] = await this.#session.rows<{ text: string | null }>(STRUCTURE, [this.#oids(), this.#schema, this.#parents])
    return row?.text ?? ''
  }

  #oids(): readonly number[] {
    return this.#tables.map(({ oid }) => oid)
  }

  #path(name: string): string {
    return `${quoteName(this.#schema)}.${quoteName(name)}`
  }
}

interface ConstraintRow {
  readonly kind: 'TABLE' | 'DOMAIN'
  readonly path: string
  readonly name: string
  readonly definition: string
  readonly comment: string | null
  /** Children whose rows all pass what the table's own need not: they were made later. */
  readonly validated: readonly string[]
}

interface IndexRow {
  readonly path: string
  readonly schema: string
  readonly name: string
  readonly definition: string
  readonly tablespace: string | null
  readonly constraint: string | null
  readonly type: string | null
  readonly deferrable: boolean | null
  readonly deferred: boolean | null
}

/** Of a trigger; takes the schema and the names. */
const OF_PARENTS = `tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $2) AND relname = ANY ($3::text[]))`

/**
 * Foreign keys of partitions go and come with the one that they were made from; one that is switched off lets all rows pass. The server
 * notes what functions a check calls, but for its own. Checks of other schemas are left alone: `outside.ts` refuses those that need more.
 */
const CONSTRAINTS = `
  SELECT CASE WHEN c.contypid = 0 THEN 'TABLE' ELSE 'DOMAIN' END AS kind, CASE WHEN c.contypid = 0 THEN c.conrelid::regclass::text ELSE c.contypid::regtype::text END AS path,
    c.conname AS name, pg_get_constraintdef(c.oid) AS definition, obj_description(c.oid, 'pg_constraint') AS comment,
    ARRAY(
      SELECT child.conrelid::regclass::text FROM pg_constraint child
      WHERE child.conname = c.conname AND child.contype = c.contype AND child.convalidated AND NOT child.conislocal AND NOT c.convalidated AND child.conrelid IN (
        WITH RECURSIVE down (oid) AS (SELECT c.conrelid UNION SELECT inhrelid FROM down JOIN pg_inherits ON inhparent = down.oid) TABLE down)) AS validated
  FROM pg_constraint c LEFT JOIN pg_class r ON r.oid = c.conrelid CROSS JOIN (SELECT oid FROM pg_namespace WHERE nspname = $2) space
  WHERE CASE
    WHEN c.contypid <> 0 THEN c.connamespace = space.oid AND NOT c.convalidated
    WHEN NOT (c.conrelid = ANY ($1::oid[]) OR r.relkind = 'p' AND r.relnamespace = space.oid) THEN false
    WHEN c.contype = 'f' THEN c.conparentid = 0 AND c.coninhcount = 0
      AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgconstraint = c.oid AND tgrelid = c.conrelid AND tgenabled NOT IN ('O', 'A'))
    ELSE c.contype IN ('c', 'n') AND c.conislocal AND (NOT c.convalidated
      OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_constraint'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_proc'::regclass))
    END
  ORDER BY c.contype, (WITH RECURSIVE up (oid) AS (SELECT c.conrelid UNION SELECT inhparent FROM up JOIN pg_inherits ON inhrelid = up.oid) SELECT count(*) FROM up), 2, 3`

/** Left out: what has a property that its definition does not show, and what anything else depends on. */
const INDEXES = `
  SELECT i.indrelid::regclass::text AS path, n.nspname AS schema, x.relname AS name, pg_get_indexdef(x.oid) AS definition, s.spcname AS tablespace,
    c.conname AS constraint, c.contype AS type, c.condeferrable AS deferrable, c.condeferred AS deferred
  FROM pg_index i
  JOIN pg_class x ON x.oid = i.indexrelid
  JOIN pg_namespace n ON n.oid = x.relnamespace
  JOIN pg_am am ON am.oid = x.relam
  LEFT JOIN pg_tablespace s ON s.oid = x.reltablespace
  LEFT JOIN pg_constraint c ON c.conindid = x.oid AND c.conrelid = i.indrelid AND c.contype IN ('p', 'u', 'x')
  WHERE i.indrelid = ANY ($1::oid[])
    AND i.indisvalid AND NOT i.indisclustered AND NOT i.indisreplident AND NOT x.relispartition
    AND (c.oid IS NULL OR c.contype <> 'x' AND am.amname = 'btree' AND NOT i.indisexclusion AND c.coninhcount = 0)
    AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = x.oid AND a.attstattarget >= 0)
    AND NOT EXISTS (SELECT FROM pg_description d WHERE d.objoid IN (x.oid, c.oid) AND d.classoid IN ('pg_class'::regclass, 'pg_constraint'::regclass))
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = x.oid)
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_constraint'::regclass AND d.refobjid = c.oid AND d.objid <> x.oid)
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = x.oid AND d.deptype IN ('e', 'x'))
  ORDER BY 1, c.contype NULLS LAST, x.relname COLLATE "C"`

const STRUCTURE = `
  SELECT string_agg(line, E'\\n' ORDER BY line COLLATE "C") AS text FROM (
    SELECT 'index ' || pg_get_indexdef(x.oid) || ' ' || to_jsonb(ARRAY[i.indisunique, i.indisprimary, i.indisvalid, i.indimmediate, i.indisclustered, i.indisreplident])
      || ' ' || x.reltablespace || ' ' || pg_get_userbyid(x.relowner) AS line
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = ANY ($1::oid[])
    UNION ALL
    SELECT 'constraint ' || conrelid::regclass || ' ' || contypid::regtype || ' ' || quote_ident(conname) || ' ' || pg_get_constraintdef(oid) || ' ' || coalesce(obj_description(oid, 'pg_constraint'), '')
    FROM pg_constraint WHERE conrelid = ANY ($1::oid[]) OR confrelid = ANY ($1::oid[]) OR NOT convalidated AND contypid <> 0 AND connamespace = (SELECT oid FROM pg_namespace WHERE nspname = $2)
    UNION ALL
    SELECT 'trigger ' || pg_get_triggerdef(oid) || ' ' || tgenabled::text
    FROM pg_trigger WHERE (tgrelid = ANY ($1::oid[]) OR ${OF_PARENTS}) AND NOT tgisinternal
    UNION ALL
    SELECT 'column ' || attrelid::regclass || ' ' || quote_ident(attname) || ' ' || attnotnull FROM pg_attribute WHERE attrelid = ANY ($1::oid[]) AND attnum > 0
  ) AS lines`
