/** What `verify` calls good is what a restore takes: crafted archives, whole by every frame, count and digest, against a real server. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { fsDestination } from '../../../destinations/fs/index.ts'
import type { Backupable } from '../../../src/contracts/backupable.ts'
import type { Destination } from '../../../src/contracts/destination.ts'
import { findContentCheck } from '../../../src/registry/content-checks.ts'
import { checkRestored, fillFromBackup } from '../../../src/repository/restore-content.ts'
import { openBackup } from '../../../src/repository/stored-backup.ts'
import { verifyBackup } from '../../../src/repository/verify-backup.ts'
import { postgresBackupable } from '../../../src/stores/postgres/snapshot/postgres-backupable.ts'
import { encodeTarHeader, tarEntryBytes } from '../../../src/stores/postgres/snapshot/tar-entry.ts'
import { restoreBytes, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { type Backup, idsOf, takeBackup } from '../../restore/publish.ts'
import { quickFiles } from '../../support/faulty-files.ts'
import { fillStore } from '../../support/fill-store.ts'
import { type DataFrame, dataFrames, publishCrafted, rebuilt } from '../../support/rebuilt-stream.ts'
import { randomFrom, runs, seed } from '../../support/seed.ts'
import { payloadIdsObject } from '../../support/streams.ts'
import { openStore } from './metadata-stores.ts'
import { dumpSchema, inSchema, newSchema, sharedPool } from './schemas.ts'
import { testPool } from './server.ts'

/** Rows of all kinds: many small, some that fill a slice, one that no slice can hold, text format, no columns, none at all. */
const TABLES = `
  CREATE TABLE small (id bigint PRIMARY KEY, name text, data bytea);
  CREATE TABLE large (id int PRIMARY KEY, data bytea);
  CREATE TABLE huge (data bytea);
  CREATE TYPE colour AS ENUM ('red', 'green');
  CREATE TABLE worded (id int, colours colour[]);
  CREATE TABLE bare ();
  CREATE TABLE nothing (id int);
  CREATE SEQUENCE numbers START 7`
const ROWS = `
  INSERT INTO small SELECT n, CASE WHEN n % 3 = 0 THEN NULL ELSE 'p' || n END, decode(repeat(lpad(to_hex(n % 256), 2, '0'), n % 50), 'hex') FROM generate_series(1, 500) n;
  INSERT INTO large SELECT n, decode(repeat('ab', 400000 + n), 'hex') FROM generate_series(1, 7) n;
  INSERT INTO huge VALUES (decode(repeat('cd', 9000000), 'hex')), (NULL), ('');
  INSERT INTO worded SELECT n, ARRAY['red', 'green']::colour[] FROM generate_series(1, 40) n;
  INSERT INTO bare SELECT FROM generate_series(1, 3);
  SELECT nextval('numbers')`

/** An entry of the archive, and its frame. */
interface Entry {
  readonly name: string
  readonly content: Buffer
  readonly section: number
  readonly records: number
  /** What is between the content and the end of the frame, where it is not as it must be. */
  readonly padding?: Buffer | undefined
  readonly header?: ((header: Buffer) => void) | undefined
}

interface Made {
  readonly schema: string
  readonly store: Backupable
}

type Pick = (limit: number) => number
type Mutation = (entries: readonly Entry[], pick: Pick) => readonly Entry[]

let backup: Backup
let entries: readonly Entry[]
let destination: Destination
let target: { readonly store: Backupable; readonly empty: () => Promise<void> }
const counts = { 'good and restored': 0, 'bad and refused': 0, 'good but for values that the server checks': 0 }
afterAll(() => console.log(`crafted archives (seed ${seed}): ${Object.entries(counts).map(([what, count]) => `${count} ${what}`).join(', ')}`))

beforeAll(async () => {
  const pool = await sharedPool()
  const [source, other] = [await newSchema(pool, TABLES), await newSchema(pool, TABLES)]
  const storeOf = (schema: string): Backupable => postgresBackupable(pool, { schema, payloadIds: 'SELECT name FROM small', schemaVersion: 1, worker: false })
  await inSchema(pool, source.schema, (client) => client.query(ROWS))
  backup = await takeBackup(storeOf(source.schema))
  await source.drop()
  entries = dataFrames(backup.payload).map(entryOf)
  const path = await mkdtemp(join(tmpdir(), 'holdfast-test-'))
  destination = fsDestination({ path, files: quickFiles })
  target = {
    store: storeOf(other.schema),
    empty: async () => void (await inSchema(pool, other.schema, (client) => client.query('TRUNCATE small, large, huge, worded, bare, nothing'))),
  }
  return () => rm(path, { recursive: true, force: true })
})

function entryOf({ section, records, raw }: DataFrame): Entry {
  const bytes = Number.parseInt(raw.toString('latin1', 124, 135), 8)
  return { name: raw.toString('latin1', 0, 100).replace(/\0.*$/s, ''), content: raw.subarray(512, 512 + bytes), section, records }
}

function frameOf({ name, content, section, records, padding, header = () => undefined }: Entry, index: number, { length }: readonly Entry[]): DataFrame {
  const head = Buffer.alloc(512)
  encodeTarHeader(head, { name, contentBytes: content.byteLength })
  header(head)
  const zeros = Buffer.alloc(tarEntryBytes(content.byteLength) - 512 - content.byteLength + (index === length - 1 ? 1024 : 0))
  return { section, records, raw: Buffer.concat([head, content, padding ?? zeros]) }
}

/** Changes one entry whose name matches. */
function atEntry(name: RegExp, change: (entry: Entry, pick: Pick) => Entry): Mutation {
  return (list, pick) => {
    const found = list.flatMap((entry, index) => (name.test(entry.name) ? [index] : []))
    const at = found[pick(found.length)] ?? 0
    return list.with(at, change(list[at] as Entry, pick))
  }
}

const bytes = (name: RegExp, change: (content: Buffer, pick: Pick) => Buffer): Mutation => atEntry(name, (entry, pick) => ({ ...entry, content: change(Buffer.from(entry.content), pick) }))
const json = (name: string, change: (value: never, pick: Pick) => unknown): Mutation =>
  bytes(new RegExp(`^${name}$`), (content, pick) => Buffer.from(JSON.stringify(change(JSON.parse(content.toString()) as never, pick))))
const schema = (change: (value: { tables: { name: string; directory: string; format: string; columns: { name: string; labels?: unknown; parts?: unknown }[] }[]; sequences: string[]; moneyLocale?: unknown }, pick: Pick) => object): Mutation => json('schema.json', change)
const slicesOf = (list: readonly Entry[], table: string): readonly number[] => list.flatMap(({ name }, index) => (name.startsWith(`tables/${table}/`) ? [index] : []))

/** Cuts a slice of a table in two, so many bytes after its first one, where `rows` end in the first part; the slices after it get other names. */
function cutSlice(list: readonly Entry[], at: number, [bytes, rows]: readonly [bytes: number, rows: number]): readonly Entry[] {
  const entry = list[at] as Entry
  const directory = entry.name.slice(0, -'00000000.copy'.length)
  const parts = [
    { ...entry, content: entry.content.subarray(0, bytes), records: Math.max(1, rows) },
    { ...entry, content: entry.content.subarray(bytes), records: Math.max(1, entry.records - rows) },
  ]
  let number = 0
  return list.toSpliced(at, 1, ...parts).map((other) => (other.name.startsWith(directory) ? { ...other, name: `${directory}${String(number++).padStart(8, '0')}.copy` } : other))
}

const MUTATIONS: Readonly<Record<string, Mutation>> = {
  'nothing changed': (list) => list,
  'unknown fields': schema((value) => ({ ...value, later: { anything: [1] } })),
  'JSON without spaces': json('rows.json', (value) => value),
  'another value of the same length': bytes(/large\/0{8}/, (content, pick) => {
    content[60_000 + pick(100_000)] = pick(256)
    return content
  }),

  'a mode, owner or time in a tar header': atEntry(/./, (entry, pick) => ({ ...entry, header: (head) => void (head[[105, 110, 118, 140][pick(4)] ?? 105] = 0x31) })),
  'a checksum of a tar header': atEntry(/./, (entry) => ({ ...entry, header: (head) => void (head[150] = (head[150] ?? 0) ^ 1) })),
  'a size of a tar header': atEntry(/./, (entry) => ({ ...entry, header: (head) => encodeAgain(head, entry, entry.content.byteLength + 512) })),
  'another name': atEntry(/copy$/, (entry, pick) => ({ ...entry, name: ['tables/none/00000000.copy', '../x', entry.name.replace('.copy', '.text')][pick(3)] ?? '' })),
  'padding that is not zeros': atEntry(/small/, (entry) => ({ ...entry, padding: Buffer.alloc(tarEntryBytes(entry.content.byteLength) - 512 - entry.content.byteLength, 1) })),
  'no end of the archive': atEntry(/^rows\.json$/, (entry) => ({ ...entry, padding: Buffer.alloc(tarEntryBytes(entry.content.byteLength) - 512 - entry.content.byteLength) })),

  'an entry dropped': (list, pick) => list.toSpliced(pick(list.length), 1),
  'an entry doubled': (list, pick) => {
    const at = pick(list.length)
    return list.toSpliced(at, 0, list[at] as Entry)
  },
  'two entries swapped': (list, pick) => {
    const at = pick(list.length - 1)
    const [first, second] = [list[at] as Entry, list[at + 1] as Entry]
    // Frames stay in the order of sections.
    return list.with(at, { ...second, section: first.section }).with(at + 1, { ...first, section: second.section })
  },
  'a slice of another table': (list, pick) => {
    const at = slicesOf(list, 'large')[pick(2)] ?? 0
    return list.with(at, { ...(list[at] as Entry), section: (list[at] as Entry).section - 1 })
  },
  'a count too high': atEntry(/./, (entry) => ({ ...entry, records: entry.records + 1 })),
  'a count too low': atEntry(/small|worded|bare/, (entry) => ({ ...entry, records: entry.records - 1 })),

  'slices joined': (list) => {
    const [first = 0, second = 0, ...others] = slicesOf(list, 'large')
    const [one, two] = [list[first] as Entry, list[second] as Entry]
    const joined = list.with(first, { ...one, content: Buffer.concat([one.content, two.content]), records: one.records + two.records }).toSpliced(second, 1)
    return joined.map((entry, index) => (others.includes(index + 1) ? { ...entry, name: entry.name.replace(/\d{8}/, (digits) => String(Number(digits) - 1).padStart(8, '0')) } : entry))
  },
  'a slice over the limit': (list) => {
    const [first = 0, second = 0] = slicesOf(list, 'huge')
    const [one, two] = [list[first] as Entry, list[second] as Entry]
    return list.with(first, { ...one, content: Buffer.concat([one.content, two.content]), records: two.records }).toSpliced(second, 1)
  },
  'a slice cut within a row': (list) => cutSlice(list, slicesOf(list, 'large')[0] ?? 0, [100_000, 0]),
  'a slice cut between rows': (list) => cutSlice(list, slicesOf(list, 'large')[0] ?? 0, [19 + 2 + 8 + 4 + 400_001, 1]),
  'a slice without a byte': (list) => cutSlice(list, slicesOf(list, 'small')[0] ?? 0, [0, 0]),
  'a table of a header and a trailer': (list) => {
    const at = slicesOf(list, 'small')[0] ?? 0
    const content = Buffer.concat([(list[at] as Entry).content.subarray(0, 19), Buffer.of(0xff, 0xff)])
    return list.toSpliced(at, 0, { name: 'tables/nothing/00000000.copy', content, section: (list[at] as Entry).section - 1, records: 1 })
  },

  'a header of COPY changed': bytes(/(?:small|large|huge)\/0{8}/, (content, pick) => {
    const at = pick(19)
    content[at] = (content[at] ?? 0) ^ 1
    return content
  }),
  'no trailer of COPY': bytes(/small/, (content) => content.subarray(0, -2)),
  'bytes after the trailer of COPY': bytes(/small|large\/00000002/, (content, pick) => Buffer.concat([content, Buffer.alloc(1 + pick(5))])),
  'a row of more columns': bytes(/small/, (content) => {
    content[20] = 4
    return content
  }),
  'a length of -2': bytes(/small/, (content) => {
    content.writeInt32BE(-2, 21)
    return content
  }),
  'a length beyond the slice': bytes(/small/, (content) => {
    content.writeInt32BE(0x7fffffff, 21)
    return content
  }),
  'rows cut short': bytes(/small|huge\/00000001/, (content, pick) => content.subarray(0, content.byteLength - 3 - pick(20))),
  'a row of text dropped': bytes(/worded/, (content) => content.subarray(content.indexOf('\n') + 1)),
  'a tab in a row of text': bytes(/worded/, (content) => Buffer.concat([Buffer.from('\t'), content])),
  'no line end after the last row of text': bytes(/worded|bare/, (content) => content.subarray(0, -1)),

  'a count of rows too high': json('rows.json', (value: { rows: number }[], pick) => value.with(pick(value.length), { ...value[0], rows: 1e6 } as never)),
  'a count of rows one less': json('rows.json', (value: { rows: number }[]) => value.map((row) => ({ ...row, rows: Math.max(0, row.rows - 1) }))),
  'rows of a table missing': json('rows.json', (value: object[]) => value.slice(1)),
  'rows not JSON': bytes(/rows\.json/, (content) => content.subarray(0, -4)),
  'sequences: one missing': json('sequences.json', (value: object[]) => value.slice(1)),
  'sequences: beyond 8 bytes': json('sequences.json', (value: object[]) => value.map((sequence) => ({ ...sequence, lastValue: '9223372036854775808' }))),
  'sequences: not a number': json('sequences.json', (value: object[]) => value.map((sequence) => ({ ...sequence, lastValue: '1e3' }))),
  'sequences: not UTF-8': bytes(/sequences\.json/, (content) => Buffer.concat([content, Buffer.of(0xff)])),
  'schema: another format': schema((value) => ({ ...value, format: 'other' })),
  'schema: money in another spelling': schema((value) => ({ ...value, moneyLocale: 'de_DE' })),
  'schema: another version': schema((value) => ({ ...value, version: 2 })),
  'schema: a directory twice': schema((value) => ({ ...value, tables: value.tables.map((table) => ({ ...table, directory: 'small' })) })),
  'schema: tables in another order': schema((value) => ({ ...value, tables: value.tables.toReversed() })),
  'schema: a table twice': schema((value) => ({ ...value, tables: [...value.tables, value.tables[0]] })),
  'schema: a column twice': schema((value) => ({ ...value, tables: value.tables.map((table) => ({ ...table, columns: [...table.columns, ...table.columns] })) })),
  'schema: parts that are not text': schema((value) => ({ ...value, tables: value.tables.map((table) => ({ ...table, columns: table.columns.map((column) => ({ ...column, parts: [1] })) })) })),
  'schema: labels that are not text': schema((value) => ({ ...value, tables: value.tables.map((table) => ({ ...table, columns: table.columns.map((column) => ({ ...column, labels: [[1]] })) })) })),
  'schema: binary for text': schema((value) => ({ ...value, tables: value.tables.map((table) => ({ ...table, format: 'binary' })) })),
  'schema: text for binary': schema((value) => ({ ...value, tables: value.tables.map((table) => ({ ...table, format: 'text' })) })),

  'a number of another width': bytes(/small/, (content) => {
    // The first row's bigint loses a byte, which the server alone can miss.
    content.writeInt32BE(7, 21)
    return Buffer.concat([content.subarray(0, 25), content.subarray(26)])
  }),
}

/** Writes a header anew for another size. */
function encodeAgain(head: Buffer, { name }: Entry, contentBytes: number): void {
  head.fill(0)
  encodeTarHeader(head, { name, contentBytes })
}

async function verdictOf(task: () => Promise<unknown>): Promise<{ readonly code: string; readonly message: string; readonly cause?: unknown }> {
  return await task().then(() => ({ code: 'good', message: '' }), (error: unknown) => error as { code: string; message: string; cause?: unknown })
}

async function restored(backupId: string): Promise<void> {
  const opened = await openBackup({ destination, backupId })
  try {
    await fillFromBackup(target.store, opened)
    await checkRestored(target.store, opened)
  } finally {
    await target.empty()
  }
}

test.each(Object.entries(MUTATIONS))('%s', async (name, mutate) => {
  for (let run = 0; run < runs(5); run++) {
    const random = randomFrom(seed + run)
    const list = mutate(entries, (limit) => Math.floor(random() * limit))
    const stream = await rebuilt(backup.payload, { frames: list.map(frameOf) })
    const backupId = await publishCrafted(destination, stream, { ids: backup.payloadIds })
    const verified = await verdictOf(() => verifyBackup({ destination, backupId, contentCheck: findContentCheck }))
    const outcome = await verdictOf(() => restored(backupId))
    await destination.delete(backupId)
    const which = `run ${run}: verify says ${verified.code} ${verified.message}; restore says ${outcome.code} ${outcome.message}`
    if (name === 'a number of another width') {
      expect([verified.code, outcome.code], which).toEqual(['good', 'restore_corrupt'])
      counts['good but for values that the server checks']++
      continue
    }
    expect(verified.code === 'good', which).toBe(outcome.code === 'good')
    expect(verified.code === 'good', which).toBe(/^(?:nothing changed|unknown fields|JSON without spaces|another value of the same length)$/.test(name))
    counts[verified.code === 'good' ? 'good and restored' : 'bad and refused']++
  }
})

test('the payload IDs of a metadata store are those in its rows, and the object says the same', async () => {
  const [source, other] = [await openStore(), await openStore()]
  await fillStore(source)
  const whole = await takeBackup(source)
  const ids = await idsOf(whole)
  const frames = dataFrames(whole.payload)
  const refused = async (change: readonly DataFrame[], given: readonly string[]): Promise<void> => {
    const stream = await rebuilt(whole.payload, { frames: change, ids: given })
    const backupId = await publishCrafted(destination, stream, { ids: (await payloadIdsObject(given)).bytes })
    await expect(verifyBackup({ destination, backupId, contentCheck: findContentCheck })).rejects.toMatchObject({ code: 'checksum_mismatch', message: expect.stringContaining('payload IDs in the records') })
    await expect(fillFromBackup(other, await openBackup({ destination, backupId }))).rejects.toMatchObject({ code: 'restore_corrupt', message: expect.stringContaining('refers to') })
  }
  await refused(frames, [...ids, 'zzz-more'])
  await refused(frames, ids.slice(1))
  await refused(frames.map((frame) => ({ ...frame, raw: Buffer.from(frame.raw.toString('latin1').replace('block-699', 'block-69x'), 'latin1') })), ids)
  const backupId = await publishCrafted(destination, whole.payload, { ids: whole.payloadIds })
  expect(await verifyBackup({ destination, backupId, contentCheck: findContentCheck })).toMatchObject({ level: 'content', checkedContent: 'all' })
  await fillFromBackup(other, await openBackup({ destination, backupId }))
})

test('money in text format is read as the archive says; an archive that does not say leaves the setting of the target', async () => {
  const tables = "CREATE TYPE mood AS ENUM ('a'); CREATE TABLE t (moods mood[], price money"
  const admin = await sharedPool()
  // A locale of another name than the one that backups use.
  const pool = await testPool({ options: '-c lc_monetary=POSIX' })
  const storeOf = async (columns: string, payloadIds = 'SELECT NULL::text WHERE false'): Promise<Made> => {
    const { schema, drop } = await newSchema(admin, `${tables}${columns})`)
    onTestFinished(drop)
    return { schema, store: postgresBackupable(pool, { schema, payloadIds, schemaVersion: 1, worker: false }) }
  }
  const source = await storeOf('')
  await inSchema(admin, source.schema, (client) => client.query("INSERT INTO t VALUES ('{a}', 1234567.89::numeric::money)"))
  const bytes = Buffer.from((await snapshotOf(source.store)).bytes)
  const spelledBy = await storeOf('', "SELECT current_setting('lc_monetary')")
  expect((await snapshotOf(spelledBy.store)).payloadIds).toEqual(['C'])

  const list = dataFrames(bytes).map(entryOf)
  const old = schema(({ moneyLocale: _, ...value }) => value)(list, () => 0)
  for (const [given, locale] of [[list, 'C'], [old, 'POSIX']] as const) {
    const target = await storeOf(`, CHECK (current_setting('lc_monetary') = '${locale}')`)
    await restoreBytes(target.store, await rebuilt(bytes, { frames: given.map(frameOf) }))
    expect(await dumpSchema(admin, target.schema)).toBe('t\n({a},"$1,234,567.89")')
  }
})
