/** What a schema needs from outside of it, and what a target has that the source had not: refused by name, never silent, never called damage. */
import { describe, expect, it, onTestFinished } from 'vitest'
import { fsDestination } from '../../../destinations/fs/index.ts'
import { runBackup } from '../../../src/backup/run-backup.ts'
import { restoreInto } from '../../../src/restore/restore-into.ts'
import { postgresBackupable } from '../../../src/stores/postgres/snapshot/postgres-backupable.ts'
import { CollectingSink, refused, restoreBytes, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { type Made, NO_PAYLOADS, contentOf, made } from './made-schemas.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { dropDatabase, inDatabase, makeDatabase } from './databases.ts'
import { describeSchema, quote, sharedPool } from './schemas.ts'

const containing = (text: string): string => expect.stringContaining(text) as string

describe('a schema that is not there', () => {
  it.each(['nope', 'PUBLIC', '', 'public.t'])('%j is refused with store_unavailable, in a worker and without, before a byte is written', async (schema) => {
    for (const worker of [false, true]) {
      const store = postgresBackupable(await sharedPool(), { schema, payloadIds: NO_PAYLOADS, schemaVersion: 1, worker })
      const sink = new CollectingSink()
      expect(await refused(store.backup(sink), 'store_unavailable')).toMatchObject({ message: containing(`the schema "${schema}": it does not exist`), hint: containing('database') })
      expect(sink.chunks).toEqual([])
      await refused(restoreBytes(store, new Uint8Array(1)), 'store_unavailable')
    }
  })

  it('any more, for it was dropped since the last backup, is refused too', async () => {
    const { store, pool, schema } = await made('')
    await snapshotOf(store)
    await pool.query(`DROP SCHEMA ${quote(schema)}`)
    await refused(snapshotOf(store), 'store_unavailable')
  })
})

describe('a sequence of another schema', () => {
  it.each([
    ['the default of a column', (sequence: string) => `CREATE TABLE t (id int DEFAULT nextval('${sequence}'), n int)`, 't.id'],
    ['the default of a partitioned table', (sequence: string) => `CREATE TABLE t (id int DEFAULT 7 + nextval('${sequence}')) PARTITION BY RANGE (id); CREATE TABLE t_rest PARTITION OF t DEFAULT`, 't.id'],
    ['a domain', (sequence: string) => `CREATE DOMAIN number AS bigint DEFAULT nextval('${sequence}'); CREATE TABLE t ("the id" number)`, 't."the id"'],
  ])('that %s draws on is refused by name, unless leaveOut names it', async (_, tables, column) => {
    const other = await made('CREATE SEQUENCE numbers')
    const name = `${other.schema}.numbers`
    const source = await made(tables(`${quote(other.schema)}.numbers`))
    const error = await refused(snapshotOf(source.store), 'backup_unsupported')
    expect(error).toMatchObject({ message: containing(`${column} draws on the sequence "${name}"`), hint: containing('leaveOut'), details: { name, column } })
    const leaving = postgresBackupable(source.pool, { schema: source.schema, payloadIds: NO_PAYLOADS, schemaVersion: 1, worker: false, leaveOut: [name] })
    await snapshotOf(leaving)
  })

  it('that is moved into the schema goes on where it was after a restore', async () => {
    const tables = 'CREATE SEQUENCE numbers; CREATE TABLE t (id int PRIMARY KEY DEFAULT nextval(\'numbers\'))'
    const [source, target] = [await made(tables), await made(tables)]
    await source.run('INSERT INTO t SELECT FROM generate_series(1, 5)')
    await restoreBytes(target.store, (await snapshotOf(source.store)).bytes)
    await target.run('INSERT INTO t DEFAULT VALUES')
    expect(await contentOf(target)).toBe('numbers\n(6,t)\nt\n(1)\n(2)\n(3)\n(4)\n(5)\n(6)')
  })
})

describe('large objects', () => {
  it.each([
    ['oid', '', (id: number) => `${id}`],
    ['oid[]', '', (id: number) => `'{1,${id}}'`],
    ['lo', 'CREATE DOMAIN lo AS oid; ', (id: number) => `${id}`],
    ['inner_lo', 'CREATE DOMAIN lo AS oid; CREATE DOMAIN inner_lo AS lo; ', (id: number) => `${id}`],
    ['lo[]', 'CREATE DOMAIN lo AS oid; ', (id: number) => `'{1,${id}}'`],
    ['los', 'CREATE DOMAIN los AS oid[]; ', (id: number) => `'{1,${id}}'`],
    ['photo', 'CREATE TYPE photo AS (n int, id oid); ', (id: number) => `ROW(1, ${id})`],
    ['photo[]', 'CREATE TYPE photo AS (n int, id oid); ', (id: number) => `ARRAY[NULL, ROW(1, ${id})]::photo[]`],
    ['oid[][]', '', (id: number) => `'{{1,2},{3,${id}}}'`],
    [
      'album',
      `CREATE DOMAIN lo AS oid; CREATE TYPE photo AS ("the ""id" lo[]); CREATE DOMAIN los AS photo[]; CREATE TYPE album AS (photos los); `,
      (id: number) => `ROW(ARRAY[ROW(ARRAY[1, ${id}])]::los)`,
    ],
  ])('that a column of type %s names are refused by its name, unless leaveOut names them', async (type, before, valueOf) => {
    const pool = await sharedPool()
    const { rows } = await pool.query<{ id: number }>(`SELECT lo_from_bytea(0, 'content') AS id`)
    const id = rows[0]?.id ?? 0
    onTestFinished(async () => void (await pool.query('SELECT lo_unlink($1)', [id])))
    const source = await made(`${before}CREATE TABLE t (n int, "Photo" ${type})`)
    // OIDs of something else are not large objects.
    await source.run(`INSERT INTO t VALUES (1, NULL), (2, ${valueOf(1)})`)
    await snapshotOf(source.store)
    await source.run(`INSERT INTO t VALUES (3, ${valueOf(id)})`)
    expect(await refused(snapshotOf(source.store), 'backup_unsupported')).toMatchObject({ message: containing('"t"."Photo" names large objects'), hint: containing('pg_catalog.pg_largeobject') })
    await snapshotOf(postgresBackupable(source.pool, { schema: source.schema, payloadIds: NO_PAYLOADS, schemaVersion: 1, worker: false, leaveOut: ['pg_catalog.pg_largeobject'] }))
  })

  it('are not what text beside an OID names, though it spells the number of one', async () => {
    const pool = await sharedPool()
    const { rows } = await pool.query<{ id: number }>(`SELECT lo_from_bytea(0, 'content') AS id`)
    const id = rows[0]?.id ?? 0
    onTestFinished(async () => void (await pool.query('SELECT lo_unlink($1)', [id])))
    const source = await made('CREATE TYPE photo AS (name text, names text[], id oid); CREATE TABLE t (one photo, many photo[])')
    const photo = `ROW('${id}', '{${id},no number}', 1)::photo`
    await source.run(`INSERT INTO t VALUES (${photo}, ARRAY[${photo}])`)
    await snapshotOf(source.store)
  })
})

describe('a target that refuses rows by a constraint', () => {
  const tables = 'CREATE TABLE t (id int, name text)'
  const rows = `INSERT INTO t VALUES (1, 'secret one'), (2, 'secret one'), (-3, NULL)`

  it.each([
    ['a CHECK', `${tables}; ALTER TABLE t ADD CONSTRAINT positive CHECK (id > 0)`, { constraint: 'positive', table: 't' }, 'positive'],
    ['a UNIQUE', `${tables}; ALTER TABLE t ADD CONSTRAINT once UNIQUE (name)`, { constraint: 'once', table: 't' }, 'once'],
    ['a NOT NULL', `${tables}; ALTER TABLE t ALTER name SET NOT NULL`, { column: 'name', table: 't' }, '"name"'],
  ])('%s of its own is schema_version_mismatch, names it and no value, and leaves the target empty', async (_, others, details, name) => {
    const source = await made(tables)
    await source.run(rows)
    const { bytes } = await snapshotOf(source.store)
    for (const worker of [false, true]) {
      const target = await made(others, { worker })
      const error = await refused(restoreBytes(target.store, bytes), 'schema_version_mismatch')
      expect(error).toMatchObject({ message: containing(name), hint: containing('drop it in the target'), details })
      expect(JSON.stringify(error)).not.toContain('secret one')
      expect(await contentOf(target)).toBe('t\n')
    }
  })

  it('a foreign key into another schema where rows are missing is schema_version_mismatch and names it; with the rows it is restored', async () => {
    const source = await made(tables)
    await source.run(rows)
    const { bytes } = await snapshotOf(source.store)
    const other = await made('CREATE TABLE referred (id int PRIMARY KEY)')
    const target = await made(`${tables}; ALTER TABLE t ADD CONSTRAINT known FOREIGN KEY (id) REFERENCES ${quote(other.schema)}.referred`)
    expect(await refused(restoreBytes(target.store, bytes), 'schema_version_mismatch')).toMatchObject({ message: containing('known'), hint: containing('another schema'), details: { constraint: 'known' } })
    await other.run('INSERT INTO referred VALUES (1), (2), (-3)')
    await restoreBytes(target.store, bytes)
    expect(await contentOf(target)).toBe('t\n(-3,)\n(1,"secret one")\n(2,"secret one")')
  })
})

describe('a target that cannot have what was backed up', () => {
  it('for a sequence has narrower bounds is schema_version_mismatch, and names the sequence', async () => {
    const source = await made('CREATE SEQUENCE numbers')
    await source.run("SELECT setval('numbers', 500)")
    const { bytes } = await snapshotOf(source.store)
    const target = await made('CREATE SEQUENCE numbers MAXVALUE 10')
    expect(await refused(restoreBytes(target.store, bytes), 'schema_version_mismatch')).toMatchObject({ message: containing('"numbers" (1..10)'), hint: containing('bounds') })
    await target.run('ALTER SEQUENCE numbers MAXVALUE 1000')
    await restoreBytes(target.store, bytes)
    expect(await contentOf(target)).toBe('numbers\n(500,t)')
  })

  it('for its encoding lacks a character is schema_version_mismatch, and names the encoding', async () => {
    const source = await made('CREATE TABLE t (name text)')
    await source.run("INSERT INTO t VALUES ('ą')")
    const { bytes } = await snapshotOf(source.store)
    const admin = await sharedPool()
    const name = `holdfast_latin_${process.pid}`
    await admin.query(`CREATE DATABASE ${name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0`)
    onTestFinished(() => dropDatabase(name))
    await inDatabase(name, async (pool) => {
      await pool.query('CREATE SCHEMA latin CREATE TABLE t (name text)')
      const target = postgresBackupable(pool, { schema: 'latin', payloadIds: NO_PAYLOADS, schemaVersion: 1 })
      expect(await refused(restoreBytes(target, bytes), 'schema_version_mismatch')).toMatchObject({ message: containing('"LATIN1"'), hint: containing('UTF8') })
    })
  })

  it('for the check was not valid in the source either is restored once the check is NOT VALID', async () => {
    const tables = 'CREATE TABLE t (n int CONSTRAINT positive CHECK (n > 0) NOT VALID)'
    const source = await made('CREATE TABLE t (n int)')
    await source.run('INSERT INTO t VALUES (-1); ALTER TABLE t ADD CONSTRAINT positive CHECK (n > 0) NOT VALID')
    const { bytes } = await snapshotOf(source.store)
    const target = await made(tables.replace(' NOT VALID', ''))
    await refused(restoreBytes(target.store, bytes), 'schema_version_mismatch')
    await target.run('ALTER TABLE t DROP CONSTRAINT positive, ADD CONSTRAINT positive CHECK (n > 0) NOT VALID')
    await restoreBytes(target.store, bytes)
    expect(await contentOf(target)).toBe('t\n(-1)')
  })
})

describe('a source of another encoding', () => {
  it.each([
    ['SQL_ASCII', '\\xe97a', '22021'],
    ['EUC_JP', '\\xa9a1', '22P05'],
  ])('%s, with text that cannot be UTF-8, is record_invalid with the way to find it, and is backed up without that text', async (encoding, bytes, sqlState) => {
    const admin = await sharedPool()
    const name = `holdfast_${encoding.toLowerCase()}_${process.pid}`
    await admin.query(`CREATE DATABASE ${name} ENCODING '${encoding}' LOCALE 'C' TEMPLATE template0`)
    onTestFinished(() => dropDatabase(name))
    await inDatabase(name, async (pool) => {
      await pool.query(`CREATE SCHEMA other CREATE TABLE t (name text); INSERT INTO other.t VALUES (convert_from('${bytes}', '${encoding}')), ('fine')`)
      for (const worker of [false, true]) {
        const source = postgresBackupable(pool, { schema: 'other', payloadIds: NO_PAYLOADS, schemaVersion: 1, worker })
        expect(await refused(snapshotOf(source), 'record_invalid')).toMatchObject({ message: containing('"UTF8"'), hint: containing('pg_dump'), details: { sqlState } })
      }
      await pool.query("DELETE FROM other.t WHERE name <> 'fine'")
      await snapshotOf(postgresBackupable(pool, { schema: 'other', payloadIds: NO_PAYLOADS, schemaVersion: 1, worker: false }))
    })
  })
})

describe('settings of the database', () => {
  it('do not change a value: arrays with NULL', async () => {
    const tables = `CREATE TYPE mood AS ENUM ('a'); CREATE TABLE t (moods mood[], words text[])`
    const source = await made(tables)
    await source.run(`INSERT INTO t VALUES (ARRAY['a', NULL]::mood[], ARRAY['NULL', NULL])`)
    const { bytes } = await snapshotOf(source.store)
    const name = await makeDatabase()
    await inDatabase(name, (pool) => pool.query(`ALTER DATABASE ${name} SET array_nulls = off`))
    await inDatabase(name, async (pool) => {
      await pool.query(`CREATE SCHEMA other; SET search_path = other; ${tables}; RESET search_path`)
      const target = postgresBackupable(pool, { schema: 'other', payloadIds: NO_PAYLOADS, schemaVersion: 1, worker: false })
      await restoreBytes(target, bytes)
      expect(await contentOf({ pool, schema: 'other' })).toBe(await contentOf(source))
    })
  })
})

describe('partitions', () => {
  const types = `CREATE TYPE mood AS ENUM ('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l')`
  const hashed = (name: string, key: string): string =>
    [0, 1, 2, 3].map((part) => `CREATE TABLE ${name}_${part} PARTITION OF ${name} FOR VALUES WITH (MODULUS 4, REMAINDER ${part})`).join('; ').replace(/^/, `CREATE TABLE ${name} (id int, ${key}, twice int GENERATED ALWAYS AS (id * 2) STORED) PARTITION BY HASH (${key.split(' ')[0]}); `)
  const all = `${types}; ${hashed('by_mood', 'mood mood')}; ${hashed('by_moods', 'moods mood[]')}; ${hashed('by_text', 'text text')}; ${hashed('by_oid', 'class oid')};
    CREATE TABLE nested (mood mood, at date, note text) PARTITION BY HASH (mood);
    CREATE TABLE nested_0 PARTITION OF nested FOR VALUES WITH (MODULUS 2, REMAINDER 0) PARTITION BY RANGE (at);
    CREATE TABLE nested_0_old PARTITION OF nested_0 FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
    CREATE TABLE nested_0_rest PARTITION OF nested_0 DEFAULT;
    CREATE TABLE nested_1 (dropped int, note text, at date, mood mood);
    ALTER TABLE nested_1 DROP dropped;
    ALTER TABLE nested ATTACH PARTITION nested_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    CREATE TABLE listed (mood mood PRIMARY KEY, id int) PARTITION BY LIST (mood);
    CREATE TABLE listed_ab PARTITION OF listed FOR VALUES IN ('a', 'b');
    CREATE TABLE listed_rest PARTITION OF listed DEFAULT;
    CREATE TABLE log (entry text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (TG_NAME); RETURN NULL; END $$;
    CREATE TRIGGER by_statement AFTER INSERT ON nested FOR EACH STATEMENT EXECUTE FUNCTION note();
    CREATE TRIGGER by_row AFTER INSERT ON nested FOR EACH ROW EXECUTE FUNCTION note();
    ALTER TABLE nested_1 DISABLE TRIGGER by_row`
  const fill = `
    INSERT INTO by_mood (id, mood) SELECT i, m FROM generate_series(1, 20) i, unnest(enum_range(NULL::mood)) m;
    INSERT INTO by_moods (id, moods) SELECT i, ARRAY[m, 'a'] FROM generate_series(1, 5) i, unnest(enum_range(NULL::mood)) m;
    INSERT INTO by_text (id, text) SELECT i, md5(i::text) FROM generate_series(1, 50) i;
    INSERT INTO by_oid (id, class) SELECT i, i * 1000 FROM generate_series(1, 50) i;
    INSERT INTO nested SELECT m, date '2000-01-01' + i * 1000, 'note ' || i FROM generate_series(1, 20) i, unnest(enum_range(NULL::mood)) m;
    INSERT INTO listed SELECT m, 1 FROM unnest(enum_range(NULL::mood)) m; TRUNCATE log`

  it('of every kind, by enums too, are restored where the OIDs of the types are others, and nothing fires', async () => {
    const [source, target] = [await made(all), await made(all)]
    await source.run(fill)
    const before = await describeSchema(target.pool, target.schema)
    await restoreBytes(target.store, (await snapshotOf(source.store)).bytes)
    expect(await contentOf(target)).toBe(await contentOf(source))
    expect(await describeSchema(target.pool, target.schema)).toEqual(before)
    // Rows are where queries look for them, and triggers are on again.
    await target.run(`DO $$ BEGIN ASSERT (SELECT count(*) FROM by_mood WHERE mood = 'c') = 20; ASSERT (SELECT count(*) FROM nested WHERE mood = 'd' AND at < '2020-01-01') = 7; END $$`)
    await target.run(`INSERT INTO nested SELECT m, now(), '' FROM unnest(enum_range(NULL::mood)) m`)
    expect((await contentOf(target)).match(/^\(by_statement\)$/gm)).toHaveLength(1)
    // And back again, though rows are in other partitions by now.
    const again = await made(all)
    await restoreBytes(again.store, (await snapshotOf(target.store)).bytes)
    expect(await contentOf(again)).toBe(await contentOf(target))
  })

  it('are restored by restoreInto, though partitions hold other numbers of rows then', async () => {
    const [source, target] = [await made(all), await made(all)]
    await source.run(fill)
    const destination = fsDestination({ path: await tempDir() })
    const { backupId } = await runBackup({ store: source.store, destination })
    await restoreInto({ target: target.store, destination, backupId })
    expect(await contentOf(target)).toBe(await contentOf(source))
  })

  it('by hash, some in another schema: are refused by name when the hash is not portable, and restored when it is', async () => {
    const outside = await made('')
    const tables = (place: string): string => `${types}; CREATE TABLE t (m mood, n int) PARTITION BY HASH (m); CREATE TABLE t_0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0);
      CREATE TABLE ${place}t_1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1)`
    const split = await made(tables(`${quote(outside.schema)}.`))
    expect(await refused(snapshotOf(split.store), 'backup_unsupported')).toMatchObject({ message: containing('not all partitions of t are in it'), hint: containing('one schema') })
    const { pool, schema } = await made(tables(''))
    const leaving = postgresBackupable(pool, { schema, payloadIds: NO_PAYLOADS, schemaVersion: 1, worker: false, leaveOut: ['t_1'] })
    await refused(snapshotOf(leaving), 'backup_unsupported')
    const portable = (place: string): string => tables(place).replace('(m mood', '(m text')
    const [source, target] = await Promise.all(
      ['a', 'b'].map((name) => made(portable(`${quote(outside.schema)}.${name}`), { leaveOut: [`${outside.schema}.${name}t_1`] })),
    ) as [Made, Made]
    await source.run(`INSERT INTO t SELECT md5(i::text), i FROM generate_series(1, 50) i`)
    await restoreBytes(target.store, (await snapshotOf(source.store)).bytes)
    const rows = async (of: string): Promise<unknown> => (await pool.query(`SELECT * FROM ${quote(of)}.t_0 ORDER BY n`)).rows
    expect(await rows(target.schema)).toEqual(await rows(source.schema))
  })

  it('whose bounds are others in the target are put where they belong there; rows that belong nowhere are schema_version_mismatch', async () => {
    const tables = (bound: number): string => `CREATE TABLE t (n int) PARTITION BY RANGE (n); CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (${bound}); CREATE TABLE high PARTITION OF t FOR VALUES FROM (${bound}) TO (100)`
    const source = await made(tables(10))
    await source.run('INSERT INTO t SELECT generate_series(0, 99)')
    const { bytes } = await snapshotOf(source.store)
    const target = await made(tables(50))
    await restoreBytes(target.store, bytes)
    expect(await contentOf(target)).toBe(await contentOf(source))
    const narrow = await made(tables(10).replace('TO (100)', 'TO (50)'))
    expect(await refused(restoreBytes(narrow.store, bytes), 'schema_version_mismatch')).toMatchObject({ message: containing('no partition of relation "t"'), details: { table: 't' } })
  })

  it('by such a hash are refused by name where a constraint is of one partition alone, or refers to it', async () => {
    const tables = `${types}; CREATE TABLE t (m mood PRIMARY KEY) PARTITION BY HASH (m); CREATE TABLE t_0 PARTITION OF t FOR VALUES WITH (MODULUS 1, REMAINDER 0)`
    await snapshotOf((await made(`${tables}; CREATE TABLE refers (m mood REFERENCES t)`)).store)
    // Each partition has a constraint trigger of the whole table, as a constraint that seems its own.
    const changed = `CREATE FUNCTION changed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`
    await snapshotOf((await made(`${tables}; ${changed}; CREATE CONSTRAINT TRIGGER told AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION changed()`)).store)
    for (const own of ['CREATE TABLE refers (m mood CONSTRAINT own REFERENCES t_0)', `ALTER TABLE t_0 ADD CONSTRAINT own CHECK (m <> 'a')`]) {
      const error = await refused(snapshotOf((await made(`${tables}; ${own}`)).store), 'backup_unsupported')
      expect(error).toMatchObject({ message: containing('the constraint own is of one partition of t'), hint: containing('Drop the constraint'), details: { table: 't', constraint: 'own' } })
    }
  })
})

describe('a table of another schema', () => {
  it.each([
    ['partition', 'CREATE TABLE "T" (n int) PARTITION BY RANGE (n); CREATE TABLE %.part PARTITION OF "T" DEFAULT'],
    ['child', 'CREATE TABLE "T" (n int); CREATE TABLE %.part () INHERITS ("T")'],
  ])('that has rows of one in the schema as its %s is refused by name, unless leaveOut names it', async (_, tables) => {
    const outside = await made('')
    const { store, pool, schema } = await made(tables.replace('%', quote(outside.schema)))
    const name = `${outside.schema}.part`
    expect(await refused(snapshotOf(store), 'backup_unsupported')).toMatchObject({ message: containing(`rows of "T" are in "${name}"`), hint: containing('leaveOut'), details: { table: '"T"', name } })
    await snapshotOf(postgresBackupable(pool, { schema, payloadIds: NO_PAYLOADS, schemaVersion: 1, worker: false, leaveOut: [name] }))
  })

  it('that others see nothing of, for it is temporary, is passed over', async () => {
    const { store, pool, schema } = await made('CREATE TABLE t (n int)')
    const client = await pool.connect()
    onTestFinished(() => client.release(true))
    await client.query(`CREATE TEMPORARY TABLE child () INHERITS (${quote(schema)}.t)`)
    await snapshotOf(store)
  })

  it.each([
    ['a domain', 'CREATE DOMAIN d AS int', 'CREATE TABLE t (n %.d)', 'ALTER DOMAIN d ADD CONSTRAINT c CHECK (VALUE > 0)', 'ALTER DOMAIN d VALIDATE CONSTRAINT c', 'd'],
    ['a parent', 'CREATE TABLE p (n int)', 'CREATE TABLE t () INHERITS (%.p)', 'ALTER TABLE p ADD CONSTRAINT c CHECK (n > 0)', 'ALTER TABLE p VALIDATE CONSTRAINT c', 'p'],
  ])('or a type of it, %s with a check that is NOT VALID, is refused by name until the check is valid', async (_, outside, tables, check, validation, name) => {
    const other = await made(outside)
    const { store } = await made(tables.replace('%', quote(other.schema)))
    await snapshotOf(store)
    await other.run(`${check} NOT VALID`)
    const full = `${quote(other.schema)}.${name}`
    expect(await refused(snapshotOf(store), 'backup_unsupported')).toMatchObject({ message: containing(`the constraint c of ${full}`), hint: containing('VALIDATE'), details: { name: full, constraint: 'c' } })
    await other.run(validation)
    await snapshotOf(store)
  })
})
