import { setTimeout as delay } from 'node:timers/promises'
import * as fc from 'fast-check'
import { MemoryLevel } from 'memory-level'
import { describe, expect, test } from 'vitest'
import { RecordInvalidError, RestoreCorruptError, StoreUnavailableError } from '../../../src/errors/errors.ts'
import { SnapshotWriter } from '../../../src/format/snapshot-writer.ts'
import { levelBackupable } from '../../../src/stores/level/engine/level-backupable.ts'
import { CollectingSink, CountingSource, dataFrames, restoreBytes, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { runs, seed } from '../../support/seed.ts'
import { type TestEngine, ENGINES, backupableOptions, dump, openDatabase, put } from './backupable-stores.ts'
import { NO_SINK as SINK, openForTest as open, rejection } from './backupable-test-support.ts'
import { payloadIds } from './payload-ids-of-test-record.ts'

describe.each(ENGINES)('levelBackupable() of %s', (engine) => {
  test('fails with record_invalid for records whose payload IDs cannot be read, naming the first 20 and counting all', async () => {
    const db = await open(engine)
    for (let index = 0; index < 1500; index++) await put(db, `k${String(index).padStart(4, '0')}`, index % 50 === 7 ? 'undecodable' : 'fine')
    const sink = new CollectingSink()
    const error = await rejection(levelBackupable(db, backupableOptions(engine)).backup(sink))
    expect(error).toBeInstanceOf(RecordInvalidError)
    expect(error).toMatchObject({ code: 'record_invalid', details: { key: 'k0007', count: 30 }, cause: { name: 'TypeError' } })
    expect((error as RecordInvalidError).details['keys']).toEqual(Array.from({ length: 20 }, (_, at) => `k${String(at * 50 + 7).padStart(4, '0')}`))
    expect(sink.summary).toBeUndefined()
  })

  test('fails with invalid_argument, which names the function and not the record as wrong, for what is not a payload ID', async () => {
    const payloadId = 'x'.repeat(256)
    const db = await open(engine)
    await put(db, 'a', 'fine')
    await put(db, 'b', `payload:${payloadId}`)
    const error = await rejection(levelBackupable(db, backupableOptions(engine)).backup(SINK))
    expect(error).toMatchObject({ code: 'invalid_argument', details: { key: 'b' }, hint: expect.stringMatching(/^Mend the function that is given as payloadIds/) as string })
    expect((error as Error).message).toBe(
      `Cannot back up record "b": payloadIds() gave ${JSON.stringify(payloadId.slice(0, 64))}; it must return payload IDs, an iterable of strings of 1 to 255 printable ASCII characters, without spaces`,
    )
  })

  test('restore() of a snapshot with other sections is refused with store_kind_mismatch: it is another store, not a damaged one', async () => {
    const db = await open(engine)
    const bytes = await forged([[0, ['a', '']]], ['others'])
    expect(await rejection(restoreBytes(levelBackupable(db, backupableOptions(engine)), bytes))).toMatchObject({
      code: 'store_kind_mismatch',
      details: { expected: ['entries'], actual: ['others'] },
    })
    expect(await db.keys().all()).toEqual([])
  })

  test('reads text exactly: a record that is not valid UTF-8 fails with record_invalid, replacement characters and byte order marks pass', async () => {
    const db = await open(engine)
    for (const text of ['', '\ufeff', '\ufeff\ufeffa', '\ufffd', 'a\ufffd', '\u{10ffff}', '\uffff', '\0']) await put(db, `k${text}`, `${text}v`)
    const source = levelBackupable(db, backupableOptions(engine))
    const { bytes } = await snapshotOf(source)
    const target = await open(engine)
    await restoreBytes(levelBackupable(target, backupableOptions(engine)), bytes)
    expect(await dump(target)).toBe(await dump(db))
    for (const [key, value] of [['lone', [0xff]], ['surrogate', [0xed, 0xa0, 0x80]], ['overlong', [0xc0, 0x80]], ['cut', [0xe6, 0x97]]] as const) {
      await put(db, key, Uint8Array.from(value))
      expect(await rejection(source.backup(SINK))).toMatchObject({ code: 'record_invalid', hint: expect.stringContaining('encoding "bytes"') as unknown, details: { keys: [key], count: 1 } })
      await db.del(Buffer.from(key))
      await put(db, Uint8Array.from([0x6b, ...value]), 'key')
      expect(await rejection(source.backup(SINK))).toMatchObject({ code: 'record_invalid', details: { count: 1 } })
      await db.del(Uint8Array.from([0x6b, ...value]))
    }
    await snapshotOf(source)
  })

  test('orders keys by their bytes, where UTF-16 has another order', async () => {
    const db = await open(engine)
    for (const key of ['\u{1f600}', '\uffee', '\ue000', '\u{10000}', '\ud7ff', 'é', 'z', '']) await put(db, `k${key}`, key)
    const { bytes } = await snapshotOf(levelBackupable(db, backupableOptions(engine)))
    const target = await open(engine)
    await restoreBytes(levelBackupable(target, backupableOptions(engine)), bytes)
    expect(await dump(target)).toBe(await dump(db))
  })

  test('fails with record_invalid for a key in no section, and passes over own keys wherever they are', async () => {
    const db = await open(engine)
    for (const key of ['a/1', 'm/1', 'z/1']) await put(db, key, 'v')
    const sections = [{ name: 'a', gte: 'a/', lt: 'a0' }, { name: 'z', gte: 'z/', lt: 'z0' }]
    const foreign = levelBackupable(db, backupableOptions(engine, { sections }))
    expect(await rejection(foreign.backup(SINK))).toMatchObject({ code: 'record_invalid', hint: expect.stringContaining('"sections"') as unknown, details: { keys: ['m/1'] } })
    const own = levelBackupable(db, backupableOptions(engine, { sections, ownKeys: { gte: 'm/', lt: 'm0' } }))
    expect((await snapshotOf(own)).summary.records).toEqual({ a: 1, z: 1 })
    const whole = levelBackupable(db, backupableOptions(engine, { ownKeys: { gte: 'm/', lt: 'm0' } }))
    const { bytes, summary } = await snapshotOf(whole)
    expect(summary.records).toEqual({ entries: 2 })
    const target = await open(engine)
    await put(target, 'm/own', 'kept')
    await restoreBytes(levelBackupable(target, backupableOptions(engine, { ownKeys: { gte: 'm/', lt: 'm0' } })), bytes)
    expect(await target.keys({ keyEncoding: 'utf8' }).all()).toEqual(['a/1', 'm/own', 'z/1'])
  })

  test('restore() keeps own keys when it fails', async () => {
    const db = await open(engine)
    await put(db, 'own/1', 'kept')
    const store = levelBackupable(db, backupableOptions(engine, { ownKeys: { gte: 'own/', lt: 'own0' } }))
    const bytes = await forged([[0, ['a', 'v']], [0, ['z', 'v']], [0, ['b', 'v']]])
    expect(await rejection(restoreBytes(store, bytes))).toMatchObject({ code: 'restore_corrupt', frame: 3 })
    expect(await db.keys({ keyEncoding: 'utf8' }).all()).toEqual(['own/1'])
  })

  test('restore() refuses keys out of order, doubled, in the wrong section or of the store itself with restore_corrupt', async () => {
    const db = await open(engine)
    const sections = [{ name: 'first', lt: 'm' }, { name: 'last', gte: 'n' }]
    const store = levelBackupable(db, backupableOptions(engine, { sections, ownKeys: { gte: 'x', lt: 'y' } }))
    const names = ['first', 'last']
    for (const records of [
      [[0, ['b', '']], [0, ['a', '']]],
      [[0, ['a', '']], [0, ['a', '1']]],
      [[0, ['z', '']]],
      [[1, ['a', '']]],
      [[0, ['mm', '']]],
      [[1, ['x1', '']]],
    ] as const) {
      const error = await rejection(restoreBytes(store, await forged(records, names)))
      expect(error, JSON.stringify(records)).toBeInstanceOf(RestoreCorruptError)
      expect((error as RestoreCorruptError).offset).toBeGreaterThan(0)
      expect(await dump(db)).toBe('')
    }
    await restoreBytes(store, await forged([[0, ['a', '']], [1, ['n', '']], [1, ['z', '']]], names))
  })

  test('closing the database ends a backup and a restore with store_unavailable', async () => {
    const db = await open(engine)
    for (let index = 0; index < 20; index++) await put(db, `k${index}`, 'x'.repeat(1_000_000))
    const store = levelBackupable(db, backupableOptions(engine))
    const { bytes } = await snapshotOf(store)
    let closed: Promise<void> | undefined
    const write = async (): Promise<void> => {
      closed ??= db.close()
      await delay(20)
    }
    const ended = await rejection(store.backup({ ...SINK, write }))
    expect(ended).toBeInstanceOf(StoreUnavailableError)
    expect(ended).toMatchObject({ hint: 'Use the handle before it is closed, or open another one' })
    await closed
    const target = await open(engine)
    const source = new CountingSource(bytes, { chunkBytes: 1_000_000, onChunk: (read) => void (read > 5_000_000 && (closed = target.close())) })
    expect(await rejection(levelBackupable(target, backupableOptions(engine)).restore(source))).toMatchObject({ code: 'store_unavailable', hint: 'Use the handle before it is closed, or open another one' })
    await closed
    expect(await rejection(store.backup(SINK))).toMatchObject({ code: 'store_unavailable' })
  })

  test('backup() writes no faster than maxBytesPerSecond', async () => {
    const db = await open(engine)
    for (let index = 0; index < 10; index++) await put(db, `k${index}`, 'x'.repeat(300_000))
    const startMs = performance.now()
    const { bytes } = await snapshotOf(levelBackupable(db, backupableOptions(engine)), { maxBytesPerSecond: 6_000_000 })
    const lastChunkBytes = 1_100_000
    expect(performance.now() - startMs).toBeGreaterThan(((bytes.byteLength - lastChunkBytes) / 6_000_000) * 1000 * 0.9)
    await expect(levelBackupable(db, backupableOptions(engine)).backup(SINK, { maxBytesPerSecond: 0 })).rejects.toThrow(RangeError)
  })

  test('backup() refuses a record that no frame can hold by its key and the limit, and takes one that just fits', async () => {
    const db = await open(engine)
    await put(db, 'big', 'x'.repeat(16 * 1024 * 1024 - 100))
    const store = levelBackupable(db, backupableOptions(engine))
    const { bytes } = await snapshotOf(store)
    const target = await open(engine)
    await restoreBytes(levelBackupable(target, backupableOptions(engine)), bytes)
    expect((await target.get(Buffer.from('big')))?.byteLength).toBe(16 * 1024 * 1024 - 100)
    await put(db, 'bigger', 'x'.repeat(16 * 1024 * 1024))
    expect(await rejection(store.backup(SINK))).toMatchObject({
      code: 'backup_unsupported',
      message: 'Cannot back up record "bigger": it has 16777222 bytes, and a backup holds records of at most 16777152',
      hint: expect.stringMatching(/payloads|several records/),
      details: { key: 'bigger', bytes: 16_777_222, limit: 16_777_152 },
    })
  })
})

describe('levelBackupable() in general', () => {
  test('counts the key of a record too: one byte over the limit is refused', async () => {
    const db = new MemoryLevel()
    const store = levelBackupable(db, { payloadIds: () => [] })
    await db.put('k'.repeat(64), 'x'.repeat(16 * 1024 * 1024 - 127))
    expect(await rejection(store.backup(SINK))).toMatchObject({ code: 'backup_unsupported', details: { bytes: 16_777_153 } })
    await db.put('k'.repeat(64), 'x'.repeat(16 * 1024 * 1024 - 128))
    await snapshotOf(store)
  })

  test('refuses keys that a database sorts by UTF-16, in an order that no restore would take, also over the edge of a frame', async () => {
    const db = new MemoryLevel({ storeEncoding: 'utf8' })
    const store = levelBackupable(db, { payloadIds: () => [] })
    await db.batch(Array.from({ length: 1500 }, (_, at) => ({ type: 'put', key: `\u{1f600}${String(at).padStart(4, '0')}`, value: '' }) as const))
    await snapshotOf(store)
    await db.put('\uff5e', '')
    expect(await rejection(store.backup(SINK))).toMatchObject({ code: 'backup_unsupported', message: expect.stringContaining('order of their bytes'), hint: expect.stringContaining('storeEncoding') })
    await db.clear({ gte: '\u{1f600}1000', lt: '\u{1f600}~' })
    expect(await rejection(store.backup(SINK))).toMatchObject({ code: 'backup_unsupported' })
  })

  test('a snapshot of each engine restores into each other, with the same frames', async () => {
    for (const from of ENGINES) {
      const source = await open(from)
      for (let index = 0; index < 2500; index++) await put(source, `k${index}`, `payload:${index % 7} ${'日'.repeat(index % 900)}`)
      const { bytes } = await snapshotOf(levelBackupable(source, backupableOptions(from)))
      for (const to of ENGINES) {
        const target = await open(to)
        const store = levelBackupable(target, backupableOptions(to))
        await restoreBytes(store, bytes)
        expect(await dump(target)).toBe(await dump(source))
        expect(await dataFrames((await snapshotOf(store)).bytes)).toEqual(await dataFrames(bytes))
      }
    }
  })

  test('any map of keys and values survives a round trip across engines', async () => {
    const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 40 }), fc.constantFrom('\ufeff', '\ufffd', '\0', '\u{10ffff}'))
    const bytes = fc.uint8Array({ maxLength: 40 })
    const cases = fc.oneof(
      fc.record({ encoding: fc.constant('text' as const), entries: fc.array(fc.tuple(text.filter(isWellFormed), text.filter(isWellFormed)), { maxLength: 60 }) }),
      fc.record({ encoding: fc.constant('bytes' as const), entries: fc.array(fc.tuple(bytes, bytes), { maxLength: 60 }) }),
    )
    const engines = fc.constantFrom<TestEngine>('memory', 'memory of views', 'classic')
    await fc.assert(
      fc.asyncProperty(cases, engines, engines, async ({ encoding, entries }, from, to) => {
        const [source, target] = [await openDatabase(from), await openDatabase(to)]
        try {
          for (const [key, value] of entries) await put(source.db, key, value)
          const { bytes } = await snapshotOf(levelBackupable(source.db, { payloadIds: () => [], encoding }))
          await restoreBytes(levelBackupable(target.db, { payloadIds: () => [], encoding }), bytes)
          expect(await dump(target.db)).toBe(await dump(source.db))
        } finally {
          await source.cleanup()
          await target.cleanup()
        }
      }),
      { seed, numRuns: runs(150) },
    )
  })

  test('reads text or bytes as the encodings of the database say', async () => {
    for (const [valueEncoding, type] of [['utf8', 'string'], ['json', 'string'], ['buffer', 'object'], ['view', 'object']] as const) {
      const db = new MemoryLevel<string, unknown>({ valueEncoding })
      await db.put('k', valueEncoding === 'json' ? { a: 1 } : Buffer.from('{"a":1}'))
      const seen: string[] = []
      const extractor = (key: string, value: string | Uint8Array): string[] => {
        seen.push(typeof key, typeof value, Buffer.from(value).toString())
        return []
      }
      await snapshotOf(levelBackupable(db, { payloadIds: extractor }))
      expect(seen).toEqual(['string', type, '{"a":1}'])
      await db.close()
    }
  })

  test('refuses sections that overlap or are out of order, and names its kind by whether it lasts', async () => {
    const db = new MemoryLevel()
    const of = (...sections: { name: string; gte?: string; lt?: string }[]) => () => levelBackupable(db, { payloadIds, sections })
    expect(of({ name: 'b', gte: 'b' }, { name: 'a', lt: 'b' })).toThrow(RangeError)
    expect(of({ name: 'a', lt: 'c' }, { name: 'b', gte: 'b' })).toThrow(RangeError)
    expect(of({ name: 'a', gte: 'c', lt: 'b' })).toThrow(RangeError)
    expect(levelBackupable(db, { payloadIds }).kind).toBe('memory')
    expect(levelBackupable(await open('classic'), { payloadIds }).kind).toBe('level')
    await db.close()
  })

  test('fails with invalid_argument for payload IDs that are not a list of texts: a text alone is not taken for its letters', async () => {
    const db = new MemoryLevel()
    await db.put('k', 'p1')
    for (const wrong of ['p1', ['two words'], ['Müller'], [''], ['line\n'], [1], [undefined], [['a', 'b']], [{}], undefined, null, Promise.resolve(['p1'])]) {
      const store = levelBackupable(db, { payloadIds: () => wrong as string[] })
      expect(await rejection(store.backup(SINK)), JSON.stringify(wrong)).toMatchObject({ code: 'invalid_argument', details: { key: 'k' } })
    }
    expect((await snapshotOf(levelBackupable(db, { payloadIds: () => new Set(['p1']) }))).payloadIds).toEqual(['p1'])
    await db.close()
  })

  test('takes no async function, and no database of an older abstract-level', async () => {
    const db = new MemoryLevel()
    // @ts-expect-error -- a promise is not a list
    expect(() => levelBackupable(db, { payloadIds: async (_key: string, value: string) => [value] })).toThrow(
      new TypeError('Cannot call levelBackupable(): "payloadIds" must be a function that is not async, or the URL of a module, not an async function'),
    )
    // @ts-expect-error -- it must be given
    expect(() => levelBackupable(db, {})).toThrow('Cannot call levelBackupable(): "payloadIds" is missing; it must be a function that is not async')
    const older = { supports: { permanence: true, snapshots: true, encodings: { utf8: true } }, iterator() {}, batch() {} } as unknown as MemoryLevel
    expect(() => levelBackupable(older, { payloadIds })).toThrow(
      'Cannot call levelBackupable(): "db" must be a database of abstract-level 2 or 3, such as classic-level 3, which opens the files of every older version, memory-level 3 or level 10, not an object',
    )
    await db.close()
  })

  test('takes functions of what is stored, not of what an encoding makes of it', () => {
    interface Doc {
      readonly payloads: readonly string[]
    }
    const db = new MemoryLevel<string, Doc>({ valueEncoding: 'json' })
    levelBackupable(db, { payloadIds: (_key, value) => (JSON.parse(value) as Doc).payloads })
    levelBackupable(db, { payloadIds: (_key: Uint8Array, value: Uint8Array) => [Buffer.from(value).toString()] })
    levelBackupable(db, { payloadIds: (_key: string, value: string | Uint8Array) => [value.toString()] })
    // @ts-expect-error -- the value is text
    levelBackupable(db, { payloadIds: (_key: string, value: Doc) => value.payloads })
    // @ts-expect-error -- the key is text
    levelBackupable(db, { payloadIds: (key: number) => [String(key)] })
  })

  test('backs up and restores a database that stores text, and refuses to read bytes from it or to restore bytes into it', async () => {
    const db = new MemoryLevel({ storeEncoding: 'utf8' })
    const options = { payloadIds: () => [] }
    await db.batch([{ type: 'put', key: 'a', value: '\ufffd' }, { type: 'put', key: 'b', value: 'text' }])
    expect(() => levelBackupable(db, { ...options, encoding: 'bytes' })).toThrow(new TypeError('Cannot call levelBackupable(): "encoding" must be "text" for a database that stores text'))
    const { bytes } = await snapshotOf(levelBackupable(db, options))
    const records = await db.iterator().all()
    await db.clear()
    await restoreBytes(levelBackupable(db, options), bytes)
    expect(await db.iterator().all()).toEqual(records)
    const other = new MemoryLevel<Buffer, Buffer>({ keyEncoding: 'buffer', valueEncoding: 'buffer' })
    await other.put(Buffer.from([0xff]), Buffer.from([0xff]))
    const ofBytes = await snapshotOf(levelBackupable(other, { payloadIds: () => [] }))
    await db.clear()
    await expect(restoreBytes(levelBackupable(db, options), ofBytes.bytes)).rejects.toMatchObject({ code: 'backup_unsupported' })
    expect(await db.keys().all()).toEqual([])
    await Promise.all([db.close(), other.close()])
  })

  test('reads from one implicit snapshot where there are no explicit ones, and refuses a database with neither', async () => {
    const db = new MemoryLevel()
    await db.put('k', 'payload:p \ufffd')
    const implicit = limited(db, { explicitSnapshots: false })
    expect((await snapshotOf(levelBackupable(implicit, { payloadIds }))).payloadIds).toEqual(['p'])
    const none = limited(db, { explicitSnapshots: false, implicitSnapshots: false })
    expect(await rejection(levelBackupable(none, { payloadIds }).backup(SINK))).toMatchObject({ code: 'backup_unsupported' })
    await db.close()
  })
})

/** The same database with less support. */
function limited(db: MemoryLevel, lacks: object): MemoryLevel {
  const supports = { ...db.supports, ...lacks }
  return new Proxy(db, {
    get(target, name) {
      if (name === 'supports') return supports
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

/** A whole stream of records that no store would write: one frame each. */
async function forged(records: readonly (readonly [section: number, record: readonly [string, string]])[], sections: readonly string[] = ['entries']): Promise<Uint8Array> {
  const sink = new CollectingSink()
  const writer = new SnapshotWriter(sink, { storeKind: 'level', storeId: 'default', schemaVersion: 1, sections, createdAtMs: 0 })
  await writer.start()
  for (const [section, record] of records) await writer.writeRecords(section, [record])
  await writer.finish({ count: 0, digest: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' })
  return Buffer.concat(sink.chunks)
}

/** No lone surrogates, which UTF-8 cannot hold. */
function isWellFormed(text: string): boolean {
  return Buffer.from(text).toString() === text
}
