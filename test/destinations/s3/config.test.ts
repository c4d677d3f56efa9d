import { deepEqual, equal, ok, throws } from 'node:assert/strict'
import { createRequire } from 'node:module'
import { inspect } from 'node:util'
import { describe, test } from 'vitest'
import { openDestination } from '../../../destinations/registry.ts'
import { openS3Destination, s3Destination, type S3DestinationOptions } from '../../../destinations/s3/index.ts'
import { nextPartBytes } from '../../../destinations/s3/writer.ts'

const MIB = 1024 * 1024
const INVALID = { code: 'destination_config_invalid', httpStatus: 400 }

describe('openS3Destination()', () => {
  test.each([
    ['s3://bucket', 's3://bucket'],
    ['s3://bucket/', 's3://bucket'],
    ['s3://bucket/a/b/', 's3://bucket/a/b'],
    ['s3://bucket/my%20backups/%25?region=eu-central-1', 's3://bucket/my%20backups/%25?region=eu-central-1'],
    ['s3://bucket/a?endpoint=http://127.0.0.1:9000/&path-style=true', 's3://bucket/a?endpoint=http%3A%2F%2F127.0.0.1%3A9000&path-style=true'],
    ['s3://bucket/a?part-bytes=5242880&parts-in-flight=2&attempts=3&request-timeout-ms=1000&total-timeout-ms=9000&min-bytes-per-second=1&access=publish', 's3://bucket/a'],
  ])('takes %s as %s', async (url, canonical) => {
    equal(openS3Destination(url).url, canonical)
    equal((await openDestination(url)).scheme, 's3')
    equal(openS3Destination(canonical).url, canonical)
  })

  test.each([
    's3:',
    's3://',
    's3:bucket/prefix',
    's3://Bucket/a',
    's3://b',
    's3://bucket:9000/a',
    's3://bucket/a#b',
    's3://bucket//a',
    's3://bucket/a//b',
    's3://bucket/a%2f..%2fb',
    's3://bucket/a%5Cb',
    's3://bucket/a%00b',
    's3://bucket/a%0Ab',
    's3://bucket/%zz',
    's3://bucket/%ff',
    `s3://bucket/${'x'.repeat(901)}`,
    's3://bucket/a?endpoint=hunter2',
    's3://bucket/a?endpoint=ftp://host',
    's3://bucket/a?endpoint=http://user:hunter2@host',
    's3://bucket/a?path-style=maybe',
    's3://bucket/a?attempts=-1',
    's3://bucket/a?attempts=0',
    's3://bucket/a?part-bytes=1',
    's3://bucket/a?request-timeout-ms=86400001',
    's3://bucket/a?access=hunter2',
    's3://bucket/a?region=hunter2_',
    's3://bucket/a?secret-key=hunter2',
    's3://bucket/a?region=a&region=b',
    's3://AKIAIOSFODNN7EXAMPLE:hunter2@bucket/a',
    's3://[hunter2',
  ])('scenario 25: refuses %s, repeating no secret', (url) => {
    throws(
      () => openS3Destination(url),
      (error: Error & { code: string }) => {
        equal(error.code, INVALID.code)
        ok(!/hunter2|AKIA/.test(inspect(error, { depth: 9 }) + JSON.stringify(error)), inspect(error))
        return true
      },
    )
  })

  test('a prefix with ".." cannot leave the bucket: URL parsing takes it away', () => {
    equal(openS3Destination('s3://bucket/a/../b').url, 's3://bucket/b')
  })
})

describe('s3Destination()', () => {
  test('shows no credentials when it is inspected or made JSON', () => {
    const destination = s3Destination({ bucket: 'bucket', credentials: { accessKeyId: 'AKIAHUNTER2', secretAccessKey: 'hunter2', sessionToken: 'hunter2' } })
    ok(!/hunter2/i.test(inspect(destination, { depth: 9, showHidden: true }) + JSON.stringify(destination)))
  })

  test.each<Partial<S3DestinationOptions>>([
    { partBytes: 5 * MIB - 1 },
    { partBytes: 1024 * MIB + 1 },
    { partsInFlight: 0 },
    { attempts: 0 },
    { attempts: 1.5 },
    { requestTimeoutMs: 0 },
    { totalTimeoutMs: Number.NaN },
    { minBytesPerSecond: 0 },
    { objectLock: { mode: 'compliance', retainDays: 0 } },
  ])('refuses numbers that are none: %j', (options) => {
    throws(() => s3Destination({ bucket: 'bucket', ...options }), RangeError)
  })

  test.each([
    ['backups', 'backups/'],
    ['backups', 'backups/payloads/'],
    ['server/backups', 'server/'],
    ['backups', ''],
    ['', 'payloads/'],
    ['backups', 'back'],
  ])('refuses the prefix %j where payloads are kept under %j of the same bucket', (prefix, payloads) => {
    throws(() => s3Destination({ bucket: 'bucket', prefix, payloadStore: { bucket: 'bucket', prefix: payloads } }), (error: Error & { code: string; details: { reason: string } }) => {
      equal(error.code, INVALID.code)
      equal(error.details.reason, 'overlaps_payload_store')
      return true
    })
  })

  test.each(['https://s3.eu-central-1.amazonaws.com', 'https://s3.amazonaws.com'])('refuses the prefix of the payloads also where one of the two names its endpoint %s', (endpoint) => {
    const overlap = { code: INVALID.code, message: /payload store is under/ }
    throws(() => s3Destination({ bucket: 'bucket', prefix: 'a', payloadStore: { bucket: 'bucket', prefix: 'a/', endpoint } }), overlap)
    throws(() => s3Destination({ bucket: 'bucket', prefix: 'a', endpoint, payloadStore: { bucket: 'bucket', prefix: 'a/', endpoint: 'https://s3.dualstack.eu-central-1.amazonaws.com' } }), overlap)
  })

  test.each<[string, S3DestinationOptions['payloadStore']]>([
    ['backups', { bucket: 'bucket', prefix: 'backups-old/' }],
    ['backups', { bucket: 'bucket', prefix: 'payloads/' }],
    ['backups', { bucket: 'other' }],
    ['backups', { bucket: 'bucket', endpoint: 'http://elsewhere:9000' }],
  ])('takes the prefix %j where payloads are kept at %j', (prefix, payloadStore) => {
    s3Destination({ bucket: 'bucket', prefix, payloadStore })
  })
})

describe('nextPartBytes()', () => {
  test.each([5 * MIB, 8 * MIB, 64 * MIB, 1024 * MIB])('fits 5 TiB into 10,000 parts of at most 1 GiB, the first of %i bytes', (partBytes) => {
    const sizes: number[] = []
    for (let written = 0; written < 5 * 2 ** 40; ) {
      const size = nextPartBytes(written, partBytes)
      sizes.push(size)
      written += size
    }
    ok(sizes.length < 10_000, `${sizes.length} parts`)
    ok(sizes.every((size) => size >= partBytes && size <= 1024 * MIB))
    deepEqual(sizes, sizes.toSorted((a, b) => a - b))
  })

  test('keeps the size for the first 800 parts', () => {
    equal(nextPartBytes(800 * 8 * MIB, 8 * MIB), 8 * MIB)
    equal(nextPartBytes(800 * 8 * MIB + 1, 8 * MIB), 9 * MIB)
  })
})

test('the package exports the destination, and none of the files it is made of', () => {
  const { resolve } = createRequire(import.meta.url)
  ok(resolve('holdfast/destinations/s3').endsWith('dist/destinations/s3/index.js'))
  throws(() => resolve('holdfast/destinations/s3/session'), /ERR_PACKAGE_PATH_NOT_EXPORTED|Cannot find module/)
})
