import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { describe, onTestFinished, test } from 'vitest'
import type { S3DestinationOptions } from '../../../destinations/s3/index.ts'
import { newUlid } from '../../../src/util/ulid.ts'
import type { Destination } from '../../../src/contracts/destination.ts'
import { collect } from '../../support/collect.ts'
import { type FaultProxy, startFaultProxy } from '../../support/s3/fault-proxy.ts'
import type { Fault } from '../../support/s3/faults.ts'
import { bytesOf, MANIFEST, MIB, type OwnServer, ownServer, openAt, PREFIX, publish } from './setup.ts'

const PAYLOAD = bytesOf(3 * MIB)

/** A server, a proxy before it, and how to reach the one through the other. */
async function proxied(): Promise<{ own: OwnServer; proxy: FaultProxy; open: (options?: Partial<S3DestinationOptions>) => Destination }> {
  const own = await ownServer()
  const proxy = await startFaultProxy(own.server.endpoint)
  onTestFinished(() => proxy.close())
  return { own, proxy, open: (options) => openAt({ ...own.server, endpoint: proxy.endpoint }, options) }
}

async function read(destination: Destination, backupId: string, startByte = 0): Promise<Buffer> {
  return Buffer.concat(await collect(destination.open(backupId, 'payload', { startByte })))
}

/** Fails so many GETs of the payload. */
function failing(times: number, fault: (nth: number) => Fault): FaultProxy['plan'] {
  let seen = 0
  return ({ method, url }) => (method === 'GET' && url.includes('/payload?') && seen < times ? fault(seen++) : undefined)
}

describe('s3Destination() open()', () => {
  test.each<[string, (nth: number) => Fault]>([
    ['resets the connection', () => ({ kind: 'reset-response', at: 0.4 })],
    ['cuts the body off, its length being that of the whole', () => ({ kind: 'truncate', at: 0.4, declares: 'whole' })],
    ['cuts the body off, its length being that of the rest', () => ({ kind: 'truncate', at: 0.4, declares: 'rest' })],
    ['answers 503', () => ({ kind: 'answer', status: 503, code: 'SlowDown' })],
    ['refuses connections', () => ({ kind: 'refuse', forMs: 5 })],
  ])('goes on from the byte where it was when the server %s', async (_, fault) => {
    const { own, proxy, open } = await proxied()
    const backupId = await publish(own.open(), PAYLOAD)
    proxy.plan = failing(3, fault)
    const destination = open({ wait: undefined, firstDelayMs: 10 })
    ok((await read(destination, backupId, 17)).equals(PAYLOAD.subarray(17)))
    const ranges = own.server.requests.flatMap(({ operation, headers }) => (operation === 'GetObject' ? [Number(/bytes=(\d+)-/.exec(headers['range'] ?? '')?.[1])] : []))
    equal(ranges[0], 17)
    deepEqual(ranges, ranges.toSorted((a, b) => a - b))
    // What had come is not asked for again.
    if (fault(0).kind === 'truncate') ok((ranges.at(-1) ?? 0) > PAYLOAD.byteLength / 2)
  })

  test('gives up on a read that makes no progress after so many attempts, with waits that grow', async () => {
    const { own, proxy, open } = await proxied()
    const backupId = await publish(own.open(), PAYLOAD)
    proxy.plan = failing(Number.POSITIVE_INFINITY, () => ({ kind: 'truncate', at: 0, declares: 'whole' }))
    const waits: number[] = []
    await rejects(read(open({ attempts: 4, random: () => 0, firstDelayMs: 100, wait: async (delayMs) => void waits.push(delayMs) }), backupId), {
      code: 'destination_unreachable',
      retryable: true,
    })
    deepEqual(waits, [100, 200, 400])
  })

  test('scenario 19: a body that stalls or crawls is given up and asked for again from there', async () => {
    const { own, proxy, open } = await proxied()
    const backupId = await publish(own.open(), PAYLOAD)
    for (const fault of [{ kind: 'slow', bytesPerSecond: 1000 }, { kind: 'hang', committed: false }] as const) {
      await proxy.restart({ plan: failing(2, () => fault) })
      ok((await read(open({ requestTimeoutMs: 1500 }), backupId)).equals(PAYLOAD))
    }
    await proxy.restart({ plan: failing(Number.POSITIVE_INFINITY, () => ({ kind: 'slow', bytesPerSecond: 1 })) })
    const startMs = performance.now()
    await rejects(read(open({ requestTimeoutMs: 150, attempts: 3 }), backupId), { code: 'destination_unreachable' })
    ok(performance.now() - startMs < 50_000)
  })

  test('a reader that takes its time does not count as a stall', async () => {
    const { own, open } = await proxied()
    const backupId = await publish(own.open(), PAYLOAD)
    let bytes = 0
    for await (const chunk of open({ requestTimeoutMs: 4000, attempts: 1 }).open(backupId, 'payload')) {
      if (bytes === 0) await new Promise((resolve) => void setTimeout(resolve, 5000))
      bytes += chunk.byteLength
    }
    equal(bytes, PAYLOAD.byteLength)
  })

  test.each([
    ['a longer one', 4 * MIB, false],
    ['a longer one', 4 * MIB, true],
    ['a shorter one', 1000, false],
    ['a shorter one', 1000, true],
  ])('an object that is replaced by %s while it is read is backup_incomplete, never spliced nor shorter: %i bytes, conditions ignored: %s', async (_, bytes, ignoresReadConditions) => {
    const { own, proxy, open } = await proxied()
    own.server.behaviour.ignoresReadConditions = ignoresReadConditions
    const backupId = await publish(own.open(), PAYLOAD)
    proxy.plan = failing(1, () => ({ kind: 'truncate', at: 0.4, declares: 'whole' }))
    const reading = (async () => {
      let isFirst = true
      for await (const _ of open().open(backupId, 'payload')) {
        if (!isFirst) continue
        isFirst = false
        const other = own.open()
        await other.delete(backupId)
        await publish(other, bytesOf(bytes).fill(7), backupId)
      }
    })()
    await rejects(reading, { code: 'backup_incomplete' })
  })

  test('reads on from a store that knows no ranges', async () => {
    const { own, proxy, open } = await proxied()
    own.server.behaviour.ignoresRanges = true
    const backupId = await publish(own.open(), PAYLOAD)
    proxy.plan = failing(2, () => ({ kind: 'truncate', at: 0.7, declares: 'whole' }))
    ok((await read(open(), backupId, 1_500_000)).equals(PAYLOAD.subarray(1_500_000)))
    deepEqual(await read(open(), backupId, PAYLOAD.byteLength + 1), Buffer.alloc(0))
  })

  test('a part of an object that does not say which is never taken for the whole', async () => {
    const { own, proxy, open } = await proxied()
    const backupId = await publish(own.open(), PAYLOAD)
    own.server.behaviour.tellsNoRanges = true
    await rejects(read(open(), backupId, 2 * MIB), { code: 'destination_unreachable' })
    ok((await read(open(), backupId)).equals(PAYLOAD))
    proxy.plan = failing(1, () => ({ kind: 'truncate', at: 0.7, declares: 'whole' }))
    await rejects(read(open(), backupId), { code: 'destination_unreachable' })
  })
})

describe('s3Destination() manifest()', () => {
  test('costs one small GET', async () => {
    const own = await ownServer()
    const backupId = await publish(own.open())
    own.operations()
    await own.open().manifest(backupId)
    deepEqual(own.operations(), ['GetObject'])
    await rejects(own.open().manifest(newUlid()), { code: 'manifest_missing' })
    deepEqual(own.operations(), ['GetObject'])
  })

  test.each<Fault>([
    { kind: 'corrupt-response', at: 0.5 },
    { kind: 'truncate', at: 0.5, declares: 'whole' },
    { kind: 'truncate', at: 0.5, declares: 'rest' },
  ])('that comes damaged is asked for again: %j', async (fault) => {
    const { own, proxy, open } = await proxied()
    const backupId = await publish(own.open())
    let left = 2
    proxy.plan = () => (left-- > 0 ? fault : undefined)
    ok(Buffer.from(await open().manifest(backupId)).equals(MANIFEST))
    proxy.plan = () => fault
    await rejects(open().manifest(backupId), (error: Error & { code: string }) => ['checksum_mismatch', 'destination_unreachable'].includes(error.code))
  })

  test('in a bucket that is gone is destination_not_found, to every read', async () => {
    const own = await ownServer()
    const destination = own.open({ bucket: 'no-such-bucket' })
    const backupId = newUlid()
    const gone = { code: 'destination_not_found', httpStatus: 404 }
    await rejects(destination.manifest(backupId), gone)
    await rejects(destination.stat(backupId), gone)
    await rejects(collect(destination.open(backupId, 'payload')), gone)
    await rejects(collect(destination.list()), gone)
    await rejects(destination.put(backupId), gone)
    await rejects(destination.delete(backupId), gone)
    await rejects(destination.cleanUp(), gone)
    await rejects(destination.validate(), gone)
  })
})

test('the keys of a backup are under the prefix and its ID', async () => {
  const own = await ownServer()
  const backupId = await publish(own.open())
  deepEqual(own.bucket.list().map(({ key }) => key), ['manifest.json', 'payload', 'payload-ids'].map((name) => `${PREFIX}${backupId}/${name}`))
})
