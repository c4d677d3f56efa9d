import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { inspect, promisify } from 'node:util'
import { describe, onTestFinished, test, vi } from 'vitest'
import { s3Destination, type S3DestinationOptions } from '../../../destinations/s3/index.ts'
import { newUlid } from '../../../src/util/ulid.ts'
import { isHoldfastError } from '../../../src/errors/errors.ts'
import { collect } from '../../support/collect.ts'
import type { Policy } from '../../support/s3/server.ts'
import { startS3Server } from '../../support/s3/server.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { BUCKET, bytesOf, MANIFEST, openAt, type OwnServer, ownServer, PREFIX, publish } from './setup.ts'

const RULE = (prefix: string, status = 'Enabled'): string =>
  `<LifecycleConfiguration><Rule><ID>x</ID><Status>${status}</Status><Filter><Prefix>${prefix}</Prefix></Filter>` +
  '<AbortIncompleteMultipartUpload><DaysAfterInitiation>3</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>'

/** Checks an error's code and reason, that its hint says something of its own, and that it shows no secret. */
function told(code: string, reason: string, hint: RegExp) {
  return (error: unknown): boolean => {
    ok(isHoldfastError(error), String(error))
    deepEqual([error.code, error.details['reason']], [code, reason])
    ok(hint.test(error.hint), error.hint)
    ok(!/secret-of|hunter2|holdfast\/test\+secret/.test(inspect(error, { depth: 9, showHidden: true }) + JSON.stringify(error)), inspect(error, { depth: 9 }))
    return true
  }
}

function allow(actions: readonly string[]): Policy {
  return { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: actions, Resource: [`arn:aws:s3:::${BUCKET}`, `arn:aws:s3:::${BUCKET}/*`] }] }
}

const ACTIONS = ['s3:ListBucket', 's3:ListBucketMultipartUploads', 's3:ListMultipartUploadParts', 's3:PutObject', 's3:GetObject', 's3:DeleteObject', 's3:AbortMultipartUpload', 's3:GetLifecycleConfiguration']

describe('s3Destination() validate()', () => {
  test('has no warning for a store like S3 with a lifecycle rule, and leaves nothing behind', async () => {
    const own = await ownServer()
    own.bucket.lifecycle = RULE('')
    deepEqual(await own.open().validate(), [])
    deepEqual(own.keys(), [])
    equal(own.bucket.uploads.size, 0)
    // All that it wrote was under the prefix.
    ok(own.server.requests.every(({ key }) => key === '' || key.startsWith(PREFIX)))
  })

  test.each([
    ['none', undefined, true],
    ['one for all keys', RULE(''), false],
    ['one for the prefix', RULE('some/'), false],
    ['one for another prefix', RULE('other/'), true],
    ['a disabled one', RULE('', 'Disabled'), true],
  ])('warns where no lifecycle rule ends incomplete uploads under the prefix: %s', async (_, lifecycle, isWarned) => {
    const own = await ownServer()
    own.bucket.lifecycle = lifecycle
    deepEqual((await own.open().validate()).map(({ code }) => code), isWarned ? ['no_abort_incomplete_rule'] : [])
  })

  test('warns of stores that compare no checksums', async () => {
    for (const behaviour of [{ verifiesNoChecksum: true }, { knowsNoChecksum: true }]) {
      const own = await ownServer({ behaviour })
      ok((await own.open().validate()).some(({ code }) => code === 'checksums_ignored'))
      await publish(own.open(), bytesOf(100))
    }
  })

  test('warns where the settings of the bucket cannot be seen', async () => {
    const own = await ownServer({ behaviour: { hasNoBucketSettings: true } })
    deepEqual((await own.open().validate()).map(({ code }) => code), ['lifecycle_unknown'])
  })

  test('tells a bucket that does not exist', async () => {
    const own = await ownServer()
    await rejects(own.open({ bucket: 'no-such-bucket' }).validate(), told('destination_not_found', 'no_such_bucket', /Create the bucket/))
  })

  test('tells a wrong region, and the right one in its hint', async () => {
    const own = await ownServer({ region: 'eu-central-1' })
    await rejects(own.open({ region: 'us-west-2' }).validate(), told('destination_config_invalid', 'wrong_region', /region=eu-central-1/))
  })

  test('tells a wrong key, and a wrong secret', async () => {
    const own = await ownServer()
    const { accessKeyId, secretAccessKey } = own.server
    await rejects(own.open({ credentials: { accessKeyId: 'NOSUCHKEY00000000001', secretAccessKey } }).validate(), told('destination_permission_denied', 'wrong_key', /AWS_ACCESS_KEY_ID/))
    await rejects(own.open({ credentials: { accessKeyId, secretAccessKey: 'hunter2' } }).validate(), told('destination_permission_denied', 'wrong_secret', /AWS_SECRET_ACCESS_KEY/))
  })

  test('tells an expired token', async () => {
    const own = await ownServer()
    const credentials = own.server.addKey('EXPIREDKEY0000000001', { sessionToken: 'hunter2', expired: true })
    await rejects(own.open({ credentials }).validate(), told('destination_permission_denied', 'expired_token', /Renew/))
  })

  test('tells credentials that cannot be had', async () => {
    const own = await ownServer()
    const failing = async (): Promise<never> => {
      throw Object.assign(new Error('No profile'), { name: 'CredentialsProviderError' })
    }
    await rejects(own.open({ credentials: failing }).validate(), told('destination_permission_denied', 'no_credentials', /AWS_PROFILE/))
  })

  test('tells that the SDK needs a home directory', async () => {
    const own = await ownServer()
    // As the SDK rejects where HOME is not set and the user has no entry in the system's list.
    const homeless = async (): Promise<never> => {
      throw Object.assign(new Error('A system error occurred: uv_os_homedir returned ENOENT (no such file or directory)'), { code: 'ERR_SYSTEM_ERROR' })
    }
    await rejects(own.open({ credentials: homeless }).validate(), told('destination_config_invalid', 'no_home', /Set HOME/))
  })

  test('takes credentials out of whatever a server answers', async () => {
    const own = await ownServer()
    const { accessKeyId, secretAccessKey } = own.server
    own.server.behaviour.failBefore = () => ({ status: 400, code: 'InvalidRequest', message: `You said ${accessKeyId} and ${secretAccessKey}` })
    const thrown: unknown = await own.open().validate().catch((error: unknown) => error)
    const shown = inspect(thrown, { depth: 9, showHidden: true })
    ok(shown.includes('You said (secret) and (secret)') && !shown.includes(accessKeyId) && !shown.includes(secretAccessKey), shown)
  })

  test('ends when the provider of credentials never answers', async () => {
    const own = await ownServer()
    const destination = own.open({ credentials: () => new Promise(() => undefined), requestTimeoutMs: 50, attempts: 2 })
    await rejects(destination.validate(), { code: 'destination_unreachable' })
  })

  test.each([
    ['s3:ListBucket', 'list'],
    ['s3:ListBucketMultipartUploads', 'list uploads of'],
    ['s3:PutObject', 'write'],
    ['s3:GetObject', 'look at'],
    ['s3:DeleteObject', 'delete'],
    ['s3:AbortMultipartUpload', 'end the upload of'],
  ])('tells that %s is missing', async (action, operation) => {
    const own = await ownServer()
    const credentials = own.server.addKey('LIMITEDKEY0000000001', { policy: allow(ACTIONS.filter((name) => name !== action)) })
    const thrown: unknown = await own.open({ credentials }).validate().catch((error: unknown) => error)
    told('destination_permission_denied', 'not_permitted', new RegExp(action))(thrown)
    ok(isHoldfastError(thrown) && thrown.details['operation'] === operation && thrown.message.includes(`Cannot ${operation}`))
    // What it could write it could also remove.
    if (action !== 's3:DeleteObject' && action !== 's3:AbortMultipartUpload') deepEqual(own.keys(), [])
  })

  test('tells why it failed first where the clean-up after it fails too', async () => {
    const own = await ownServer()
    own.server.behaviour.failBefore = ({ operation }) => {
      if (operation === 'UploadPart') return { status: 403, code: 'AccessDenied' }
      return operation === 'AbortMultipartUpload' ? { status: 503, code: 'SlowDown' } : undefined
    }
    await rejects(own.open().validate(), (error: Error & { code: string }) => {
      equal(error.code, 'destination_permission_denied')
      return /^Cannot write .*AccessDenied.*could not be ended: Cannot end the upload of .*SlowDown/.test(error.message)
    })
  })

  test.each(['publish', 'restore'] as const)('tells that s3:GetObject is missing where access is %s', async (access) => {
    const own = await ownServer()
    const credentials = own.server.addKey('LIMITEDKEY0000000001', { policy: allow(ACTIONS.filter((name) => name !== 's3:GetObject')) })
    await rejects(own.open({ credentials, access }).validate(), told('destination_permission_denied', 'not_permitted', /s3:GetObject/))
  })

  test('tells that no region is known, at once', async () => {
    const variables = ['AWS_REGION', 'AWS_DEFAULT_REGION', 'AWS_PROFILE', 'AWS_CONFIG_FILE', 'AWS_SHARED_CREDENTIALS_FILE', 'AWS_EC2_METADATA_DISABLED']
    for (const name of variables) vi.stubEnv(name, name.endsWith('FILE') ? '/nonexistent' : name.endsWith('DISABLED') ? 'true' : undefined)
    onTestFinished(() => void vi.unstubAllEnvs())
    const destination = s3Destination({ bucket: BUCKET, credentials: { accessKeyId: 'SOMEKEY', secretAccessKey: 'hunter2' }, wait: () => Promise.reject(new Error('Tried again')) })
    await rejects(destination.validate(), told('destination_config_invalid', 'no_region', /region=/))
    vi.stubEnv('AWS_REGION', 'not a region')
    const other = s3Destination({ bucket: BUCKET, credentials: { accessKeyId: 'SOMEKEY', secretAccessKey: 'hunter2' }, wait: () => Promise.reject(new Error('Tried again')) })
    await rejects(other.validate(), told('destination_config_invalid', 'no_region', /region=/))
  })

  test('goes on after a request that failed for the moment, whichever it is', async () => {
    const counted = await ownServer()
    counted.bucket.lifecycle = RULE('')
    await counted.open().validate()
    for (const failure of ['reset', { status: 503, code: 'SlowDown' }] as const) {
      for (let at = 0; at < counted.server.requests.length; at++) {
        const own = await ownServer({ behaviour: { failBefore: ({ number }) => (number === at ? failure : undefined) } })
        own.bucket.lifecycle = RULE('')
        deepEqual(await own.open().validate(), [], `${counted.server.requests[at]?.operation} ${at}`)
        deepEqual(own.keys(), [])
      }
    }
  })

  test('tells a clock that is wrong, each time', async () => {
    const own = await ownServer({ behaviour: { clockSkewMs: 60 * 60 * 1000 } })
    const destination = own.open()
    for (let round = 0; round < 2; round++) await rejects(destination.validate(), told('destination_permission_denied', 'clock_skew', /clock/))
  })

  test('tells that the server does not answer, or that its name is unknown', async () => {
    const own = await ownServer()
    await own.server.close()
    await rejects(own.open().validate(), told('destination_unreachable', 'unreachable', /network/))
    await rejects(own.open({ endpoint: 'http://no-such-host.invalid' }).validate(), told('destination_unreachable', 'unreachable', /endpoint/))
    const silent = createServer().listen(0, '127.0.0.1')
    onTestFinished(() => void silent.close())
    await new Promise((resolve) => void silent.once('listening', resolve))
    const { port } = silent.address() as { port: number }
    await rejects(own.open({ endpoint: `http://127.0.0.1:${port}`, requestTimeoutMs: 100, attempts: 2 }).validate(), told('destination_unreachable', 'unreachable', /endpoint/))
  })

  test('tells a certificate that is not trusted, and a server without TLS', async () => {
    const path = await tempDir()
    const [key, cert] = [join(path, 'key.pem'), join(path, 'cert.pem')]
    await promisify(execFile)('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, '-days', '1', '-subj', '/CN=127.0.0.1'])
    const server = await startS3Server({ buckets: [BUCKET], tls: { key: await readFile(key, 'utf8'), cert: await readFile(cert, 'utf8') } })
    onTestFinished(() => server.close())
    const thrown: unknown = await openAt(server).validate().catch((error: unknown) => error)
    told('destination_unreachable', 'tls', /NODE_EXTRA_CA_CERTS/)(thrown)
    equal(isHoldfastError(thrown) && thrown.retryable, false)
    const own = await ownServer()
    await rejects(own.open({ endpoint: own.server.endpoint.replace('http:', 'https:') }).validate(), told('destination_unreachable', 'tls', /https: or http:/))
  })

  test('of a bucket that another account holds is a matter of permission, not of existence', async () => {
    const own = await ownServer()
    const credentials = own.server.addKey('LIMITEDKEY0000000001', { policy: allow([]) })
    const destination = own.open({ credentials })
    const calls = [() => destination.manifest(newUlid()), () => destination.put(newUlid()), () => destination.stat(newUlid()), () => collect(destination.list())]
    for (const call of calls) await rejects(call, { code: 'destination_permission_denied', httpStatus: 403 })
  })

  test('ends with the reason of its signal', async () => {
    const own = await ownServer()
    const reason = new Error('enough')
    await rejects(own.open().validate({ signal: AbortSignal.abort(reason) }), reason)
    own.server.behaviour.failBefore = () => 'hang'
    const controller = new AbortController()
    setTimeout(() => controller.abort(reason), 20)
    await rejects(own.open().validate({ signal: controller.signal }), reason)
  })
})

/** The policies of OPERATING.md, for this bucket and prefix. */
async function policyOf(name: string): Promise<Policy> {
  const page = await readFile(resolve(import.meta.dirname, '../../../destinations/s3/OPERATING.md'), 'utf8')
  const text = new RegExp(`\`\`\`json ${name}\n([^]*?)\`\`\``).exec(page)?.[1] ?? ''
  return JSON.parse(text.replaceAll('BUCKET', BUCKET).replaceAll('PREFIX', PREFIX.slice(0, -1))) as Policy
}

async function withPolicy(own: OwnServer, name: string, options: Partial<S3DestinationOptions> = {}) {
  const credentials = own.server.addKey(`${name.toUpperCase()}KEY0000000001`, { policy: await policyOf(name) })
  return own.open({ credentials, ...options })
}

/** The same with the actions that OPERATING.md adds for Object Lock. */
async function withLockPolicy(own: OwnServer, name: string, options: Partial<S3DestinationOptions> = {}) {
  const page = await readFile(resolve(import.meta.dirname, '../../../destinations/s3/OPERATING.md'), 'utf8')
  const added = [...(/^With Object Lock add (.*)\.$/m.exec(page)?.[1] ?? '').matchAll(/s3:\w+/g)].map(([action]) => action)
  ok(added.length > 0)
  const { Statement: statements } = await policyOf(name)
  const policy = { Statement: statements.map((statement) => ({ ...statement, Action: [...[statement.Action].flat(), ...added] })) }
  const credentials = own.server.addKey(`${name.toUpperCase()}LOCKKEY000001`, { policy })
  return own.open({ credentials, ...options })
}

describe('least privilege, with the policies of OPERATING.md', () => {
  const FORBIDDEN = { code: 'destination_permission_denied' }

  test('publish: publishes, reads back, cleans up failed uploads; deletes nothing', async () => {
    const own = await ownServer()
    own.bucket.lifecycle = RULE('')
    const destination = await withPolicy(own, 'publish', { access: 'publish' })
    deepEqual(await destination.validate(), [])
    deepEqual(own.keys(), [])
    const backupId = await publish(destination, bytesOf(6_000_000))
    equal(Buffer.concat(await collect(destination.open(backupId, 'payload'))).byteLength, 6_000_000)
    const upload = await destination.put(newUlid())
    await upload.write('payload', bytesOf(6_000_000))
    await upload.abort()
    equal(own.bucket.uploads.size, 0)
    await destination.put(newUlid())
    equal((await destination.cleanUp({ graceMs: 0, nowMs: Date.now() + 1000 })).removed.length, 1)
    await rejects(destination.delete(backupId), FORBIDDEN)
    deepEqual(await collect(destination.list()), [backupId])
    await rejects((await withPolicy(own, 'publish', { prefix: 'elsewhere' })).put(newUlid()), FORBIDDEN)
  })

  test('restore: lists and reads; writes and deletes nothing', async () => {
    const own = await ownServer()
    const backupId = await publish(own.open(), bytesOf(100))
    const destination = await withPolicy(own, 'restore', { access: 'restore' })
    deepEqual(await destination.validate(), [])
    deepEqual(await collect(destination.list()), [backupId])
    ok(Buffer.from(await destination.manifest(backupId)).equals(MANIFEST))
    equal(Buffer.concat(await collect(destination.open(backupId, 'payload'))).byteLength, 100)
    await rejects(destination.manifest(newUlid()), { code: 'manifest_missing' })
    await rejects(destination.put(newUlid()), FORBIDDEN)
    await rejects(destination.delete(backupId), FORBIDDEN)
    equal(own.keys().length, 3)
  })

  test('prune: lists, deletes, cleans up; writes nothing', async () => {
    const own = await ownServer()
    const [first, second] = [await publish(own.open()), await publish(own.open())]
    await own.open().put(newUlid())
    const destination = await withPolicy(own, 'prune')
    await destination.delete(first)
    deepEqual(await collect(destination.list()), [second])
    equal((await destination.cleanUp({ graceMs: 0, nowMs: Date.now() + 1000 })).removed.length, 1)
    equal(own.bucket.uploads.size, 0)
    await rejects(destination.put(newUlid()), FORBIDDEN)
  })
})

test('least privilege, with what OPERATING.md adds for Object Lock: publishes and holds; prunes what is held no longer', async () => {
  const own = await ownServer({ buckets: [] })
  const bucket = own.server.createBucket(BUCKET, { objectLock: true })
  bucket.lifecycle = RULE('')
  const options = { access: 'publish', objectLock: { mode: 'governance', retainDays: 1 } } as const
  await rejects((await withPolicy(own, 'publish', options)).put(newUlid()).then((upload) => upload.publish(MANIFEST)), { code: 'destination_permission_denied' })
  const destination = await withLockPolicy(own, 'publish', options)
  deepEqual(await destination.validate(), [])
  const backupId = await publish(destination, bytesOf(6_000_000))
  const pruning = await withLockPolicy(own, 'prune')
  await rejects(pruning.delete(backupId), { code: 'backup_protected' })
  for (const version of bucket.list()) version.retention = { mode: 'GOVERNANCE', until: new Date(Date.now() - 1) }
  await pruning.delete(backupId)
  deepEqual(await collect(pruning.list()), [])
})

test('scenario 24: with a key that may only read, put() fails before a snapshot is opened', async () => {
  const own = await ownServer()
  await rejects((await withPolicy(own, 'restore')).put(newUlid()), { code: 'destination_permission_denied' })
  ok(own.server.requests.every(({ operation }) => operation !== 'UploadPart' && operation !== 'PutObject'))
})
