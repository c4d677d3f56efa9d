/** Schemas of any make: each is either refused by the name of what it needs, or restored equal where its types have other OIDs. */
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { isHoldfastError } from '../../../src/errors/errors.ts'
import { restoreBytes, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { postgresBackupable } from '../../../src/stores/postgres/snapshot/postgres-backupable.ts'
import { runs, seed } from '../../support/seed.ts'
import { NO_PAYLOADS, contentOf } from './made-schemas.ts'
import { describeSchema, inSchema, newSchema, quote, sharedPool } from './schemas.ts'

/** A type, and an expression that makes its values from i; NULL now and then. */
const TYPES: Readonly<Record<string, string>> = {
  integer: 'i',
  bigint: '(i - 7) * 1000000000000',
  text: `CASE i % 40 WHEN 7 THEN repeat('long ', 80000) WHEN 8 THEN E'\\\\N\\t\\\\.' ELSE 'text ' || i END`,
  '"Mood"': `(enum_range(NULL::"Mood"))[1 + i % 9]`,
  '"Mood"[]': `ARRAY[(enum_range(NULL::"Mood"))[1 + i % 9], NULL]`,
  pair: `ROW(i, (enum_range(NULL::"Mood"))[1 + i % 9])::pair`,
  percent: 'i % 101',
  numeric: `CASE i % 5 WHEN 0 THEN 'NaN' ELSE i::numeric / 7 END`,
  bytea: `CASE i % 40 WHEN 3 THEN decode(repeat('00ff', 150000), 'hex') ELSE decode(md5(i::text), 'hex') END`,
  timestamptz: `timestamptz '2000-01-01' + i * interval '1 hour'`,
  jsonb: `jsonb_build_object('i', i, 'é', ARRAY['😀'])`,
  tsquery: `CASE i % 6 WHEN 0 THEN '' ELSE 'fat & rat' END::tsquery`,
  regtype: `CASE i % 2 WHEN 0 THEN 'text' ELSE '"Mood"' END::regtype`,
  int4range: `int4range(i, i + i % 3)`,
}
const KEYS = ['integer', 'text', '"Mood"', '"Mood"[]', 'percent', 'int4range'] as const

const spec = fc.record({
  columns: fc.array(fc.constantFrom(...Object.keys(TYPES)), { maxLength: 5 }),
  key: fc.constantFrom(...KEYS),
  partition: fc.constantFrom('none', 'hash', 'list', 'range', 'hash of ranges', 'range of hashes'),
  extras: fc.uniqueArray(fc.constantFrom('dropped', 'generated', 'identity', 'index', 'check', 'trigger', 'attached', 'child'), { maxLength: 4 }),
  needs: fc.oneof({ weight: 12, arbitrary: fc.constant('nothing') }, { weight: 1, arbitrary: fc.constantFrom('sequence', 'large object') }),
  rows: fc.nat(120),
})
type Table = typeof spec extends fc.Arbitrary<infer T> ? T : never
const tables = fc.array(spec, { minLength: 1, maxLength: 3 })

const TYPE_DEFINITIONS = `
  CREATE TYPE "Mood" AS ENUM ('a', 'B', 'c c', 'd', 'e', 'f', 'g', 'h', 'i');
  CREATE TYPE pair AS (n int, mood "Mood");
  CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 0 AND 100);
  CREATE SEQUENCE own INCREMENT 3;
  CREATE TABLE log (entry text);
  CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (TG_NAME); RETURN NULL; END $$`

/** The columns of a table, in an order of its own where it is attached. */
function columnsOf({ columns, key, partition, extras, needs }: Table, sequence?: string): readonly string[] {
  return [
    `key ${key}`,
    'i int',
    ...columns.map((type, at) => `"c ${at}" ${type}`),
    extras.includes('identity') && partition === 'none' ? 'id bigint GENERATED ALWAYS AS IDENTITY' : `id bigint DEFAULT nextval('own')`,
    ...(needs === 'sequence' ? [`drawn bigint${sequence === undefined ? '' : ` DEFAULT nextval('${sequence}')`}`] : []),
    ...(needs === 'large object' ? ['object oid'] : []),
    ...(extras.includes('generated') ? ['twice int GENERATED ALWAYS AS (i * 2) STORED'] : []),
  ]
}

function ddlOf(table: Table, { name, sequence }: { readonly name: string; readonly sequence: string }): string {
  const { partition, extras } = table
  const when = (extra: Table['extras'][number], ...statements: readonly string[]): readonly string[] => (extras.includes(extra) ? statements : [])
  const { by, bounds, parts } = PARTITIONS[partition] ?? { by: '', bounds: [], parts: () => [] }
  // The last of them is made by itself and attached.
  const attached = extras.includes('attached') ? bounds.at(-1) : undefined
  return [
    `CREATE TABLE ${name} (${[...when('dropped', 'gone int'), ...columnsOf(table, sequence)].join(', ')})${by}`,
    ...when('dropped', `ALTER TABLE ${name} DROP gone`),
    ...bounds.filter((bound) => bound !== attached).map((bound) => `CREATE TABLE ${name}_${bounds.indexOf(bound)} PARTITION OF ${name} ${bound}${SUBDIVIDED[partition] ?? ''}`),
    ...(attached === undefined
      ? []
      : [
          `CREATE TABLE ${name}_${bounds.length - 1} (before int, ${columnsOf(table).toReversed().join(', ')})${SUBDIVIDED[partition] ?? ''}`,
          `ALTER TABLE ${name}_${bounds.length - 1} DROP before`,
          `ALTER TABLE ${name} ATTACH PARTITION ${name}_${bounds.length - 1} ${attached}`,
        ]),
    ...parts(name),
    ...when('child', ...(partition === 'none' ? [`CREATE TABLE ${name}_child (more text) INHERITS (${name})`] : [])),
    ...when('index', `CREATE INDEX ON ${name} (i, id)`),
    ...when('check', `ALTER TABLE ${name} ADD CONSTRAINT ${name}_check CHECK (i >= 0)`),
    ...when('trigger', ...['STATEMENT', 'ROW'].map((each) => `CREATE TRIGGER "by ${each}" AFTER INSERT ON ${name} FOR EACH ${each} EXECUTE FUNCTION note()`)),
  ].join('; ')
}

interface Partitioning {
  readonly by: string
  /** The default first: rows that others have must not be in it when they are attached. */
  readonly bounds: readonly string[]
  /** What the partitions are partitioned into. */
  readonly parts: (name: string) => readonly string[]
}

const RANGES = ['DEFAULT', 'FOR VALUES FROM (MINVALUE) TO (30)', 'FOR VALUES FROM (30) TO (60)']
const HASHES = [0, 1, 2].map((at) => `FOR VALUES WITH (MODULUS 3, REMAINDER ${at})`)
const partsOf = (bounds: readonly string[]) => (name: string) =>
  [0, 1, 2].flatMap((at) => bounds.map((bound, part) => `CREATE TABLE ${name}_${at}_${part} PARTITION OF ${name}_${at} ${bound}`))
const none = (): readonly string[] => []
const PARTITIONS: Readonly<Record<string, Partitioning>> = {
  hash: { by: ' PARTITION BY HASH (key)', bounds: HASHES, parts: none },
  list: { by: ' PARTITION BY LIST ((i % 4))', bounds: ['DEFAULT', 'FOR VALUES IN (0, NULL)', 'FOR VALUES IN (1)'], parts: none },
  range: { by: ' PARTITION BY RANGE (i)', bounds: RANGES, parts: none },
  'hash of ranges': { by: ' PARTITION BY HASH (key)', bounds: HASHES, parts: partsOf(RANGES) },
  'range of hashes': { by: ' PARTITION BY RANGE (i)', bounds: RANGES, parts: partsOf(HASHES) },
}
const SUBDIVIDED: Readonly<Record<string, string>> = { 'hash of ranges': ' PARTITION BY RANGE (i)', 'range of hashes': ' PARTITION BY HASH (key)' }

const counts = { restored: 0, refused: 0, tables: 0 }
afterAll(() => console.log(`schemas: ${counts.restored} restored equal and ${counts.refused} refused by name, of ${counts.tables} tables in all`))

test('backup() of any schema is refused by the name of what it needs, or restored equal', { timeout: 0 }, async () => {
  const pool = await sharedPool()
  await fc.assert(
    fc.asyncProperty(tables, fc.boolean(), async (all, worker) => {
      const outside = await newSchema(pool, 'CREATE SEQUENCE numbers')
      const sequence = `${quote(outside.schema)}.numbers`
      const ddl = [TYPE_DEFINITIONS, ...all.map((table, at) => ddlOf(table, { name: `t${at}`, sequence }))].join('; ')
      const [source, target] = [await newSchema(pool, ddl), await newSchema(pool, ddl)]
      try {
        const objects = await fill(source.schema, all)
        const storeOf = (schema: string): ReturnType<typeof postgresBackupable> => postgresBackupable(pool, { schema, payloadIds: NO_PAYLOADS, schemaVersion: 1, worker, pace: 'full' })
        const outcome = await snapshotOf(storeOf(source.schema)).catch((error: unknown) => error)
        for (const id of objects) await pool.query('SELECT lo_unlink($1)', [id])
        counts.tables += all.length
        const needs = all.filter(({ needs, rows }) => needs === 'sequence' || (needs === 'large object' && rows > 0))
        if (needs.length > 0) {
          expect(isHoldfastError(outcome) && outcome.code, String(outcome)).toBe('backup_unsupported')
          expect((outcome as Error).message).toMatch(/t\d[\d_]*"?\."?(drawn|object)/)
          counts.refused++
          return
        }
        if (outcome instanceof Error) throw outcome
        const before = await describeSchema(pool, target.schema)
        await restoreBytes(storeOf(target.schema), (outcome as { readonly bytes: Uint8Array }).bytes)
        expect((await contentOf({ pool, schema: target.schema })) === (await contentOf({ pool, schema: source.schema })), 'the content is equal').toBe(true)
        expect(await describeSchema(pool, target.schema)).toEqual(before)
        counts.restored++
      } finally {
        await Promise.all([source.drop(), target.drop()])
        await outside.drop()
      }
    }),
    { seed, numRuns: runs(60) },
  )
})

/** Rows by the expressions of their types; gives the large objects that were made. */
async function fill(schema: string, all: readonly Table[]): Promise<readonly number[]> {
  return await inSchema(await sharedPool(), schema, async (client) => {
    const made: number[] = []
    for (const [at, { columns, key, needs, rows }] of all.entries()) {
      const names = ['key', 'i', ...columns.map((_, index) => `"c ${index}"`), ...(needs === 'large object' ? ['object'] : [])]
      const values = [key, 'integer', ...columns].map((type) => `CASE WHEN i % 11 <> 5 OR '${type}' = 'integer' THEN ${TYPES[type]} END`)
      if (needs === 'large object') {
        const { rows: found } = await client.query<{ id: number }>('SELECT lo_create(0) AS id')
        const id = found[0]?.id ?? 0
        made.push(id)
        values.push(`CASE WHEN i = 1 THEN ${id} END`)
      }
      await client.query(`INSERT INTO t${at} (${names.join(', ')}) SELECT ${values.join(', ')} FROM generate_series(1, ${rows}) i`)
    }
    await client.query('TRUNCATE log')
    return made
  })
}
