import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { CreateMultipartUploadCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { describe, onTestFinished, test, vi } from 'vitest'
import { fsDestination } from '../../../destinations/fs/index.ts'
import { newUlid } from '../../../src/util/ulid.ts'
import type { BackupObject, CleanUpReport } from '../../../src/contracts/destination.ts'
import { collect } from '../../support/collect.ts'
import { s3Client } from '../../support/s3/client.ts'
import { fillBucket } from '../../support/s3/fill-bucket.ts'
import { startFaultProxy } from '../../support/s3/fault-proxy.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { BUCKET, bytesOf, MANIFEST, type OwnServer, openAt, ownServer, PART_BYTES, PREFIX, publish } from './setup.ts'

function leftoversOf({ removed, kept }: CleanUpReport): readonly (readonly string[])[] {
  return [removed, kept]
}

const DAY_MS = 24 * 60 * 60 * 1000
const EMPTY = new Uint8Array()

/** Puts objects straight into the bucket. */
async function plant({ server }: OwnServer, contents: Readonly<Record<string, Uint8Array>>): Promise<void> {
  const client = s3Client(server)
  onTestFinished(() => client.destroy())
  const entries = Object.entries(contents)
  for (let from = 0; from < entries.length; from += 50) {
    await Promise.all(entries.slice(from, from + 50).map(([Key, Body]) => client.send(new PutObjectCommand({ Bucket: BUCKET, Key, Body }))))
  }
}

/** Holds the clock, of server and client alike, for the running test. Returns what puts it forward. */
function controlTime(): (ms: number) => void {
  vi.useFakeTimers({ toFake: ['Date'] })
  onTestFinished(() => void vi.useRealTimers())
  return (ms) => void vi.setSystemTime(Date.now() + ms)
}

function keysOf(backupId: string, names: readonly (BackupObject | 'manifest.json')[]): Record<string, Uint8Array> {
  return Object.fromEntries(names.map((name) => [`${PREFIX}${backupId}/${name}`, MANIFEST]))
}

describe('s3Destination() list()', () => {
  test('costs one request for each 1,000 keys and none for a backup, for 10,000 backups', async () => {
    const own = await ownServer()
    const ids = fillBucket(own.bucket, PREFIX, 10_000)
    deepEqual(await collect(own.open().list()), ids)
    // Three keys are a backup.
    deepEqual(own.operations(), Array.from({ length: 30 }, () => 'ListObjectsV2'))
  })

  test('scenario 25: passes over foreign keys of all kinds, and leaves them', async () => {
    const own = await ownServer()
    const backupId = await publish(own.open())
    const foreign = ['README', newUlid(), `${newUlid()}/other`, `${newUlid()}/`, `x/${newUlid()}/manifest.json`, 'a b+c%20d', '\u0001\u0002', 'ü/ö', '../x', `${newUlid().toLowerCase()}/manifest.json`]
    const outside = ['outside', `${newUlid()}/manifest.json`, `some/prefix${newUlid()}/manifest.json`, `some/prefix2/${newUlid()}/payload`]
    await plant(own, Object.fromEntries([...foreign.map((name) => [PREFIX + name, MANIFEST] as const), ...outside.map((name) => [name, MANIFEST] as const)]))
    const before = own.keys()
    deepEqual(await collect(own.open().list()), [backupId])
    deepEqual(leftoversOf(await own.open().cleanUp({ graceMs: 0, nowMs: Date.now() + DAY_MS })), [[], []])
    deepEqual(own.keys(), before)
  })

  test.each(['', 'a b', 'a+b', 'ü/%41'])('finds backups under the prefix %j', async (prefix) => {
    const own = await ownServer()
    const destination = own.open({ prefix })
    const backupId = await publish(destination, bytesOf(10))
    deepEqual(await collect(destination.list()), [backupId])
    await destination.put(newUlid())
    equal((await destination.cleanUp({ graceMs: 0, nowMs: Date.now() + 1000 })).removed.length, 1)
    equal(own.bucket.uploads.size, 0)
    await destination.delete(backupId)
    deepEqual(own.keys(), [])
  })

  test('scenario 23: a page that is cut off without a token for the next is an error, never an end', async () => {
    const own = await ownServer({ behaviour: { pageSize: 2, losesTokens: true } })
    await publish(own.open())
    await rejects(collect(own.open().list()), { code: 'destination_unreachable' })
  })

  test('scenario 23: short pages, repeated keys and any order give each ID once, in order', async () => {
    const own = await ownServer({ behaviour: { pageSize: 4, listsAnyhow: true } })
    const ids = [newUlid(3), newUlid(2), newUlid(1)]
    for (const backupId of ids) await publish(own.open(), EMPTY, backupId)
    deepEqual(await collect(own.open().list()), ids.toSorted())
  })

  test('scenario 23: an answer that is cut off is an error or asked for again, never a shorter list', async () => {
    const own = await ownServer()
    const ids = Array.from({ length: 5 }, () => newUlid())
    for (const backupId of ids) await publish(own.open(), EMPTY, backupId)
    const proxy = await startFaultProxy(own.server.endpoint)
    onTestFinished(() => proxy.close())
    for (let step = 0; step < 40; step++) {
      for (const declares of ['whole', 'rest'] as const) {
        let left = 1
        await proxy.restart({ plan: () => (left-- > 0 ? { kind: 'truncate', at: step / 40, declares } : undefined) })
        deepEqual(await collect(openAt({ ...own.server, endpoint: proxy.endpoint }).list()), ids)
      }
    }
  })

  test('scenario 23: what a list shows too long is manifest_missing when it is read', async () => {
    const own = await ownServer()
    const later = controlTime()
    const backupId = await publish(own.open())
    later(10_000)
    await own.open().delete(backupId)
    later(1000)
    own.server.behaviour.listLagMs = 5000
    deepEqual(await collect(own.open().list()), [backupId])
    await rejects(own.open().manifest(backupId), { code: 'manifest_missing' })
    await rejects(collect(own.open().open(backupId, 'payload')), { code: 'manifest_missing' })
    await own.open().delete(backupId)
  })
})

describe('s3Destination() cleanUp()', () => {
  test('removes objects without a manifest and pending uploads after the grace time, and nothing younger', async () => {
    const own = await ownServer()
    const whole = await publish(own.open())
    const orphan = newUlid()
    await plant(own, keysOf(orphan, ['payload', 'payload-ids']))
    const pending = newUlid()
    await own.open().put(pending)
    deepEqual(leftoversOf(await own.open().cleanUp()), [[], [orphan, pending].toSorted()])
    const late = await own.open().cleanUp({ nowMs: Date.now() + 2 * DAY_MS })
    deepEqual(late, { removed: [orphan, pending].toSorted(), kept: [], newest: whole })
    deepEqual(own.keys().filter((key) => !key.startsWith(whole)), [])
    equal(own.bucket.uploads.size, 0)
  })

  test('counts the age of an upload from its last part', async () => {
    const own = await ownServer()
    const backupId = newUlid()
    const upload = await own.open().put(backupId)
    await upload.write('payload', bytesOf(PART_BYTES))
    await upload.write('payload-ids', EMPTY)
    for (const [id, pending] of own.bucket.uploads) own.bucket.uploads.set(id, { ...pending, initiated: new Date(Date.now() - 3 * DAY_MS) })
    deepEqual(leftoversOf(await own.open().cleanUp()), [[], [backupId]])
    await upload.publish(MANIFEST)
    deepEqual(await collect(own.open().list()), [backupId])
  })

  test('of an upload that is about to be published never leaves a listed backup without its objects', async () => {
    // A payload in parts is dated by the begin of its upload: it must not be taken for old while its manifest is on the way.
    const own = await ownServer()
    const backupId = newUlid()
    const upload = await own.open().put(backupId)
    await upload.write('payload', bytesOf(100))
    await upload.write('payload-ids', EMPTY)
    for (const [id, pending] of own.bucket.uploads) {
      const old = new Date(Date.now() - 3 * DAY_MS)
      own.bucket.uploads.set(id, { ...pending, initiated: old, parts: new Map([...pending.parts].map(([number, part]) => [number, { ...part, lastModified: old }])) })
    }
    let isSwept: Promise<unknown> | undefined
    own.server.behaviour.failAfter = ({ operation }) => {
      if (operation === 'CompleteMultipartUpload') isSwept = own.open().cleanUp()
      return undefined
    }
    await upload.publish(MANIFEST)
    await isSwept
    deepEqual((await own.open().stat(backupId)).bytes, { payload: 100, 'payload-ids': 0 })
  })

  test('ends pending uploads of a published ID, and leaves the backup', async () => {
    const own = await ownServer()
    const backupId = newUlid()
    await own.open().put(backupId)
    await publish(own.open(), bytesOf(10), backupId)
    equal(own.bucket.uploads.size, 1)
    deepEqual(leftoversOf(await own.open().cleanUp({ graceMs: 0, nowMs: Date.now() + 1000 })), [[backupId], []])
    equal(own.bucket.uploads.size, 0)
    equal((await own.open().stat(backupId)).bytes.payload, 10)
  })

  test('of an ID whose manifest only the list does not show removes nothing', async () => {
    const own = await ownServer()
    const backupId = newUlid()
    const later = controlTime()
    await plant(own, keysOf(backupId, ['payload', 'payload-ids']))
    later(10_000)
    await plant(own, keysOf(backupId, ['manifest.json']))
    later(1000)
    own.server.behaviour.listLagMs = 5000
    deepEqual(await collect(own.open().list()), [])
    deepEqual(leftoversOf(await own.open().cleanUp({ graceMs: 0, nowMs: Date.now() + 1000 })), [[], []])
    equal(own.keys().length, 3)
  })

  test('ends no upload outside the prefix, nor one under it that is not of a backup', async () => {
    const own = await ownServer()
    const client = s3Client(own.server)
    onTestFinished(() => client.destroy())
    const keys = [`${newUlid()}/payload`, `some/prefix${newUlid()}/payload`, 'some', `${PREFIX}README`, `${PREFIX}${newUlid()}/other`, `${PREFIX}x/${newUlid()}/payload`]
    for (const Key of keys) await client.send(new CreateMultipartUploadCommand({ Bucket: BUCKET, Key }))
    const pending = newUlid()
    await own.open().put(pending)
    deepEqual(leftoversOf(await own.open().cleanUp({ graceMs: 0, nowMs: Date.now() + DAY_MS })), [[pending], []])
    deepEqual([...own.bucket.uploads.values()].map(({ key }) => key).toSorted(), keys.toSorted())
  })

  test('where the store lists no uploads cleans the objects up', async () => {
    const own = await ownServer({ behaviour: { listsNoUploads: 501 } })
    const orphan = newUlid()
    await plant(own, keysOf(orphan, ['payload']))
    deepEqual(leftoversOf(await own.open().cleanUp({ graceMs: 0, nowMs: Date.now() + 1000 })), [[orphan], []])
    ok((await own.open().validate()).some(({ code }) => code === 'uploads_not_listed'))
  })

  test('cleans up uploads and orphans beyond a page', async () => {
    const own = await ownServer({ behaviour: { pageSize: 3 } })
    const orphans = Array.from({ length: 5 }, () => newUlid())
    for (const orphan of orphans) await plant(own, keysOf(orphan, ['payload', 'payload-ids']))
    for (let index = 0; index < 5; index++) await own.open().put(orphans[index] ?? '')
    deepEqual((await own.open().cleanUp({ graceMs: 0, nowMs: Date.now() + 1000 })).removed, orphans.toSorted())
    deepEqual(own.keys(), [])
    equal(own.bucket.uploads.size, 0)
  })
})

describe('s3Destination() delete()', () => {
  test('removes the manifest first, and the objects only when it is gone', async () => {
    const own = await ownServer()
    const backupId = await publish(own.open())
    const from = own.server.requests.length
    await own.open().delete(backupId)
    const deleted = own.server.requests.slice(from).filter(({ method }) => method === 'DELETE')
    deepEqual(deleted.map(({ key }) => key.slice(PREFIX.length + 27)), ['manifest.json', 'payload', 'payload-ids'])
  })

  test('scenario 23: of a manifest that stays after it was deleted fails, and leaves the objects', async () => {
    const own = await ownServer({ behaviour: { keepsDeleted: true } })
    const backupId = await publish(own.open())
    await rejects(own.open().delete(backupId), { code: 'destination_unreachable', retryable: true })
    equal(own.keys().length, 3)
    own.server.behaviour.keepsDeleted = false
    await own.open().delete(backupId)
    deepEqual(own.keys(), [])
  })

  test('of objects that another deletion removed first is done, also where the store says that they are not there', async () => {
    const own = await ownServer()
    const backupId = await publish(own.open())
    own.server.behaviour.failAfter = ({ method }) => (method === 'DELETE' ? { status: 404, code: 'NoSuchKey' } : undefined)
    await own.open().delete(backupId)
    deepEqual(own.keys(), [])
  })

  test('scenario 34: cut off at any request leaves a whole backup or none listed, which the next delete or a clean-up finishes', async () => {
    let isDone = false
    let steps = 0
    for (; !isDone; steps++) {
      for (const when of ['failBefore', 'failAfter'] as const) {
        const own = await ownServer()
        const backupId = await publish(own.open())
        const from = own.server.requests.length
        // From this request on, the network is gone.
        own.server.behaviour[when] = ({ number }) => (number >= from + steps ? 'reset' : undefined)
        isDone = await own.open({ attempts: 1 }).delete(backupId).then(() => true, () => false)
        own.server.behaviour[when] = undefined
        const destination = own.open()
        for (const listed of await collect(destination.list())) deepEqual((await destination.stat(listed)).bytes, { payload: 1000, 'payload-ids': 4 })
        if (steps % 2 === 0 || (await collect(destination.list())).length > 0) await destination.delete(backupId)
        else await destination.cleanUp({ graceMs: 0, nowMs: Date.now() + 1000 })
        deepEqual(own.keys(), [])
      }
    }
    equal(steps, 8)
  })
})

describe('Object Lock', () => {
  test.each(['governance', 'compliance'] as const)('in %s mode holds every object; delete() tells what holds the backup, and removes nothing', async (mode) => {
    const own = await ownServer({ buckets: [] })
    const bucket = own.server.createBucket(BUCKET, { objectLock: true })
    const destination = own.open({ objectLock: { mode, retainDays: 30 } })
    await destination.validate()
    const from = Date.now()
    const backupId = await publish(destination, bytesOf(100))
    const stored = bucket.list()
    equal(stored.length, 3)
    for (const { retention } of stored) {
      equal(retention?.mode, mode.toUpperCase())
      const days = ((retention?.until.getTime() ?? 0) - from) / DAY_MS
      ok(days > 29.9 && days < 30.1)
    }
    await rejects(own.open().delete(backupId), (error: Error & { code: string; httpStatus: number; details: { mode: string; retainUntil: string } }) => {
      deepEqual([error.code, error.httpStatus, error.details.mode], ['backup_protected', 409, mode.toUpperCase()])
      equal(error.details.retainUntil, stored[0]?.retention?.until.toISOString())
      ok(error.message.includes(error.details.retainUntil))
      return true
    })
    deepEqual(await collect(destination.list()), [backupId])
    for (const version of stored) version.retention = { mode: 'GOVERNANCE', until: new Date(Date.now() - 1) }
    await destination.delete(backupId)
    deepEqual(await collect(destination.list()), [])
  })

  test('a legal hold, or the default of the bucket, holds a backup too', async () => {
    const own = await ownServer({ buckets: [] })
    const bucket = own.server.createBucket(BUCKET, { objectLock: true })
    const held = await publish(own.open())
    const payload = bucket.list().find(({ key }) => key.endsWith('/payload'))
    if (payload !== undefined) payload.legalHold = true
    await rejects(own.open().delete(held), /legal hold/)
    bucket.defaultRetention = { mode: 'COMPLIANCE', days: 1 }
    const second = await publish(own.open())
    await rejects(own.open().delete(second), { code: 'backup_protected' })
    deepEqual(await collect(own.open().list()), [held, second])
  })

  test('of a bucket without it is refused by validate()', async () => {
    const own = await ownServer()
    await rejects(own.open({ objectLock: { mode: 'governance', retainDays: 1 } }).validate(), (error: Error & { code: string; details: { reason: string } }) => {
      deepEqual([error.code, error.details.reason], ['destination_config_invalid', 'no_object_lock'])
      return true
    })
  })
})

test('a bucket copied to a directory, key by key, is the same destination there', async () => {
  const own = await ownServer()
  const payload = bytesOf(PART_BYTES + 1)
  const backupId = await publish(own.open(), payload)
  const path = await tempDir()
  for (const { key, data } of own.bucket.list()) {
    const target = join(path, key.slice(PREFIX.length))
    await mkdir(dirname(target), { recursive: true })
    await writeFile(target, Buffer.concat(data.chunks))
  }
  const copy = fsDestination({ path })
  deepEqual(await collect(copy.list()), [backupId])
  ok(Buffer.concat(await collect(copy.open(backupId, 'payload'))).equals(payload))
  deepEqual(await copy.stat(backupId), await own.open().stat(backupId))
})
