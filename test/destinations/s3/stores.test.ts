/** What stores do otherwise than S3, one by one: done without, or told for what it is. */
import { deepEqual, equal, ok, rejects, throws } from 'node:assert/strict'
import { describe, onTestFinished, test, vi } from 'vitest'
import { parseS3Url, resolveS3Config } from '../../../destinations/s3/config.ts'
import { explainS3Error, S3AnswerError } from '../../../destinations/s3/errors.ts'
import { openS3Destination, type S3DestinationOptions } from '../../../destinations/s3/index.ts'
import type { Destination } from '../../../src/contracts/destination.ts'
import { isHoldfastError } from '../../../src/errors/errors.ts'
import { newUlid } from '../../../src/util/ulid.ts'
import { collect } from '../../support/collect.ts'
import { deferred } from '../../support/deferred.ts'
import type { S3Behaviour } from '../../support/s3/server.ts'
import { Bytes } from '../../support/s3/server-state.ts'
import { bytesOf, MANIFEST, MIB, type OwnServer, ownServer, PART_BYTES, PREFIX, publish, publishBeforeLate } from './setup.ts'

/** Two parts, the last not full. */
const PAYLOAD = bytesOf(PART_BYTES + 1234)

async function checkWhole(destination: Destination, backupId: string): Promise<void> {
  deepEqual(await collect(destination.list()), [backupId])
  ok(Buffer.from(await destination.manifest(backupId)).equals(MANIFEST))
  ok(Buffer.concat(await collect(destination.open(backupId, 'payload'))).equals(PAYLOAD))
  deepEqual(await destination.stat(backupId), { bytes: { payload: PAYLOAD.byteLength, 'payload-ids': 4 } })
}

function checkEmpty({ keys, bucket }: OwnServer): void {
  deepEqual([keys(), bucket.uploads.size], [[], 0])
}

async function failureOf(promise: Promise<unknown>): Promise<{ message: string; hint: string; code: string; reason: unknown }> {
  const thrown: unknown = await promise.then(() => undefined, (error: unknown) => error)
  ok(isHoldfastError(thrown), String(thrown))
  return { message: thrown.message, hint: thrown.hint, code: thrown.code, reason: thrown.details['reason'] }
}

describe('checksums', () => {
  const headers = (own: OwnServer): string[] => 
    own.server.requests.flatMap(({ status, headers: sent }) => (status < 300 ? Object.keys(sent).filter((name) => name.includes('checksum')) : []))

  test.each([400, 501] as const)('refused by %i are left out, with Content-MD5 instead; each request of a session that found out is sent once', async (status) => {
    const own = await ownServer({ behaviour: { refusesChecksums: status } })
    const destination = own.open()
    const backupId = await publish(destination, PAYLOAD)
    await checkWhole(destination, backupId)
    deepEqual(headers(own), [])
    ok(own.server.requests.every(({ operation, headers: sent }) => !['UploadPart', 'PutObject'].includes(operation) || sent['content-md5'] !== undefined))
    equal(own.server.requests.filter(({ status: answered }) => answered === status).length, 1)
    deepEqual((await destination.validate()).map(({ code }) => code), ['checksums_ignored', 'no_abort_incomplete_rule'])
  })

  test('are always sent by option: then the refusal is told in the words of the server', async () => {
    const own = await ownServer({ behaviour: { refusesChecksums: 400 } })
    const { message, code } = await failureOf(publish(own.open({ checksums: 'always' })))
    equal(code, 'destination_unreachable')
    ok(message.endsWith("the server refused the request (InvalidArgument, HTTP 400: Unsupported header 'x-amz-checksum-algorithm' received for this API call.)"), message)
  })

  test('are never sent by option, and nothing is said of it', async () => {
    const own = await ownServer()
    const destination = own.open({ checksums: 'never' })
    deepEqual((await destination.validate()).map(({ code }) => code), ['no_abort_incomplete_rule'])
    await checkWhole(destination, await publish(destination, PAYLOAD))
    deepEqual(headers(own), [])
  })
})

describe('conditions', () => {
  const REFUSALS = [400, 405, 501] as const
  test.each(REFUSALS.flatMap((status) => [true, false].map((isValidated) => [status, isValidated] as const)))('refused by %i are done without; validated first: %s', async (status, isValidated) => {
    for (const behaviour of [{ refusesPutConditions: status }, { refusesCompleteConditions: status }, { refusesPutConditions: status, refusesCompleteConditions: status }]) {
      const own = await ownServer({ behaviour })
      const destination = own.open()
      const codes = isValidated ? (await destination.validate()).map(({ code }) => code) : []
      equal(codes.includes('conditional_writes_ignored'), isValidated && 'refusesPutConditions' in behaviour)
      equal(codes.includes('conditional_multipart_ignored'), isValidated && 'refusesCompleteConditions' in behaviour)
      await checkWhole(destination, await publishBeforeLate(PAYLOAD, { late: destination }))
      // What was not refused is kept.
      ok(own.server.requests.some(({ status: answered, headers }) => answered === 200 && headers['x-amz-checksum-crc32'] !== undefined))
    }
  })
})

test.each([412, 409])('a repetition that is refused because the key is taken, by %i PreconditionFailed, is looked for until the object is there', async (status) => {
  const own = await ownServer()
  let tries = 0
  let looks = 0
  own.server.behaviour.failAfter = ({ operation, key }) => (operation === 'PutObject' && key.endsWith('manifest.json') ? 'reset' : undefined)
  own.server.behaviour.failBefore = ({ operation, key }) => {
    if (!key.endsWith('manifest.json')) return undefined
    if (operation === 'PutObject') return ++tries === 1 ? undefined : { status, code: 'PreconditionFailed' }
    return tries > 0 && ++looks < 3 ? { status: 404, code: 'NoSuchKey' } : undefined
  }
  const destination = own.open()
  await checkWhole(destination, await publish(destination, PAYLOAD))
  ok(looks >= 3)
})

describe('CompleteMultipartUpload', () => {
  /** Cuts the connection of each completion, and makes the object when `isDone` resolves. */
  const late = (isDone: Promise<void>): S3Behaviour => ({ completeLate: isDone })

  test('that is cut off, and then answered NoSuchUpload, is looked for until the object is there', async () => {
    const done = deferred()
    const own = await ownServer({ behaviour: late(done.promise) })
    let looks = 0
    own.server.behaviour.failBefore = ({ operation }) => {
      const isRepeated = own.server.requests.some(({ code }) => code === 'NoSuchUpload')
      if (isRepeated && operation === 'HeadObject' && ++looks === 3) done.resolve()
      return undefined
    }
    const destination = own.open()
    await checkWhole(destination, await publish(destination, PAYLOAD))
    ok(looks >= 3)
  })

  test('that takes longer than all time-outs is told as such, not by what its repetition was answered', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const own = await ownServer({ behaviour: late(new Promise(() => undefined)) })
    const destination = own.open({ totalTimeoutMs: 600, wait: async () => void vi.advanceTimersByTime(100) })
    const { message, hint, code, reason } = await failureOf(publish(destination, PAYLOAD))
    deepEqual([code, reason], ['destination_unreachable', 'too_slow'])
    ok(message.endsWith('the store did not complete it within 600 ms') && hint.includes('total-timeout-ms='), `${message}; ${hint}`)
  })

  test('whose answer is lost at the probe is not a failure of it', async () => {
    const own = await ownServer({ behaviour: { ignoresConditions: true } })
    let isLost = false
    own.server.behaviour.failAfter = ({ operation }) => (operation === 'CompleteMultipartUpload' && !isLost && (isLost = true) ? 'reset' : undefined)
    ok((await own.open().validate()).some(({ code }) => code === 'conditional_multipart_ignored'))
    checkEmpty(own)
  })

  test('answered 404 at the probe, with no answer lost before, is a failure of it', async () => {
    const own = await ownServer()
    own.server.behaviour.failBefore = ({ operation }) => (operation === 'CompleteMultipartUpload' ? { status: 404, code: 'NoSuchUpload' } : undefined)
    const { message } = await failureOf(own.open().validate())
    ok(message.includes('NoSuchUpload, HTTP 404'), message)
    checkEmpty(own)
  })

  test('refused with its condition, and then lost without it at the probe, is sent without it from then on', async () => {
    const own = await ownServer({ behaviour: { refusesCompleteConditions: 501 } })
    let isLost = false
    own.server.behaviour.failAfter = ({ operation }) => (operation === 'CompleteMultipartUpload' && !isLost && (isLost = true) ? 'reset' : undefined)
    const destination = own.open()
    ok((await destination.validate()).some(({ code }) => code === 'conditional_multipart_ignored'))
    ok(isLost)
    await checkWhole(destination, await publish(destination, PAYLOAD))
  })

  test('that sends white space has its time-out once more with each', async () => {
    const own = await ownServer({ behaviour: { completeDelayMs: 2000 } })
    const destination = own.open({ requestTimeoutMs: 700, minBytesPerSecond: 2 ** 30, attempts: 1 })
    await checkWhole(destination, await publish(destination, PAYLOAD))
  })

  test('that sends white space for ever ends with the total time-out', async () => {
    const own = await ownServer({ behaviour: { completeDelayMs: 8000, completeErrors: { times: 9, committed: false } } })
    const upload = await own.open({ requestTimeoutMs: 300, totalTimeoutMs: 900, minBytesPerSecond: 2 ** 30, attempts: 1 }).put(newUlid())
    await upload.write('payload', bytesOf(10))
    const startMs = performance.now()
    await rejects(upload.publish(MANIFEST), { code: 'destination_unreachable' })
    ok(performance.now() - startMs < 6000)
  })

  test('refused for its parts names the option for equal ones, which the session uses from then on', async () => {
    const own = await ownServer()
    const destination = own.open()
    const failure = { status: 400, code: 'InvalidPart', message: 'All non-trailing parts must have the same length.' }
    own.server.behaviour.failBefore = ({ operation }) => (operation === 'CompleteMultipartUpload' ? failure : undefined)
    const { message, hint } = await failureOf(publish(destination, PAYLOAD))
    ok(message.endsWith('(InvalidPart, HTTP 400: All non-trailing parts must have the same length.)'), message)
    ok(hint.includes('equal-parts=true'))
    own.server.behaviour.failBefore = undefined
    await checkEqualParts(own, destination)
  })
})

/** A list shows a payload of 30 GiB: twice that in 10,000 parts makes parts of 7 MiB. */
async function checkEqualParts(own: OwnServer, destination: Destination): Promise<void> {
  const large = Object.assign(new Bytes([]), { size: 30 * 1024 * MIB })
  own.bucket.add({ key: `${PREFIX}${newUlid()}/payload`, id: 'null', data: large, etag: '"x"', lastModified: new Date(), headers: {}, isDeleteMarker: false })
  await destination.cleanUp()
  const from = own.server.requests.length
  await publish(destination, bytesOf(15 * MIB))
  const sizes = own.server.requests.slice(from).flatMap(({ operation, headers }) => (operation === 'UploadPart' ? [Number(headers['content-length'])] : []))
  deepEqual(sizes.toSorted((a, b) => b - a), [7 * MIB, 7 * MIB, MIB])
}

describe('equal parts', () => {
  test('are sized by the largest payload listed', async () => {
    const own = await ownServer({ behaviour: { wantsEqualParts: true } })
    await checkEqualParts(own, own.open({ equalParts: true }))
  })

  test('are the default at an endpoint of Cloudflare R2, and an option of the URL', () => {
    const isEqual = (query: string): boolean => resolveS3Config(parseS3Url(`s3://bucket/a?${query}`)).equalParts
    equal(isEqual('endpoint=https://account.r2.cloudflarestorage.com'), true)
    equal(isEqual('endpoint=https://account.r2.cloudflarestorage.com&equal-parts=false'), false)
    equal(isEqual('equal-parts=true'), true)
    equal(isEqual(''), false)
    throws(() => isEqual('equal-parts=yes'), { code: 'destination_config_invalid' })
  })
})

describe('a store that keeps no metadata and knows no conditions', () => {
  test.each(['CompleteMultipartUpload', 'PutObject'])('own writes are recognised by their bytes when the answer to %s is lost', async (operation) => {
    const own = await ownServer({ behaviour: { keepsNoMetadata: true, ignoresConditions: true } })
    const seen = new Set<string>()
    own.server.behaviour.failAfter = (request) => (request.operation === operation && !seen.has(request.key) && seen.add(request.key) ? 'reset' : undefined)
    const destination = own.open()
    await checkWhole(destination, await publish(destination, PAYLOAD))
    ok(seen.size > 0)
  })

  test("another's object of the same size is not taken for the own one", async () => {
    const own = await ownServer({ behaviour: { keepsNoMetadata: true, ignoresConditions: true } })
    const destination = own.open()
    const backupId = newUlid()
    const late = await destination.put(backupId)
    await late.write('payload', bytesOf(100).fill(7))
    await publish(destination, bytesOf(100), backupId)
    await rejects(late.publish(MANIFEST), { code: 'duplicate_backup_id' })
    await late.abort()
    ok(Buffer.concat(await collect(destination.open(backupId, 'payload'))).equals(bytesOf(100)))
  })

  test('a manifest that was written before the job was cancelled does not stay listed', async () => {
    const own = await ownServer({ behaviour: { keepsNoMetadata: true, ignoresConditions: true } })
    const destination = own.open()
    await destination.validate()
    const controller = new AbortController()
    const upload = await destination.put(newUlid(), { signal: controller.signal })
    await upload.write('payload', bytesOf(100))
    let isWritten = false
    own.server.behaviour.failBefore = (request) => {
      if (!request.key.endsWith('manifest.json')) return undefined
      if (isWritten) controller.abort(new Error('stop'))
      isWritten ||= request.operation === 'PutObject'
      return undefined
    }
    await rejects(upload.publish(MANIFEST), /stop/)
    ok(isWritten)
    await upload.abort()
    deepEqual(await collect(destination.list()), [])
  })

  test('reads nothing back where the answers come', async () => {
    const own = await ownServer({ behaviour: { keepsNoMetadata: true, ignoresConditions: true } })
    const destination = own.open()
    await destination.validate()
    own.operations()
    await publish(destination, PAYLOAD)
    ok(!own.operations().includes('GetObject'))
  })
})

describe('answers that say less than those of S3', () => {
  test('a list that does not say where it continues is told as that', async () => {
    const own = await ownServer({ behaviour: { losesTokens: true, pageSize: 1 } })
    await publish(own.open())
    const { message } = await failureOf(collect(own.open().list()))
    ok(message.endsWith('the server did not answer completely (EBADANSWER: The list is incomplete and does not say where it continues)'), message)
  })

  test('no lengths: publish, read, stat and delete all the same', async () => {
    const own = await ownServer({ behaviour: { tellsNoLengths: true } })
    const destination = own.open()
    ok((await destination.validate()).some(({ code }) => code === 'lengths_not_told'))
    const backupId = await publish(destination, PAYLOAD)
    await checkWhole(destination, backupId)
    await destination.delete(backupId)
    checkEmpty(own)
  })

  test('no bodies: what is not there is told as missing, by 404 alone', async () => {
    const own = await ownServer({ behaviour: { answersBare: true, missesDeleted: true, listsNoUploads: 404 } })
    const destination = own.open()
    const backupId = await publish(destination, PAYLOAD)
    await checkWhole(destination, backupId)
    own.bucket.remove(`${PREFIX}${backupId}/payload`, 'null')
    await rejects(collect(destination.open(backupId, 'payload')), { code: 'backup_incomplete' })
    await destination.delete(backupId)
    await destination.delete(backupId)
    await rejects(destination.manifest(backupId), { code: 'manifest_missing' })
    const upload = await destination.put(newUlid())
    own.bucket.uploads.clear()
    await upload.abort()
    checkEmpty(own)
  })

  test('403 for what is not there: the list decides, also for objects of a backup; a key that may not read is refused all the same', async () => {
    const own = await ownServer({ behaviour: { hidesMissing: true } })
    const destination = own.open()
    const backupId = await publish(destination, PAYLOAD)
    await checkWhole(destination, backupId)
    await rejects(publish(destination, PAYLOAD, backupId), { code: 'duplicate_backup_id' })
    own.bucket.remove(`${PREFIX}${backupId}/payload`, 'null')
    await rejects(collect(destination.open(backupId, 'payload')), { code: 'backup_incomplete' })
    await destination.delete(backupId)
    await rejects(destination.manifest(backupId), { code: 'manifest_missing' })
    checkEmpty(own)
    const Statement = [{ Effect: 'Allow', Action: ['s3:List*', 's3:PutObject'], Resource: '*' }] as const
    const keys = [{ Statement }, { Statement: [Statement[0], { Effect: 'Deny', Action: 's3:ListBucket', Resource: '*' }] }] as const
    await publish(destination, PAYLOAD, backupId)
    for (const [at, policy] of keys.entries()) {
      const credentials = own.server.addKey(`HOLDFASTTESTKEY0001${at}`, { policy })
      await rejects(own.open({ credentials }).manifest(backupId), { code: 'destination_permission_denied' })
    }
    await rejects(own.open({ credentials: own.server.addKey('HOLDFASTTESTKEY00012', { policy: { Statement } }), access: 'restore' }).validate(), { code: 'destination_permission_denied' })
  })

  test('403 for what is not there, and a list that fails: the error tells that, and what the list was asked for', async () => {
    const own = await ownServer({ behaviour: { hidesMissing: true } })
    own.server.behaviour.failBefore = ({ operation }) => (operation === 'ListObjectsV2' ? { status: 503, code: 'SlowDown' } : undefined)
    for (const call of [() => own.open().put(newUlid()), () => own.open().manifest(newUlid()), () => own.open().delete(newUlid())]) {
      await rejects(call, (error: Error & { code: string; retryable: boolean }) => {
        deepEqual([error.code, error.retryable], ['destination_unreachable', true])
        return /^Cannot list .*SlowDown, HTTP 503.*; before that: Cannot (read|look at) .*HTTP 403/.test(error.message)
      })
    }
  })

  test('403 for what is not there: all pages of the list decide', async () => {
    const own = await ownServer({ behaviour: { hidesMissing: true, pageSize: 1 } })
    const destination = own.open()
    const backupId = await publish(destination, PAYLOAD)
    own.bucket.remove(`${PREFIX}${backupId}/payload`, 'null')
    const data = new Bytes([])
    own.bucket.add({ key: `${PREFIX}${backupId}/payload-old`, id: 'null', data, etag: '"x"', lastModified: new Date(), headers: {}, isDeleteMarker: false })
    await rejects(collect(destination.open(backupId, 'payload')), { code: 'backup_incomplete' })
  })

  test.each(['unsaid', 'only said'] as const)('lists whose keys are encoded otherwise than they say (%s): a prefix with any characters is found', async (keyEncoding) => {
    const own = await ownServer({ behaviour: { keyEncoding } })
    for (const prefix of ['a b', '100%', 'a%20b', 'a+b', 'é/ü']) {
      const destination = own.open({ prefix })
      const backupId = await publish(destination, PAYLOAD)
      await checkWhole(destination, backupId)
      equal((await destination.cleanUp()).newest, backupId)
    }
  })

  test.each([400, 404, 405, 501] as const)('no list of uploads, by %i: clean-up goes on, validate() warns', async (listsNoUploads) => {
    const own = await ownServer({ behaviour: { listsNoUploads } })
    const destination = own.open()
    await publish(destination)
    const orphan = newUlid()
    own.bucket.add({ key: `${PREFIX}${orphan}/payload`, id: 'null', data: new Bytes([]), etag: '"x"', lastModified: new Date(0), headers: {}, isDeleteMarker: false })
    deepEqual((await destination.cleanUp()).removed, [orphan])
    ok((await destination.validate()).some(({ code }) => code === 'uploads_not_listed'))
  })

  test('an archived object is told as archived, not as a lack of permission', async () => {
    const own = await ownServer()
    const backupId = await publish(own.open())
    own.server.behaviour.isArchived = true
    const { code, reason, hint } = await failureOf(own.open().manifest(backupId))
    deepEqual([code, reason], ['destination_unreachable', 'archived'])
    ok(hint.includes('restore-object') && !hint.includes('s3:GetObject'))
  })
})

describe('answers of something else than the store', () => {
  /** As nginx has it: not XML. */
  const page = (title: string): string => `<html>\r\n<head><title>${title}</title></head>\r\n<body>\r\n<center><h1>${title}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n`

  test('the page of a proxy that takes no large bodies tells the limit and the option for smaller parts, at once', async () => {
    const own = await ownServer()
    own.server.behaviour.failBefore = ({ operation }) => (operation === 'UploadPart' ? { status: 413, page: page('413 Request Entity Too Large') } : undefined)
    const { message, hint, code, reason } = await failureOf(publish(own.open(), PAYLOAD))
    deepEqual([code, reason], ['destination_unreachable', 'too_large'])
    ok(message.endsWith('(HTTP 413)') && hint.includes('part-bytes='), `${message}; ${hint}`)
    equal(own.server.requests.filter(({ operation }) => operation === 'UploadPart').length, 2)
  })

  test.each([
    [403, 'destination_permission_denied'],
    [502, 'destination_unreachable'],
  ])('a page with status %i is told by its status', async (status, code) => {
    const own = await ownServer()
    own.server.behaviour.failBefore = () => ({ status, page: page('No') })
    const failure = await failureOf(collect(own.open().list()))
    equal(failure.code, code)
    ok(failure.message.includes(`HTTP ${status}`), failure.message)
  })

  const STATUSES = [500, 503, 520, 524].flatMap((status) => [true, false].map((isXml) => [status, isXml] as const))
  test.each(STATUSES)('a manifest that is answered %i by the page of a proxy may arrive later: its objects stay; parsed as XML: %s', async (status, isXml) => {
    const body = isXml ? '<html><body>Timeout<br/></body></html>' : page('Timeout')
    const own = await ownServer()
    own.server.behaviour.failBefore = ({ operation, key }) => (operation === 'PutObject' && key.endsWith('manifest.json') ? { status, page: body } : undefined)
    const backupId = newUlid()
    const upload = await own.open().put(backupId)
    await upload.write('payload', PAYLOAD)
    await rejects(upload.publish(MANIFEST), { code: 'destination_unreachable' })
    await upload.abort()
    deepEqual(own.keys(), [`${backupId}/payload`, `${backupId}/payload-ids`])
  })

  test('a completion that is answered by the page of a proxy, and then NoSuchUpload, is waited for', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const own = await ownServer()
    let tries = 0
    own.server.behaviour.failBefore = ({ operation }) => {
      if (operation !== 'CompleteMultipartUpload') return undefined
      return ++tries === 1 ? { status: 524, page: page('Timeout') } : { status: 404, code: 'NoSuchUpload' }
    }
    const destination = own.open({ totalTimeoutMs: 600, wait: async () => void vi.advanceTimersByTime(100) })
    const { reason } = await failureOf(publish(destination, PAYLOAD))
    deepEqual([reason, tries], ['too_slow', 2])
  })

  test.each([400, 405, 501])('a page with status %i is not a refusal of the store: conditions and checksums are still sent', async (status) => {
    const own = await ownServer()
    let pages = 0
    own.server.behaviour.failBefore = ({ operation }) => (operation === 'PutObject' && ++pages <= 2 ? { status, page: page('No') } : undefined)
    const destination = own.open()
    for (let times = 0; times < 2; times++) {
      const { code, reason, hint } = await failureOf(publish(destination, PAYLOAD))
      deepEqual([code, reason], ['destination_unreachable', 'stopped_on_the_way'])
      ok(hint.includes('between this machine and the store'), hint)
    }
    await publish(destination, PAYLOAD)
    const puts = own.server.requests.filter(({ operation }) => operation === 'PutObject')
    equal(puts.length, 4)
    ok(puts.every(({ headers }) => headers['x-amz-checksum-crc32'] !== undefined && headers['if-none-match'] === '*'))
  })

  test.each(['', page('Welcome')])('a write that is answered 200 without an ETag is not taken for done: %j', async (body) => {
    for (const name of ['payload-ids', 'manifest.json']) {
      const own = await ownServer()
      own.server.behaviour.failBefore = ({ operation, key }) => (operation === 'PutObject' && key.endsWith(name) ? { status: 200, page: body } : undefined)
      const upload = await own.open().put(newUlid())
      await upload.write('payload', bytesOf(10))
      await rejects(upload.publish(MANIFEST), { code: 'destination_unreachable' })
      await upload.abort()
      deepEqual(await collect(own.open().list()), [])
    }
  })

  test('a list that is answered 404 without a code says that the bucket is not there', async () => {
    const own = await ownServer({ behaviour: { answersBare: true } })
    const { code, hint } = await failureOf(collect(own.open({ bucket: 'no-such-bucket' }).list()))
    equal(code, 'destination_not_found')
    ok(hint.includes('Create the bucket'))
  })
})

test('an upload that something else ended is told as that', async () => {
  const own = await ownServer()
  const upload = await own.open().put(newUlid())
  await upload.write('payload', bytesOf(100))
  own.bucket.uploads.clear()
  const { reason, hint } = await failureOf(upload.publish(MANIFEST))
  deepEqual([reason, hint.includes('lifecycle rule')], ['upload_ended', true])
})

test('an own object that is stored cut short is told as that, not as another backup, and does not stay', async () => {
  for (const name of ['payload-ids', 'manifest.json']) {
    const own = await ownServer()
    own.server.behaviour.failAfter = ({ operation, key }) => {
      if (operation !== 'PutObject' || !key.endsWith(name)) return undefined
      const stored = own.bucket.current(key)
      if (stored !== undefined) own.bucket.add({ ...stored, data: new Bytes([Buffer.from(stored.data.toString().slice(0, 2))]) })
      return 'reset'
    }
    const upload = await own.open().put(newUlid())
    await upload.write('payload', bytesOf(10))
    await upload.write('payload-ids', new TextEncoder().encode('a\nb\n'))
    const { code, message, hint } = await failureOf(upload.publish(MANIFEST))
    equal(code, 'checksum_mismatch')
    ok(/the store has 2 bytes of it instead of \d+$/.test(message) && hint.endsWith('take the backup again'), `${message}; ${hint}`)
    await upload.abort()
    deepEqual(await collect(own.open().list()), [])
  }
})

test('a part for which the store computed another checksum is not told as damage of a backup; a read is', () => {
  const hints = (['write', 'read'] as const).map((operation) => explainS3Error(new S3AnswerError('EDAMAGED', 'No'), { operation, bucket: 'b' }, []).error.hint)
  deepEqual(hints.map((hint) => hint.endsWith('take the backup again')), [true, false])
})

describe('what a bucket demands', () => {
  test('headers of a policy are sent by option, with all that is created and with the probe', async () => {
    const demandsHeaders = {
      'x-amz-server-side-encryption': 'aws:kms',
      'x-amz-server-side-encryption-aws-kms-key-id': 'alias/backups',
      'x-amz-storage-class': 'STANDARD_IA',
      'x-amz-acl': 'bucket-owner-full-control',
    }
    const own = await ownServer({ behaviour: { demandsHeaders, requesterPays: true } })
    await rejects(own.open({ requesterPays: true }).validate(), /demands x-amz-server-side-encryption: aws:kms/)
    await rejects(own.open().validate(), /The requester must pay/)
    const named: Partial<S3DestinationOptions> = { storageClass: 'STANDARD_IA', acl: 'bucket-owner-full-control', requesterPays: true }
    const destination = own.open({ encryption: 'aws:kms', kmsKeyId: 'alias/backups', ...named })
    await destination.validate()
    const backupId = await publish(destination, PAYLOAD)
    await checkWhole(destination, backupId)
    await destination.delete(backupId)
    await destination.cleanUp()
    checkEmpty(own)
  })

  test('that say what a store lacks are listed by validate(), and no backup warns of them', async () => {
    const own = await ownServer()
    const destination = own.open({ equalParts: true, checksums: 'never' })
    await publish(destination, PAYLOAD)
    deepEqual(destination.takeWarnings?.(), [])
    ok((await destination.validate()).some(({ code }) => code === 'equal_parts'))
  })

  test('are options of the URL', () => {
    const url = 's3://bucket/a?encryption=aws:kms&kms-key=alias/x&storage-class=GLACIER_IR&acl=private&requester-pays=true&checksums=never'
    equal(openS3Destination(url).url, 's3://bucket/a')
    for (const wrong of ['encryption=rot13', 'kms-key=a%0db', 'storage-class=GLACIER', 'storage-class=cold', 'acl=A', 'requester-pays=1', 'checksums=maybe']) {
      throws(() => openS3Destination(`s3://bucket/a?${wrong}`), { code: 'destination_config_invalid' }, wrong)
    }
  })

  test('a bucket name that Amazon does not allow is taken at an endpoint, in the path', async () => {
    const own = await ownServer({ buckets: ['My_Backups'] })
    const destination = own.open({ bucket: 'My_Backups' })
    await checkWhole(destination, await publish(destination, PAYLOAD))
    for (const query of ['', 'endpoint=http://h&path-style=false']) {
      throws(() => openS3Destination(`s3://My_Backups/a?${query}`), { code: 'destination_config_invalid' })
    }
    equal(openS3Destination('s3://My_Backups/a?endpoint=http://h').url, 's3://My_Backups/a?endpoint=http%3A%2F%2Fh')
  })
})

describe('the environment', () => {
  function stub(variables: Readonly<Record<string, string>>): void {
    for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value)
    onTestFinished(() => void vi.unstubAllEnvs())
  }

  test('variables that are set and empty are not set', async () => {
    const empty = ['REGION', 'USE_FIPS_ENDPOINT', 'USE_DUALSTACK_ENDPOINT', 'DEFAULTS_MODE', 'RETRY_MODE', 'PROFILE', 'SESSION_TOKEN', 'ENDPOINT_URL']
    stub(Object.fromEntries(empty.map((name) => [`AWS_${name}`, ''])))
    const before = { ...process.env }
    const own = await ownServer()
    const destination = own.open({ region: undefined })
    await checkWhole(destination, await publish(destination, PAYLOAD))
    deepEqual({ ...process.env }, before)
  })

  test('a key with the CR of a Windows file is told as such, and so is a secret', async () => {
    const own = await ownServer()
    const { accessKeyId, secretAccessKey } = own.server
    const waits: number[] = []
    for (const credentials of [{ accessKeyId: `${accessKeyId}\r`, secretAccessKey }, { accessKeyId, secretAccessKey: `${secretAccessKey}\r` }]) {
      const { code, reason, hint } = await failureOf(own.open({ credentials, wait: async (delayMs) => void waits.push(delayMs) }).validate())
      deepEqual([code, reason], ['destination_config_invalid', 'malformed_key'])
      ok(hint.includes('CR'))
    }
    deepEqual(waits, [])
  })

  test('AWS_USE_FIPS_ENDPOINT with an endpoint is told as a contradiction, at once', async () => {
    stub({ AWS_USE_FIPS_ENDPOINT: 'true' })
    const own = await ownServer()
    const { code, reason, message } = await failureOf(own.open({ wait: () => Promise.reject(new Error('Tried again')) }).validate())
    deepEqual([code, reason], ['destination_config_invalid', 'misconfigured'])
    ok(message.includes('A custom endpoint cannot be combined with FIPS'), message)
  })
})
