import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type PutObjectCommandInput,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { Agent } from 'node:http'
import { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { s3Client } from './client.ts'
import { type Policy, type S3Key, type S3Server, startS3Server } from './server.ts'

const Bucket = 'backups'

describe('startS3Server', () => {
  let server: S3Server
  let client: S3Client

  beforeEach(async () => {
    server = await startS3Server()
    client = s3Client(server)
    onTestFinished(async () => {
      client.destroy()
      await server.close()
    })
  })

  const put = async (Key: string, input: Partial<PutObjectCommandInput> = {}): Promise<unknown> =>
    await client.send(new PutObjectCommand({ Bucket, Key, Body: 'content', ...input }))
  const get = async (Key: string, Range?: string): Promise<string | undefined> =>
    await (await client.send(new GetObjectCommand({ Bucket, Key, Range }))).Body?.transformToString()
  const list = async (Prefix = ''): Promise<(string | undefined)[]> =>
    ((await client.send(new ListObjectsV2Command({ Bucket, Prefix }))).Contents ?? []).map(({ Key }) => Key)

  const upload = async (Key: string): Promise<() => Promise<unknown>> => {
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key }))
    const { ETag } = await client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 1, Body: 'part' }))
    const MultipartUpload = { Parts: [{ ETag, PartNumber: 1 }] }
    return async () => await client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload }))
  }

  it('logs every request with its operation, key and answer', async () => {
    await put('a b')
    await get('absent').catch(() => undefined)
    expect(server.requests.map(({ operation, bucket, key, status, code }) => [operation, bucket, key, status, code])).toEqual([
      ['PutObject', 'backups', 'a b', 200, undefined],
      ['GetObject', 'backups', 'absent', 404, 'NoSuchKey'],
    ])
  })

  it('speaks virtual-host style', async () => {
    const httpAgent = new Agent({ lookup: (_, { all }, done) => (all === true ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4)) })
    const virtual = s3Client({ ...server, endpoint: server.virtualHostEndpoint }, { forcePathStyle: false, requestHandler: { httpAgent } })
    await virtual.send(new PutObjectCommand({ Bucket, Key: 'by/host', Body: 'a' }))
    virtual.destroy()
    expect(server.requests[0]?.headers['host']).toBe(`backups.s3.localhost:${server.port}`)
    expect(await get('by/host')).toBe('a')
  })

  it('redirects to the region of a bucket', async () => {
    server.createBucket('far', { region: 'eu-west-3' })
    await expect(client.send(new ListObjectsV2Command({ Bucket: 'far' }))).rejects.toMatchObject({ name: 'PermanentRedirect', $metadata: { httpStatusCode: 301 } })
  })

  it('asks for the token of a session, and tells one that expired', async () => {
    const credentials = server.addKey('SESSION', { sessionToken: 'token' })
    const withToken = (sessionToken: string | undefined): S3Client =>
      s3Client(server, { credentials: { ...credentials, ...(sessionToken === undefined ? {} : { sessionToken }) } })
    await withToken('token').send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'a' }))
    await expect(withToken('another').send(new ListObjectsV2Command({ Bucket }))).rejects.toMatchObject({ name: 'InvalidToken' })
    ;(server.keys.get('SESSION') as S3Key).expired = true
    await expect(withToken('token').send(new ListObjectsV2Command({ Bucket }))).rejects.toMatchObject({ name: 'ExpiredToken' })
  })

  it('refuses what it does not know', async () => {
    const response = await fetch(`${server.endpoint}/backups?acl`)
    expect([response.status, await response.text()]).toEqual([403, expect.stringContaining('<Code>AccessDenied</Code>')])
  })

  describe('policies', () => {
    const policy: Policy = {
      Version: '2012-10-17',
      Statement: [
        { Effect: 'Allow', Action: ['s3:PutObject', 's3:GetObject'], Resource: 'arn:aws:s3:::backups/mine/*' },
        { Effect: 'Allow', Action: 's3:ListBucket', Resource: 'arn:aws:s3:::backups', Condition: { StringLike: { 's3:prefix': ['mine/*'] } } },
        { Effect: 'Deny', Action: 's3:*', Resource: 'arn:aws:s3:::backups/mine/secret*' },
      ],
    }
    const denied = { name: 'AccessDenied', $metadata: { httpStatusCode: 403 } }

    it('let a key do what they allow, where they do, and nothing that they deny', async () => {
      await put('mine/secret')
      const mine = s3Client({ ...server, ...server.addKey('LEAST', { policy }) })
      await mine.send(new PutObjectCommand({ Bucket, Key: 'mine/a', Body: 'a' }))
      await expect(mine.send(new PutObjectCommand({ Bucket, Key: 'other/a', Body: 'a' }))).rejects.toMatchObject(denied)
      await expect(mine.send(new DeleteObjectCommand({ Bucket, Key: 'mine/a' }))).rejects.toMatchObject(denied)
      await expect(mine.send(new GetObjectCommand({ Bucket, Key: 'mine/secret' }))).rejects.toMatchObject(denied)
      await expect(mine.send(new HeadObjectCommand({ Bucket, Key: 'mine/secret' }))).rejects.toMatchObject({ $metadata: { httpStatusCode: 403 } })
      await expect(mine.send(new ListObjectsV2Command({ Bucket }))).rejects.toMatchObject(denied)
      await expect(mine.send(new ListMultipartUploadsCommand({ Bucket, Prefix: 'mine/' }))).rejects.toMatchObject(denied)
      expect((await mine.send(new ListObjectsV2Command({ Bucket, Prefix: 'mine/' }))).KeyCount).toBe(2)
      const { Errors = [] } = await mine.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: 'mine/a' }] } }))
      expect(Errors.map(({ Key, Code }) => [Key, Code])).toEqual([['mine/a', 'AccessDenied']])
    })

    it('hide from a key that may not list whether an object is there', async () => {
      const blind = s3Client({ ...server, ...server.addKey('BLIND', { policy: { Statement: [{ Effect: 'Allow', Action: 's3:GetObject', Resource: '*' }] } }) })
      await expect(blind.send(new GetObjectCommand({ Bucket, Key: 'absent' }))).rejects.toMatchObject(denied)
    })
  })

  describe('behaviour', () => {
    const once = { IfNoneMatch: '*' }
    const creations = async (): Promise<number> =>
      (await Promise.allSettled(Array.from({ length: 5 }, (_, index) => put('one', { ...once, Body: `${index}` })))).filter(({ status }) => status === 'fulfilled').length

    it('ignoresConditions lets every conditional write win', async () => {
      server.behaviour.ignoresConditions = true
      expect(await creations()).toBe(5)
    })

    it('conditionGapMs lets several conditional writes win at a time, and none after', async () => {
      server.behaviour.conditionGapMs = 100
      expect(await creations()).toBeGreaterThan(1)
      await expect(put('one', once)).rejects.toMatchObject({ name: 'PreconditionFailed' })
    })

    it('conflicts answers 409 so many times', async () => {
      server.behaviour.conflicts = 1
      await expect(put('one', once)).rejects.toMatchObject({ name: 'ConditionalRequestConflict', $metadata: { httpStatusCode: 409 } })
      await put('one', once)
    })

    it('verifiesNoChecksum keeps wrong checksums, and knowsNoChecksum none', async () => {
      const wrong = { ChecksumCRC32: 'AAAAAA==' }
      const head = async (): Promise<unknown> => (await client.send(new HeadObjectCommand({ Bucket, Key: 'sum', ChecksumMode: 'ENABLED' }))).ChecksumCRC32
      server.behaviour.verifiesNoChecksum = true
      await put('sum', wrong)
      expect(await head()).toBe('AAAAAA==')
      server.behaviour = { knowsNoChecksum: true }
      await put('sum', wrong)
      expect(await head()).toBeUndefined()
    })

    it('refusesTrailers answers 501', async () => {
      server.behaviour.refusesTrailers = true
      const stream = put('stream', { Body: Readable.from([Buffer.from('abc')]), ContentLength: 3 })
      await expect(stream).rejects.toMatchObject({ name: 'NotImplemented', $metadata: { httpStatusCode: 501 } })
    })

    it.each([true, false])('completeErrors answers 200 with an error, the object made: %s', async (committed) => {
      const complete = await upload('multi')
      server.behaviour.completeErrors = { times: 1, committed }
      await expect(complete()).rejects.toMatchObject({ name: 'InternalError' })
      expect(server.requests.at(-1)?.status).toBe(200)
      expect(await list()).toEqual(committed ? ['multi'] : [])
      if (committed) await expect(complete()).rejects.toMatchObject({ name: 'NoSuchUpload' })
      else await complete()
      expect(await get('multi')).toBe('part')
    })

    it('completeDelayMs keeps the client waiting with white space', async () => {
      const complete = await upload('multi')
      server.behaviour.completeDelayMs = 150
      const start = performance.now()
      await expect(complete()).resolves.toMatchObject({ Key: 'multi' })
      expect(performance.now() - start).toBeGreaterThan(140)
    })

    it('completeIsIdempotent answers a repeated completion like the first', async () => {
      const complete = await upload('multi')
      server.behaviour.completeIsIdempotent = true
      const { ETag } = (await complete()) as { ETag: string }
      await expect(complete()).resolves.toMatchObject({ ETag })
    })

    it('listLagMs and readLagMs show what was', async () => {
      await put('old')
      await delay(1600)
      await put('new')
      await client.send(new DeleteObjectCommand({ Bucket, Key: 'old' }))
      server.behaviour = { listLagMs: 1500, readLagMs: 1500 }
      expect(await list()).toEqual(['old'])
      expect(await get('old')).toBe('content')
      await expect(get('new')).rejects.toMatchObject({ name: 'NoSuchKey' })
      await expect.poll(list).toEqual(['new'])
    })

    it('pageSize cuts pages, and losesTokens their tokens', async () => {
      for (const key of ['a', 'b', 'c']) await put(key)
      server.behaviour.pageSize = 2
      const page = new ListObjectsV2Command({ Bucket })
      await expect(client.send(page)).resolves.toMatchObject({ KeyCount: 2, IsTruncated: true, NextContinuationToken: expect.any(String) as unknown })
      server.behaviour.losesTokens = true
      expect((await client.send(page)).NextContinuationToken).toBeUndefined()
    })

    it('keepsDeleted deletes nothing', async () => {
      await put('kept')
      server.behaviour.keepsDeleted = true
      await client.send(new DeleteObjectCommand({ Bucket, Key: 'kept' }))
      expect(await list()).toEqual(['kept'])
    })

    it('ignoresRanges gives the whole, and ignoresReadConditions whatever is there', async () => {
      await put('whole')
      server.behaviour = { ignoresRanges: true, ignoresReadConditions: true }
      expect(await get('whole', 'bytes=3-4')).toBe('content')
      await client.send(new GetObjectCommand({ Bucket, Key: 'whole', IfMatch: '"another"' }))
    })

    it('listsNoUploads and hasNoBucketSettings answer 501', async () => {
      server.behaviour = { listsNoUploads: 501, hasNoBucketSettings: true }
      await expect(client.send(new ListMultipartUploadsCommand({ Bucket }))).rejects.toMatchObject({ name: 'NotImplemented' })
    })

    it('clockSkewMs refuses signatures of the right time', async () => {
      server.behaviour.clockSkewMs = 3_600_000
      await expect(put('a')).rejects.toMatchObject({ name: 'RequestTimeTooSkewed' })
    })

    it('failBefore and failAfter fail requests before and after they are done', async () => {
      server.behaviour.failBefore = ({ key }) => (key === 'before' ? { status: 503, code: 'SlowDown' } : undefined)
      server.behaviour.failAfter = ({ key, method }) => (key === 'after' && method === 'PUT' ? 'reset' : undefined)
      await expect(put('before')).rejects.toMatchObject({ name: 'SlowDown' })
      await expect(put('after')).rejects.toMatchObject({ code: 'ECONNRESET' })
      expect(await list()).toEqual(['after'])
    })
  })
})
