import { GetObjectCommand, HeadObjectCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { randomBytes } from 'node:crypto'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { s3Client } from './client.ts'
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts'
import { type Fault, FAULT_KINDS, type FaultKind, faultAt, randomPlan } from './faults.ts'
import { startS3Server, type S3Server } from './server.ts'

const BODY = randomBytes(50_000)
const KEY = { Bucket: 'backups', Key: 'some/key' }

describe('startFaultProxy', () => {
  let server: S3Server
  let proxy: FaultProxy
  let client: S3Client

  beforeEach(async () => {
    server = await startS3Server()
    proxy = await startFaultProxy(server.endpoint)
    client = s3Client({ ...server, endpoint: proxy.endpoint }, { requestHandler: { requestTimeout: 300, throwOnRequestTimeout: true } })
    onTestFinished(async () => {
      client.destroy()
      await proxy.close()
      await server.close()
    })
  })

  const put = async (): Promise<unknown> => await client.send(new PutObjectCommand({ ...KEY, Body: BODY }))
  const get = async (): Promise<Uint8Array> => {
    const { Body } = await client.send(new GetObjectCommand(KEY))
    return (await Body?.transformToByteArray()) ?? new Uint8Array()
  }
  const stored = (): boolean => server.buckets.get('backups')?.current(KEY.Key) !== undefined
  const next = (fault: Fault): void => {
    proxy.plan = faultAt(proxy.records.length, fault)
  }

  it('passes what it has no plan for, signatures and all', async () => {
    await put()
    expect(Buffer.from(await get()).equals(BODY)).toBe(true)
    const { ContentLength } = await client.send(new HeadObjectCommand(KEY))
    expect(ContentLength).toBe(BODY.byteLength)
    expect(proxy.records.map(({ method, status }) => [method, status])).toEqual([['PUT', 200], ['GET', 200], ['HEAD', 200]])
  })

  it.each([0, 0.5, 0.999])('cuts a request at %d of its body, and nothing is stored', async (at) => {
    next({ kind: 'reset-request', at })
    await expect(put()).rejects.toMatchObject({ code: 'ECONNRESET' })
    expect(stored()).toBe(false)
  })

  it.each<Fault>([{ kind: 'lose-response' }, { kind: 'reset-response', at: 0.5 }])('cuts the answer to what is stored: %o', async (fault) => {
    next(fault)
    await expect(put()).rejects.toThrow()
    expect(stored()).toBe(true)
  })

  it.each([0, 0.3, 0.999])('cuts an answer at %d of its bytes', async (at) => {
    await put()
    next({ kind: 'reset-response', at })
    await expect(get()).rejects.toThrow()
  })

  it('answers in place of the server', async () => {
    next({ kind: 'answer', status: 503, code: 'SlowDown' })
    await expect(put()).rejects.toMatchObject({ name: 'SlowDown', $metadata: { httpStatusCode: 503 } })
    expect(server.requests).toHaveLength(0)
  })

  it.each([true, false])('does not answer, when the server has done it: %s', async (committed) => {
    next({ kind: 'hang', committed })
    await expect(put()).rejects.toMatchObject({ name: 'TimeoutError' })
    expect(stored()).toBe(committed)
  })

  it('ends an answer before the length that it declares', async () => {
    await put()
    next({ kind: 'truncate', at: 0.5, declares: 'whole' })
    await expect(get()).rejects.toThrow()
  })

  it('ends an answer early without a trace', async () => {
    await put()
    next({ kind: 'truncate', at: 0.5, declares: 'rest' })
    const { Body } = await client.send(new GetObjectCommand({ ...KEY, ChecksumMode: undefined }))
    await expect(Body?.transformToByteArray()).rejects.toThrow(/[Cc]hecksum/)
  })

  it('flips a bit of an answer', async () => {
    await put()
    next({ kind: 'corrupt-response', at: 0.7 })
    await expect(get()).rejects.toThrow(/[Cc]hecksum/)
  })

  it('flips a bit of a request, which the server sees', async () => {
    next({ kind: 'corrupt-request', at: 0.7 })
    await expect(put()).rejects.toMatchObject({ name: 'XAmzContentSHA256Mismatch' })
    expect(stored()).toBe(false)
  })

  it('is slow', async () => {
    await put()
    next({ kind: 'slow', bytesPerSecond: 250_000 })
    const start = performance.now()
    expect(Buffer.from(await get()).equals(BODY)).toBe(true)
    expect(performance.now() - start).toBeGreaterThan(150)
  })

  it('refuses connections for a while', async () => {
    next({ kind: 'refuse', forMs: 300 })
    await expect(put()).rejects.toMatchObject({ code: 'ECONNRESET' })
    await expect(put()).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    await proxy.restart({})
    await put()
    expect(stored()).toBe(true)
  })

  it('repeats a request', async () => {
    next({ kind: 'repeat' })
    await expect(client.send(new PutObjectCommand({ ...KEY, Body: BODY, IfNoneMatch: '*' }))).rejects.toMatchObject({ name: 'PreconditionFailed' })
    expect(stored()).toBe(true)
  })

  it('does the same again with the same seed', async () => {
    // Those after which the next request is sent at once and alike.
    const kinds: readonly FaultKind[] = FAULT_KINDS.filter((kind) => !['hang', 'slow', 'refuse'].includes(kind))
    const run = async (seed: number): Promise<readonly (Fault | undefined)[]> => {
      await proxy.restart({ seed, plan: randomPlan({ share: 0.5, kinds }) })
      for (let count = 0; count < 20; count++) await put().catch(() => undefined)
      return proxy.records.map(({ fault }) => fault)
    }
    const first = await run(7)
    expect(first.filter((fault) => fault !== undefined).length).toBeGreaterThan(3)
    expect(await run(7)).toEqual(first)
    expect(await run(8)).not.toEqual(first)
  })
})
