/** What every destination must do, for any test runner. */
import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { isUlid, newUlid } from '../../src/util/ulid.ts'
import { BACKUP_OBJECTS, type BackupObject, type BackupUpload, type Destination, MAX_MANIFEST_BYTES } from '../../src/contracts/destination.ts'
import { registerTest, type TestRunner } from './runner.ts'

/** A fresh, empty root of the tests' own, and what only its driver's author knows how to do to it. */
export interface DestinationFixture {
  readonly destination: Destination
  /** Another handle on the same root, as another process would have. */
  readonly reopen: () => Destination
  /** Every name at the root, whatever it is, `ID/object` or `ID.tmp/object` or the like; sorted. Empty when the root is not made yet. */
  readonly names: () => Promise<readonly string[]>
  /** Puts a foreign file at the root, under any name. */
  readonly plant: (name: string, content: Uint8Array) => Promise<void>
  /** Removes or replaces one object of a published backup behind the destination's back. */
  readonly damage: (backupId: string, object: BackupObject | 'manifest.json', content?: Uint8Array) => Promise<void>
  readonly cleanup: () => Promise<void>
}

export interface DestinationConformanceOptions {
  readonly name: string
  readonly runner: TestRunner
  /** Called once per test. */
  readonly factory: () => Promise<DestinationFixture>
  /** What the driver can do beyond the least. */
  readonly supports?:
    | {
        /** Of several uploads of one ID exactly one is published, also when they run at once. @default true */
        readonly exclusivePublish?: boolean | undefined
        /** What an unfinished upload left is visible to `names` and `cleanUp`. @default true */
        readonly visibleUploads?: boolean | undefined
      }
    | undefined
}

const MANIFEST = text('{"manifestVersion":1}')
const PAYLOAD = Uint8Array.from({ length: 3_000_000 }, (_, index) => (index * 31 + (index >> 8)) & 0xff)
const PAYLOAD_IDS = text('a\nb\n')
const HOUR_MS = 60 * 60 * 1000

/** IDs that are none: traversal, tricks of encoding and case, too long, too short. */
export const BAD_BACKUP_IDS: readonly string[] = [
  '',
  '.',
  '..',
  '../01ARZ3NDEKTSV4RRFFQ69G5FAV',
  '/01ARZ3NDEKTSV4RRFFQ69G5FAV',
  '/etc/passwd',
  '..\\01ARZ3NDEKTSV4RRFFQ69G5FAV',
  'C:\\windows',
  '01ARZ3NDEKTSV4RRFFQ69G5FA/',
  '01ARZ3NDEKTSV4RRFFQ69G5FAV/..',
  '01ARZ3NDEKTSV4RRFFQ69G5FAV/payload',
  '01ARZ3NDEKTSV4RRFFQ69G5FAV\0',
  '01ARZ3NDEKTSV4RRFFQ69G5FA\0',
  '01ARZ3NDEKTSV4RRFFQ69G5FAV\n',
  ' 01ARZ3NDEKTSV4RRFFQ69G5FAV',
  '01arz3ndektsv4rrffq69g5fav',
  '01ARZ3NDEKTSV4RRFFQ69G5FAv',
  '81ARZ3NDEKTSV4RRFFQ69G5FAV',
  '01ARZ3NDEKTSV4RRFFQ69G5FAI',
  '01ARZ3NDEKTSV4RRFFQ69G5FAV.tmp',
  '\u2024\u2024/01ARZ3NDEKTSV4RRFFQ69G5',
  '\uff0e\uff0e\uff0f',
  '%2e%2e%2f01ARZ3NDEKTSV4RRFFQ69G5',
  '\uff10\uff11ARZ3NDEKTSV4RRFFQ69G5FAV',
  'A'.repeat(100_000),
]

/** Declares the suite with the runner that was passed in. */
export function testDestination(options: DestinationConformanceOptions): void {
  const { name, runner, factory, supports = {} } = options
  const test: Declare = (title, body, isSupported) => {
    const run = async (): Promise<void> => {
      const fixture = await factory()
      try {
        await body(fixture)
      } finally {
        await fixture.destination.close()
        await fixture.cleanup()
      }
    }
    registerTest(runner, title, run, isSupported)
  }
  runner.describe(`Destination: ${name}`, () => {
    testUploads(test, supports.visibleUploads ?? true)
    testDuplicates(test, supports.exclusivePublish ?? true)
    testReads(test)
    testListing(test)
    testDeletes(test)
    testCleanUp(test, supports.visibleUploads ?? true)
    testArguments(test)
  })
}

/** Declares one test; where what it tries is not supported it is shown as skipped. */
type Declare = (title: string, body: (fixture: DestinationFixture) => Promise<void>, isSupported?: boolean) => void

function testUploads(test: Declare, visibleUploads: boolean): void {
  test('the factory gives an empty destination with a scheme and a URL', async ({ destination, names }) => {
    ok(destination.url.startsWith(`${destination.scheme}:`))
    deepEqual(await names(), [])
  })

  test('publish() makes a backup visible, whole, to every handle', async ({ destination, reopen }) => {
    const backupId = newUlid()
    await publish(destination, backupId)
    for (const handle of [destination, reopen()]) {
      deepEqual(await all(handle.list()), [backupId])
      deepEqual(bytes(await handle.manifest(backupId)), bytes(MANIFEST))
      ok(bytes(await joined(handle.open(backupId, 'payload'))).equals(PAYLOAD))
      deepEqual(bytes(await joined(handle.open(backupId, 'payload-ids'))), bytes(PAYLOAD_IDS))
      deepEqual(await handle.stat(backupId), { bytes: { payload: PAYLOAD.byteLength, 'payload-ids': PAYLOAD_IDS.byteLength } })
    }
  })

  test('publish() stores objects that nothing was written to as empty ones', async ({ destination }) => {
    const backupId = newUlid()
    await (await destination.put(backupId)).publish(MANIFEST)
    deepEqual(await destination.stat(backupId), { bytes: { payload: 0, 'payload-ids': 0 } })
    deepEqual(await all(destination.open(backupId, 'payload')), [])
  })

  test('write() takes chunks of any size, the empty one included', async ({ destination }) => {
    const backupId = newUlid()
    const upload = await destination.put(backupId)
    for (const size of [0, 1, 511, 512, 0, 65_537, 1_000_000]) await upload.write('payload', PAYLOAD.subarray(0, size))
    await upload.publish(MANIFEST)
    equal((await destination.stat(backupId)).bytes.payload, 1 + 511 + 512 + 65_537 + 1_000_000)
  })

  test('write() has taken the chunk when it resolves: the caller may use its memory again', async ({ destination }) => {
    const backupId = newUlid()
    const upload = await destination.put(backupId)
    const chunk = new Uint8Array(100_000)
    for (let value = 1; value <= 5; value++) await upload.write('payload', chunk.fill(value))
    chunk.fill(0)
    await upload.publish(MANIFEST)
    const stored = await joined(destination.open(backupId, 'payload'))
    deepEqual([0, 1, 2, 3, 4].map((index) => stored[index * 100_000 + 99_999]), [1, 2, 3, 4, 5])
  })

  test('nothing of a backup is visible before publish()', async ({ destination, reopen }) => {
    const backupId = newUlid()
    const upload = await start(destination, backupId)
    for (const handle of [destination, reopen()]) {
      deepEqual(await all(handle.list()), [])
      await rejects(handle.manifest(backupId), { code: 'manifest_missing' })
      await rejects(handle.stat(backupId), { code: 'manifest_missing' })
      await rejects(all(handle.open(backupId, 'payload')), { code: 'manifest_missing' })
    }
    await upload.abort()
  })

  test('abort() removes what was uploaded; again, and after publish(), it does nothing', async ({ destination, names }) => {
    const upload = await start(destination, newUlid())
    await upload.abort()
    await upload.abort()
    deepEqual(await names(), [])
    const backupId = newUlid()
    const published = await publish(destination, backupId)
    await published.abort()
    deepEqual(await all(destination.list()), [backupId])
    equal((await destination.manifest(backupId)).byteLength, MANIFEST.byteLength)
  })

  test('abort() frees the ID', async ({ destination }) => {
    const backupId = newUlid()
    await (await start(destination, backupId)).abort()
    await publish(destination, backupId)
    deepEqual(await all(destination.list()), [backupId])
  })

  test('an upload that has ended takes nothing more', async ({ destination }) => {
    const aborted = await start(destination, newUlid())
    await aborted.abort()
    await rejects(aborted.write('payload-ids', PAYLOAD_IDS))
    await rejects(aborted.publish(MANIFEST))
    const published = await publish(destination, newUlid())
    await rejects(published.write('payload-ids', PAYLOAD_IDS))
    await rejects(published.publish(MANIFEST))
    equal((await all(destination.list())).length, 1)
  })

  test('publish() takes a manifest of exactly the limit, and refuses a larger one without publishing', async ({ destination, names }) => {
    const backupId = newUlid()
    await (await start(destination, backupId)).publish(new Uint8Array(MAX_MANIFEST_BYTES).fill(0x20))
    equal((await destination.manifest(backupId)).byteLength, MAX_MANIFEST_BYTES)
    await destination.delete(backupId)
    const upload = await start(destination, newUlid())
    await rejects(upload.publish(new Uint8Array(MAX_MANIFEST_BYTES + 1)), { code: 'manifest_invalid' })
    deepEqual(await all(destination.list()), [])
    await upload.abort()
    deepEqual(await names(), [])
  })

  test('put() and publish() end with the reason of an aborted signal, publishing nothing', async ({ destination, names }) => {
    const reason = new Error('enough')
    await rejects(destination.put(newUlid(), { signal: AbortSignal.abort(reason) }), reason)
    const controller = new AbortController()
    const upload = await destination.put(newUlid(), { signal: controller.signal })
    await upload.write('payload', PAYLOAD)
    controller.abort(reason)
    await rejects(upload.write('payload-ids', PAYLOAD_IDS), reason)
    await rejects(upload.publish(MANIFEST), reason)
    await upload.abort()
    deepEqual(await names(), [])
  })

  test('several backups may be uploaded at once', async ({ destination }) => {
    const ids = Array.from({ length: 5 }, () => newUlid())
    await Promise.all(ids.map((backupId) => publish(destination, backupId)))
    deepEqual(await all(destination.list()), ids)
  })

  test('validate() resolves with warnings of a code and a message, and leaves nothing behind', async ({ destination, names }) => {
    const warnings = await destination.validate()
    for (const warning of warnings) ok(/^[a-z_]+$/.test(warning.code) && warning.message !== '')
    deepEqual(await names(), [])
    const backupId = newUlid()
    await publish(destination, backupId)
    const before = await names()
    await destination.validate()
    deepEqual(await names(), before)
    if (visibleUploads) ok(before.some((name) => name.includes(backupId)))
  })
}

function testDuplicates(test: Declare, exclusivePublish: boolean): void {
  test('put() refuses the ID of a published backup and leaves that as it is', async ({ destination }) => {
    const backupId = newUlid()
    await publish(destination, backupId)
    await rejects(destination.put(backupId), { code: 'duplicate_backup_id', httpStatus: 409 })
    ok(bytes(await joined(destination.open(backupId, 'payload'))).equals(PAYLOAD))
  })

  test('of concurrent uploads of one ID one is published, whole; the others are refused and leave nothing', async ({ destination, reopen, names }) => {
    const backupId = newUlid()
    const attempts = Array.from({ length: 8 }, async (_, index) => {
      const upload = await (index % 2 === 0 ? destination : reopen()).put(backupId)
      try {
        await upload.write('payload', new Uint8Array(10_000).fill(index + 1))
        await upload.write('payload-ids', text(`id-${index}\n`))
        await upload.publish(text(`{"winner":${index}}`))
      } catch (error) {
        await upload.abort()
        throw error
      }
      return index
    })
    const results = await Promise.allSettled(attempts)
    const winners = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    equal(winners.length, 1)
    for (const result of results) if (result.status === 'rejected') equal(result.reason.code, 'duplicate_backup_id')
    const winner = winners[0] ?? -1
    deepEqual(bytes(await destination.manifest(backupId)), bytes(text(`{"winner":${winner}}`)))
    deepEqual(bytes(await joined(destination.open(backupId, 'payload'))), Buffer.alloc(10_000, winner + 1))
    deepEqual(bytes(await joined(destination.open(backupId, 'payload-ids'))), bytes(text(`id-${winner}\n`)))
    ok((await names()).every((name) => !name.includes('.tmp')))
  }, exclusivePublish)
}

function testReads(test: Declare): void {
  test('open() starts at any byte', async ({ destination }) => {
    const backupId = newUlid()
    await publish(destination, backupId)
    for (const startByte of [0, 1, 65_535, 1_048_576, 2_999_999, 3_000_000, 3_000_001, 2 ** 40]) {
      const read = await joined(destination.open(backupId, 'payload', { startByte }))
      ok(bytes(read).equals(PAYLOAD.subarray(startByte)), `from byte ${startByte}`)
    }
    for (const startByte of [-1, 0.5, Number.NaN, 2 ** 60]) await rejects(all(destination.open(backupId, 'payload', { startByte })), RangeError)
  })

  test('open() may be left early, again and again', async ({ destination }) => {
    const backupId = newUlid()
    await publish(destination, backupId)
    for (let round = 0; round < 50; round++) {
      for await (const chunk of destination.open(backupId, 'payload')) {
        ok(chunk.byteLength > 0)
        break
      }
    }
    await destination.delete(backupId)
  })

  test('open() ends with the reason of a signal that aborts between chunks', async ({ destination }) => {
    const backupId = newUlid()
    await publish(destination, backupId)
    const reason = new Error('enough')
    const controller = new AbortController()
    const reading = (async () => {
      for await (const chunk of destination.open(backupId, 'payload', { signal: controller.signal })) {
        ok(chunk.byteLength > 0)
        controller.abort(reason)
      }
    })()
    await rejects(reading, reason)
  })

  test('a missing object is backup_incomplete to open() and undefined to stat(), the backup staying listed', async ({ destination, damage }) => {
    for (const object of BACKUP_OBJECTS) {
      const backupId = newUlid()
      await publish(destination, backupId)
      await damage(backupId, object)
      await rejects(all(destination.open(backupId, object)), { code: 'backup_incomplete' })
      const { bytes } = await destination.stat(backupId)
      equal(bytes[object], undefined)
      equal(Object.values(bytes).filter((value) => value !== undefined).length, 1)
      ok((await all(destination.list())).includes(backupId))
    }
  })

  test('a manifest over the limit is refused as manifest_invalid', async ({ destination, damage }) => {
    const backupId = newUlid()
    await publish(destination, backupId)
    await damage(backupId, 'manifest.json', new Uint8Array(MAX_MANIFEST_BYTES + 1).fill(0x20))
    await rejects(destination.manifest(backupId), { code: 'manifest_invalid' })
    await damage(backupId, 'manifest.json', new Uint8Array(20_000_000))
    await rejects(destination.manifest(backupId), { code: 'manifest_invalid' })
  })

  test('an ID that was never published is manifest_missing to every read', async ({ destination }) => {
    await publish(destination, newUlid())
    const missing = newUlid()
    await rejects(destination.manifest(missing), { code: 'manifest_missing', httpStatus: 404 })
    await rejects(destination.stat(missing), { code: 'manifest_missing' })
    await rejects(all(destination.open(missing, 'payload')), { code: 'manifest_missing' })
  })

  test('reads end with the reason of an aborted signal', async ({ destination }) => {
    const backupId = newUlid()
    await publish(destination, backupId)
    const reason = new Error('enough')
    const signal = AbortSignal.abort(reason)
    await rejects(destination.manifest(backupId, { signal }), reason)
    await rejects(destination.stat(backupId, { signal }), reason)
    await rejects(all(destination.open(backupId, 'payload', { signal })), reason)
    await rejects(all(destination.list({ signal })), reason)
    await rejects(destination.delete(backupId, { signal }), reason)
    deepEqual(await all(destination.list()), [backupId])
  })
}

function testListing(test: Declare): void {
  test('list() gives IDs in ascending order, whatever the order of publishing, and passes over foreign names', async ({ destination, plant }) => {
    const times = [1_700_000_000_000, 1_500_000_000_000, 1_800_000_000_000, 1, 2 ** 48 - 1, 1_600_000_000_000]
    const ids = times.map((time) => newUlid(time))
    for (const backupId of ids) await publish(destination, backupId, new Uint8Array(10))
    for (const name of ['README', 'lost+found', '.DS_Store', 'manifest.json', '01arz3ndektsv4rrffq69g5fav', '01ARZ3NDEKTSV4RRFFQ69G5FA', 'zzzz']) {
      await plant(name, text('foreign'))
    }
    const listed = await all(destination.list())
    deepEqual(listed, [...ids].sort())
    ok(listed.every(isUlid))
  })

  test('list() may be left early', async ({ destination }) => {
    for (let index = 0; index < 3; index++) await publish(destination, newUlid(), new Uint8Array(1))
    for await (const backupId of destination.list()) {
      ok(isUlid(backupId))
      break
    }
    equal((await all(destination.list())).length, 3)
  })

  test('a backup whose manifest went is not listed', async ({ destination, damage }) => {
    const backupId = newUlid()
    await publish(destination, backupId)
    await damage(backupId, 'manifest.json')
    deepEqual(await all(destination.list()), [])
    await rejects(destination.manifest(backupId), { code: 'manifest_missing' })
    await rejects(all(destination.open(backupId, 'payload')), { code: 'manifest_missing' })
  })
}

function testDeletes(test: Declare): void {
  test('delete() removes the backup and nothing else; again it does nothing', async ({ destination, reopen, names, plant }) => {
    const [first, second] = [newUlid(), newUlid()]
    await publish(destination, first)
    await publish(destination, second)
    await plant('README', text('foreign'))
    await destination.delete(first)
    await destination.delete(first)
    await reopen().delete(first)
    deepEqual(await all(destination.list()), [second])
    ok((await names()).every((name) => !name.includes(first)))
    ok((await names()).includes('README'))
    await rejects(destination.manifest(first), { code: 'manifest_missing' })
    ok(bytes(await joined(destination.open(second, 'payload'))).equals(PAYLOAD))
  })

  test('delete() of what never was does nothing', async ({ destination }) => {
    await publish(destination, newUlid())
    await destination.delete(newUlid())
    equal((await all(destination.list())).length, 1)
  })

  test('delete() of a backup with missing objects, or a missing manifest, removes the rest', async ({ destination, damage, names }) => {
    for (const object of [...BACKUP_OBJECTS, 'manifest.json'] as const) {
      const backupId = newUlid()
      await publish(destination, backupId)
      await damage(backupId, object)
      await destination.delete(backupId)
      deepEqual(await names(), [])
    }
  })

  test('delete() run twice at once ends well for both', async ({ destination, reopen, names }) => {
    const backupId = newUlid()
    await publish(destination, backupId)
    await Promise.all([destination.delete(backupId), reopen().delete(backupId)])
    deepEqual(await names(), [])
  })
}

function testCleanUp(test: Declare, visibleUploads: boolean): void {
  test('cleanUp() keeps leftovers within the grace time and removes them after it', async ({ destination, names, damage }) => {
    const [uploading, unlisted, whole] = [newUlid(), newUlid(), newUlid()]
    for (const backupId of [unlisted, whole]) await publish(destination, backupId)
    const upload = await start(destination, uploading)
    await damage(unlisted, 'manifest.json')
    const nowMs = Date.now()
    const early = await destination.cleanUp({ graceMs: HOUR_MS, nowMs: nowMs + HOUR_MS / 2 })
    deepEqual([early.removed.length, early.kept.length], [0, 2])
    deepEqual((await destination.cleanUp()).removed, [])
    const late = await destination.cleanUp({ graceMs: HOUR_MS, nowMs: nowMs + 2 * HOUR_MS })
    deepEqual([late.removed.length, late.kept.length], [2, 0])
    ok((await names()).every((name) => name.includes(whole)))
    await upload.abort()
    ok(bytes(await joined(destination.open(whole, 'payload'))).equals(PAYLOAD))
  }, visibleUploads)

  test('cleanUp() keeps what is dated later than now', async ({ destination }) => {
    const upload = await start(destination, newUlid())
    const report = await destination.cleanUp({ graceMs: 0, nowMs: Date.now() - 10 * 365 * 24 * HOUR_MS })
    deepEqual(report.removed, [])
    await upload.publish(MANIFEST)
  }, visibleUploads)

  test('cleanUp() removes no listed backup and no foreign name, however old', async ({ destination, names, plant }) => {
    const newest = newUlid()
    await publish(destination, newest)
    for (const name of ['README', 'notes.tmp', '01arz3ndektsv4rrffq69g5fav.tmp', '01ARZ3NDEKTSV4RRFFQ69G5FAV.tmp.bak', '01ARZ3NDEKTSV4RRFFQ69G5FAV.tmpx']) {
      await plant(name, text('foreign'))
    }
    const before = await names()
    const report = await destination.cleanUp({ graceMs: 0, nowMs: Date.now() + 1000 * 24 * HOUR_MS })
    deepEqual([report.removed, report.kept], [[], []])
    ok(report.newest === undefined || report.newest === newest, 'cleanUp() tells another newest backup than is listed')
    deepEqual(await names(), before)
  })

  test('cleanUp() refuses times that are none', async ({ destination }) => {
    await publish(destination, newUlid())
    for (const graceMs of [-1, Number.NaN]) await rejects(destination.cleanUp({ graceMs }), RangeError)
    for (const nowMs of [Number.NaN, Number.POSITIVE_INFINITY]) await rejects(destination.cleanUp({ nowMs }), RangeError)
  })
}

function testArguments(test: Declare): void {
  test('every method refuses an ID that is not a ULID, and touches nothing', async ({ destination, names }) => {
    const backupId = newUlid()
    await publish(destination, backupId)
    const before = await names()
    for (const bad of BAD_BACKUP_IDS) {
      const refused = { code: 'invalid_argument' }
      await rejects(destination.put(bad), refused, bad)
      await rejects(destination.manifest(bad), refused, bad)
      await rejects(destination.stat(bad), refused, bad)
      await rejects(destination.delete(bad), refused, bad)
      for (const object of BACKUP_OBJECTS) await rejects(all(destination.open(bad, object)), refused, bad)
    }
    deepEqual(await names(), before)
    deepEqual(await all(destination.list()), [backupId])
  })

  test('close() may be called again', async ({ destination }) => {
    await destination.close()
    await destination.close()
  })
}

async function start(destination: Destination, backupId: string, payload: Uint8Array = PAYLOAD): Promise<BackupUpload> {
  const upload = await destination.put(backupId)
  await upload.write('payload', payload)
  await upload.write('payload-ids', PAYLOAD_IDS)
  return upload
}

async function publish(destination: Destination, backupId: string, payload?: Uint8Array): Promise<BackupUpload> {
  const upload = await start(destination, backupId, payload)
  await upload.publish(MANIFEST)
  return upload
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const result: T[] = []
  for await (const item of items) result.push(item)
  return result
}

async function joined(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  return Buffer.concat(await all(chunks))
}

function bytes(data: Uint8Array): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength)
}

function text(content: string): Uint8Array {
  return new TextEncoder().encode(content)
}
