import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, onTestFinished, test } from 'vitest'
import { newUlid } from '../../../src/util/ulid.ts'
import type { Destination } from '../../../src/contracts/destination.ts'
import { collect } from '../../support/collect.ts'
import type { S3Failure, S3Request } from '../../support/s3/server.ts'
import { startFaultProxy } from '../../support/s3/fault-proxy.ts'
import { bytesOf, MANIFEST, MIB, openAt, type OwnServer, ownServer, PART_BYTES, PREFIX, publish, publishBeforeLate } from './setup.ts'

/** Three parts, the last not full. */
const PAYLOAD = bytesOf(2 * PART_BYTES + 1234)

async function checkWhole(destination: Destination, backupId: string, payload: Uint8Array = PAYLOAD): Promise<void> {
  deepEqual(await collect(destination.list()), [backupId])
  ok(Buffer.from(await destination.manifest(backupId)).equals(MANIFEST))
  ok(Buffer.concat(await collect(destination.open(backupId, 'payload'))).equals(payload))
  equal(Buffer.concat(await collect(destination.open(backupId, 'payload-ids'))).toString(), 'a\nb\n')
}

function checkEmpty({ keys, bucket }: OwnServer): void {
  deepEqual(keys(), [])
  equal(bucket.uploads.size, 0)
}

/** Fails the nth request of an operation whose key ends so, counted from 0. */
function nth(which: { readonly operation: string; readonly key?: string; readonly at?: number }, failure: S3Failure): (request: S3Request) => S3Failure | undefined {
  let seen = 0
  return ({ operation, key }) => {
    if (operation !== which.operation || !key.endsWith(which.key ?? '')) return undefined
    return seen++ === (which.at ?? 0) ? failure : undefined
  }
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  ;(runInNewContext('gc') as () => void)()
}

function always(operation: string, failure: S3Failure, key = ''): (request: S3Request) => S3Failure | undefined {
  return (request) => (request.operation === operation && request.key.endsWith(key) ? failure : undefined)
}

describe('s3Destination() put() and publish()', () => {
  test('upload the payload in parts, then payload-ids, then the manifest, each only where nothing is', async () => {
    const own = await ownServer()
    const destination = own.open()
    await destination.validate()
    own.operations()
    const from = own.server.requests.length
    const backupId = await publish(destination, PAYLOAD)
    const requests = own.server.requests.slice(from)
    const parts = requests.filter(({ operation }) => operation === 'UploadPart')
    equal(parts.length, 3)
    const writes = requests.filter(({ operation }) => operation === 'PutObject' || operation === 'CompleteMultipartUpload')
    deepEqual(writes.map(({ key }) => key.slice(PREFIX.length + backupId.length + 1)), ['payload-ids', 'payload', 'manifest.json'])
    deepEqual(writes.map(({ headers }) => headers['if-none-match']), ['*', '*', '*'])
    equal(requests.at(-1)?.key.endsWith('manifest.json'), true)
    // One look whether the ID is taken, one begin, the parts, and three that create: nothing else.
    equal(requests.length, 1 + 1 + 3 + 3)
    await checkWhole(destination, backupId)
  })

  test('send a checksum with every object and part, which the server keeps', async () => {
    const own = await ownServer()
    await publish(own.open(), PAYLOAD)
    for (const { operation, headers } of own.server.requests) {
      if (operation !== 'UploadPart' && operation !== 'PutObject') continue
      ok(headers['x-amz-checksum-crc32'] !== undefined)
      equal(headers['x-amz-sdk-checksum-algorithm'], 'CRC32')
    }
    equal(own.bucket.list().length, 3)
    ok(own.bucket.list().every(({ checksum }) => checksum !== undefined))
  })

  test('fail where the store puts the parts together in another order, which its checksum tells; nothing is left', async () => {
    const own = await ownServer({ behaviour: { mixesParts: true } })
    const upload = await own.open().put(newUlid())
    await upload.write('payload', PAYLOAD.subarray(0, 2 * PART_BYTES))
    await rejects(upload.publish(MANIFEST), { code: 'checksum_mismatch', hint: /take the backup again$/ })
    await upload.abort()
    checkEmpty(own)
  })

  test('never have more parts under way than partsInFlight', async () => {
    const own = await ownServer()
    let underWay = 0
    let most = 0
    own.server.behaviour.failBefore = ({ operation }) => {
      if (operation === 'UploadPart') most = Math.max(most, ++underWay)
      return undefined
    }
    own.server.behaviour.failAfter = ({ operation }) => {
      if (operation === 'UploadPart') underWay -= 1
      return undefined
    }
    const upload = await own.open({ partsInFlight: 2 }).put(newUlid())
    const chunk = bytesOf(MIB)
    for (let written = 0; written < 60 * MIB; written += MIB) await upload.write('payload', chunk)
    await upload.publish(MANIFEST)
    equal(most, 2)
  })

  test('hold no memory of the payload any more when the payload IDs are written', async () => {
    const own = await ownServer()
    const upload = await own.open({ partsInFlight: 2 }).put(newUlid())
    const allocated: WeakRef<Buffer>[] = []
    // Not a spy: it would keep what it gave.
    const allocUnsafeSlow = Buffer.allocUnsafeSlow.bind(Buffer)
    onTestFinished(() => void Object.assign(Buffer, { allocUnsafeSlow }))
    Buffer.allocUnsafeSlow = (bytes) => {
      const buffer = allocUnsafeSlow(bytes)
      allocated.push(new WeakRef(buffer))
      return buffer
    }
    for (let parts = 0; parts < 5; parts++) await upload.write('payload', bytesOf(PART_BYTES))
    await upload.write('payload-ids', bytesOf(4))
    ok(allocated.length >= 2)
    const held = (): number => allocated.filter((buffer) => buffer.deref() !== undefined).length
    // The client lets go of a request's body a little later than of its answer.
    for (let tries = 0; held() > 1 && tries < 100; tries++) {
      await sleep(10)
      collectGarbage()
    }
    // The one that the payload IDs are written to.
    equal(held(), 1)
    await upload.publish(MANIFEST)
  })

  test('the layout is that of a directory: keys copied to files are a file destination', async () => {
    const own = await ownServer()
    const backupId = await publish(own.open(), bytesOf(10))
    deepEqual(own.keys(), [`${backupId}/manifest.json`, `${backupId}/payload`, `${backupId}/payload-ids`])
  })
})

describe('scenario 21: an answer that is lost or wrong is decided by what is stored', () => {
  const WRITES = [
    { operation: 'CreateMultipartUpload' },
    { operation: 'UploadPart', at: 1 },
    { operation: 'CompleteMultipartUpload' },
    { operation: 'PutObject', key: 'payload-ids' },
    { operation: 'PutObject', key: 'manifest.json' },
  ]
  const FAILURES: readonly S3Failure[] = ['reset', 'hang', { status: 500, code: 'InternalError' }, { status: 503, code: 'SlowDown' }]
  const cases = WRITES.flatMap((write) => FAILURES.map((failure) => ({ write, failure, name: `${write.operation} of ${write.key ?? 'payload'}, ${JSON.stringify(failure)}` })))

  test.each(cases)('published where the answer to $name came after it was done', async ({ write, failure }) => {
    const own = await ownServer()
    own.server.behaviour.failAfter = nth(write, failure)
    const destination = own.open({ requestTimeoutMs: failure === 'hang' ? 2000 : 30_000, minBytesPerSecond: 2 ** 30 })
    await checkWhole(destination, await publish(destination, PAYLOAD))
  })

  test.each(cases)('published where $name came before it was done', async ({ write, failure }) => {
    const own = await ownServer()
    own.server.behaviour.failBefore = nth(write, failure)
    const destination = own.open({ requestTimeoutMs: failure === 'hang' ? 2000 : 30_000, minBytesPerSecond: 2 ** 30 })
    await checkWhole(destination, await publish(destination, PAYLOAD))
    equal(own.bucket.uploads.size, 0)
  })

  test.each([true, false])('published where CompleteMultipartUpload answers 200 with an error in its body, committed: %s', async (committed) => {
    const own = await ownServer()
    own.server.behaviour.completeErrors = { times: 2, committed }
    const destination = own.open()
    await checkWhole(destination, await publish(destination, PAYLOAD))
  })

  test('failed with nothing left where CompleteMultipartUpload goes on answering 200 with an error', async () => {
    const own = await ownServer()
    own.server.behaviour.completeErrors = { times: 1000, committed: false }
    const upload = await own.open().put(newUlid())
    await upload.write('payload', PAYLOAD)
    await rejects(upload.publish(MANIFEST), { code: 'destination_unreachable' })
    await upload.abort()
    checkEmpty(own)
  })

  test('published where a long CompleteMultipartUpload sends white space first', async () => {
    const own = await ownServer({ behaviour: { completeDelayMs: 300 } })
    const destination = own.open()
    await checkWhole(destination, await publish(destination, PAYLOAD))
  })
})

test('scenario 21: a manifest that gets through after its upload was given up makes a whole backup, never a listed one without its objects', async () => {
  const own = await ownServer()
  const proxy = await startFaultProxy(own.server.endpoint, {
    plan: ({ method, url }) => (method === 'PUT' && url.includes('manifest.json') ? { kind: 'slow', bytesPerSecond: MANIFEST.byteLength / 8 } : undefined),
  })
  onTestFinished(() => proxy.close())
  const backupId = newUlid()
  const upload = await openAt({ ...own.server, endpoint: proxy.endpoint }, { attempts: 1, requestTimeoutMs: 3000, minBytesPerSecond: 2 ** 30 }).put(backupId)
  await upload.write('payload', PAYLOAD.subarray(0, 1000))
  await upload.write('payload-ids', new TextEncoder().encode('a\nb\n'))
  await rejects(upload.publish(MANIFEST), { code: 'destination_unreachable' })
  await upload.abort()
  deepEqual(await collect(own.open().list()), [])
  deepEqual((await own.open().cleanUp()).kept, [backupId])
  while (!own.server.requests.some(({ operation, key, status }) => operation === 'PutObject' && key.endsWith('manifest.json') && status === 200)) await sleep(20)
  await checkWhole(own.open(), backupId, PAYLOAD.subarray(0, 1000))
})

describe('scenario 22: refused conditions are told apart', () => {
  test('a 412 on the own repetition is recognised by the nonce as success', async () => {
    const own = await ownServer()
    own.server.behaviour.failAfter = nth({ operation: 'PutObject', key: 'manifest.json' }, 'reset')
    const destination = own.open()
    const backupId = await publish(destination, PAYLOAD)
    ok(own.server.requests.some(({ key, status }) => key.endsWith('manifest.json') && status === 412))
    await checkWhole(destination, backupId)
  })

  test('a 412 because of another upload is duplicate_backup_id, and its objects stay', async () => {
    const own = await ownServer()
    const destination = own.open()
    await checkWhole(destination, await publishBeforeLate(PAYLOAD, { late: destination, first: own.open() }))
    equal(own.bucket.uploads.size, 0)
  })

  test('409 ConditionalRequestConflict is tried again', async () => {
    const own = await ownServer({ behaviour: { conflicts: 3 } })
    const destination = own.open()
    await checkWhole(destination, await publish(destination, PAYLOAD))
  })

  test('a store that ignores the condition is looked at before the write, once validate() has found out', async () => {
    const own = await ownServer({ behaviour: { ignoresConditions: true } })
    const destination = own.open()
    ok((await destination.validate()).some(({ code }) => code === 'conditional_writes_ignored'))
    await checkWhole(destination, await publishBeforeLate(PAYLOAD, { late: destination }))
  })

  test('a store that ignores the condition is looked at before the write also without validate()', async () => {
    const own = await ownServer({ behaviour: { ignoresConditions: true } })
    const destination = own.open()
    await checkWhole(destination, await publishBeforeLate(PAYLOAD, { late: destination, first: own.open() }))
  })

  test('a store that refuses requests with the condition is written to without it', async () => {
    const own = await ownServer()
    own.server.behaviour.failBefore = ({ headers }) => (headers['if-none-match'] === undefined ? undefined : { status: 501, code: 'NotImplemented' })
    for (const isValidated of [true, false]) {
      const destination = own.open()
      if (isValidated) ok((await destination.validate()).some(({ code }) => code === 'conditional_writes_ignored'))
      const backupId = await publish(destination, PAYLOAD)
      await checkWhole(destination, backupId)
      await rejects(destination.put(backupId), { code: 'duplicate_backup_id' })
      await destination.delete(backupId)
    }
    checkEmpty(own)
  })

  test('a store where several conditional writes win at once is found out by validate()', async () => {
    const own = await ownServer({ behaviour: { conditionGapMs: 50 } })
    const destination = own.open()
    ok((await destination.validate()).some(({ code }) => code === 'conditional_writes_ignored'))
    await checkWhole(destination, await publish(destination, PAYLOAD))
  })
})

describe('scenario 23: reads and lists that lag', () => {
  test('a 412 on the own repetition is recognised though the store shows the object late', async () => {
    const own = await ownServer({ behaviour: { readLagMs: 150 } })
    own.server.behaviour.failAfter = nth({ operation: 'PutObject', key: 'manifest.json' }, 'reset')
    const destination = own.open({ attempts: 8, wait: undefined, firstDelayMs: 20 })
    const backupId = await publish(destination, PAYLOAD)
    own.server.behaviour.readLagMs = 0
    await checkWhole(destination, backupId)
  })
})

describe('scenario 19: slow and stalling servers', () => {
  test('a part that stalls is sent again from memory', async () => {
    const own = await ownServer()
    own.server.behaviour.failBefore = nth({ operation: 'UploadPart', at: 1 }, 'hang')
    const destination = own.open({ requestTimeoutMs: 2000, minBytesPerSecond: 2 ** 30 })
    await checkWhole(destination, await publish(destination, PAYLOAD))
  })

  test('a part that stalls for ever ends within the deadlines; the upload is aborted, and nothing hangs', async () => {
    const own = await ownServer()
    own.server.behaviour.failBefore = always('UploadPart', 'hang')
    const destination = own.open({ requestTimeoutMs: 200, minBytesPerSecond: 2 ** 30, attempts: 3 })
    const upload = await destination.put(newUlid())
    await upload.write('payload', PAYLOAD)
    const startMs = performance.now()
    await rejects(upload.publish(MANIFEST), { code: 'destination_unreachable', retryable: true })
    ok(performance.now() - startMs < 30_000)
    await upload.abort()
    checkEmpty(own)
  })

  test('totalTimeoutMs ends the tries of one request', async () => {
    const own = await ownServer()
    own.server.behaviour.failBefore = always('UploadPart', 'hang')
    const destination = own.open({ requestTimeoutMs: 200, minBytesPerSecond: 2 ** 30, attempts: 1000, totalTimeoutMs: 500 })
    const upload = await destination.put(newUlid())
    await upload.write('payload', bytesOf(100))
    const startMs = performance.now()
    await rejects(upload.publish(MANIFEST), { code: 'destination_unreachable' })
    ok(performance.now() - startMs < 30_000)
    await upload.abort()
  })

  test('a CompleteMultipartUpload that stalls for ever fails, and nothing of it is left', async () => {
    const own = await ownServer()
    own.server.behaviour.failBefore = always('CompleteMultipartUpload', 'hang')
    const upload = await own.open({ requestTimeoutMs: 200, attempts: 2 }).put(newUlid())
    await upload.write('payload', PAYLOAD)
    await rejects(upload.publish(MANIFEST), { code: 'destination_unreachable' })
    await upload.abort()
    checkEmpty(own)
  })

  test('a signal ends an upload that stalls at once, with its reason', async () => {
    const own = await ownServer()
    own.server.behaviour.failBefore = always('UploadPart', 'hang')
    const reason = new Error('enough')
    const controller = new AbortController()
    const upload = await own.open().put(newUlid(), { signal: controller.signal })
    await upload.write('payload', PAYLOAD)
    const publishing = upload.publish(MANIFEST)
    setTimeout(() => controller.abort(reason), 50)
    await rejects(publishing, reason)
    await upload.abort()
    checkEmpty(own)
  })
})

describe('scenario 20: errors on any request', () => {
  test.each(['CreateMultipartUpload', 'UploadPart', 'CompleteMultipartUpload', 'PutObject'])('%s that always fails is a typed error after a bounded number of tries, with nothing left', async (operation) => {
    for (const failure of ['reset', { status: 503, code: 'SlowDown' }, { status: 500, code: 'InternalError' }] as const) {
      const own = await ownServer()
      own.server.behaviour.failBefore = always(operation, failure)
      const waits: number[] = []
      const destination = own.open({ attempts: 4, firstDelayMs: 100, random: () => 0.5, wait: async (delayMs) => void waits.push(delayMs) })
      await rejects(publish(destination, bytesOf(100)), { code: 'destination_unreachable', retryable: true, httpStatus: 503 })
      equal(own.server.requests.filter((request) => request.operation === operation).length, 4)
      deepEqual(waits, [75, 150, 300])
      deepEqual(await collect(destination.list()), [])
      own.server.behaviour.failBefore = undefined
      await destination.cleanUp({ graceMs: 0, nowMs: Date.now() + 1000 })
      checkEmpty(own)
    }
  })

  test('a full store is destination_no_space', async () => {
    const own = await ownServer()
    own.server.behaviour.failBefore = always('UploadPart', { status: 507, code: 'InsufficientStorage' })
    const upload = await own.open().put(newUlid())
    await upload.write('payload', bytesOf(100))
    await rejects(upload.publish(MANIFEST), { code: 'destination_no_space' })
    await upload.abort()
    checkEmpty(own)
  })

  test('an upload that another client ended fails, and nothing is listed', async () => {
    const own = await ownServer()
    const upload = await own.open().put(newUlid())
    await upload.write('payload', bytesOf(100))
    own.bucket.uploads.clear()
    await rejects(upload.publish(MANIFEST), { code: 'destination_unreachable', retryable: false })
    await upload.abort()
    checkEmpty(own)
  })
})

describe('scenario 24: credentials that end mid-way', () => {
  test('are asked for anew once, and the upload goes on', async () => {
    const own = await ownServer()
    const keys = ['FIRSTKEY000000000001', 'SECONDKEY00000000002'].map((id) => own.server.addKey(id, { sessionToken: `token-of-${id}` }))
    let asked = 0
    const destination = own.open({ credentials: async () => keys[Math.min(asked++, 1)] ?? Promise.reject(new Error('none')) })
    const backupId = newUlid()
    const upload = await destination.put(backupId)
    await upload.write('payload', PAYLOAD)
    const first = own.server.keys.get('FIRSTKEY000000000001')
    if (first !== undefined) first.expired = true
    await upload.write('payload-ids', new TextEncoder().encode('a\nb\n'))
    await upload.publish(MANIFEST)
    equal(asked, 2)
    await checkWhole(destination, backupId)
  })

  test('and stay so are destination_permission_denied after one more try', async () => {
    const own = await ownServer()
    const key = own.server.addKey('FIRSTKEY000000000001', { sessionToken: 'token', expired: true })
    await rejects(own.open({ credentials: key }).put(newUlid()), (error: Error & { code: string; details: { reason: string } }) => {
      deepEqual([error.code, error.details.reason], ['destination_permission_denied', 'expired_token'])
      return true
    })
  })
})
