/**
 * A small S3 server for tests: signatures checked, conditional writes, multipart uploads, pages, checksums, versions, Object Lock, policies.
 *
 * It answers as AWS does, and as other stores do where its behaviour says so. The protocol suite holds it to what real servers answer.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { readBody } from './server-body.ts'
import type { S3Behaviour, S3Failure, S3Request } from './server-behaviour.ts'
import type { Call, Reply } from './server-call.ts'
import { errorBody, refusal, S3Error, s3Error } from './server-errors.ts'
import { findOperation } from './server-operations.ts'
import { allows } from './server-policy.ts'
import { type S3Key, verifySignature } from './server-signature.ts'
import { type BucketOptions, S3Bucket } from './server-state.ts'
import { XML_DECLARATION } from './server-xml.ts'

export type { S3Behaviour, S3Failure, S3Request } from './server-behaviour.ts'
export type { Policy, PolicyStatement } from './server-policy.ts'
export type { S3Key } from './server-signature.ts'
export type { BucketOptions, S3Bucket, Upload, Version } from './server-state.ts'

export interface S3ServerOptions {
  /** @default 'us-east-1' */
  readonly region?: string | undefined
  /** Buckets that are there from the start. @default ['backups'] */
  readonly buckets?: readonly string[] | undefined
  /** @default as AWS */
  readonly behaviour?: S3Behaviour | undefined
  /** The port; 0 for any free one. @default 0 */
  readonly port?: number | undefined
  /** Speaks TLS with that key and certificate, in PEM. @default plain HTTP */
  readonly tls?: { readonly key: string, readonly cert: string } | undefined
}

export interface S3Server {
  /** For path style: `http://127.0.0.1:port`. */
  readonly endpoint: string
  /** For virtual-host style: `http://s3.localhost:port`; the names under it must be resolved to 127.0.0.1 by the client. */
  readonly virtualHostEndpoint: string
  readonly port: number
  /** The first key, which may do everything. */
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly region: string
  /** By access key id; more may be added. */
  readonly keys: Map<string, S3Key>
  readonly buckets: Map<string, S3Bucket>
  /** Every request so far, in the order of arrival. */
  readonly requests: S3Request[]
  /** Holds for requests that come after it was changed. */
  behaviour: S3Behaviour
  createBucket(name: string, options?: BucketOptions): S3Bucket
  /** Adds a key; resolves to what it is signed with. */
  addKey(accessKeyId: string, key?: Partial<S3Key>): { accessKeyId: string, secretAccessKey: string, sessionToken?: string }
  /** Cuts all connections and stops listening. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const VIRTUAL_HOST = 's3.localhost'

/** Starts a server on the loopback interface. */
export async function startS3Server(options: S3ServerOptions = {}): Promise<S3Server> {
  const { region = 'us-east-1', tls } = options
  const server: Server = tls === undefined ? createServer() : createTlsServer({ ...tls })
  server.listen(options.port ?? 0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const scheme = tls === undefined ? 'http' : 'https'
  const close = async (): Promise<void> => {
    if (!server.listening) return
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  }
  const started: S3Server = {
    endpoint: `${scheme}://127.0.0.1:${port}`,
    virtualHostEndpoint: `${scheme}://${VIRTUAL_HOST}:${port}`,
    port,
    accessKeyId: 'HOLDFASTTESTKEY00001',
    secretAccessKey: 'holdfast/test+secret/0000000000000000001',
    region,
    keys: new Map(),
    buckets: new Map(),
    requests: [],
    behaviour: options.behaviour ?? {},
    createBucket(name, bucketOptions = {}) {
      const bucket = new S3Bucket(name, { ...bucketOptions, region: bucketOptions.region ?? region })
      started.buckets.set(name, bucket)
      return bucket
    },
    addKey(accessKeyId, key = {}) {
      const { secretAccessKey = `secret-of-${accessKeyId}`, ...rest } = key
      started.keys.set(accessKeyId, { secretAccessKey, ...rest })
      return { accessKeyId, secretAccessKey, ...(rest.sessionToken === undefined ? {} : { sessionToken: rest.sessionToken }) }
    },
    close,
    [Symbol.asyncDispose]: close,
  }
  started.addKey(started.accessKeyId, { secretAccessKey: started.secretAccessKey })
  for (const name of options.buckets ?? ['backups']) started.createBucket(name)
  server.on('request', (request, response) => void serve(started, request, response))
  return started
}

/** Answers one request. Whatever goes wrong with it ends with its connection. */
async function serve(server: S3Server, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const { behaviour } = server
  const logged = logRequest(server, incoming)
  outgoing.on('error', () => outgoing.destroy())
  try {
    const failure = behaviour.failBefore?.(logged)
    if (typeof failure === 'object' && 'page' in failure) {
      return await send({ status: failure.status, headers: { 'content-type': 'text/html' }, body: failure.page }, logged, outgoing)
    }
    if (fail(failure, incoming)) return
    const reply = await answer(server, logged, incoming)
    if (fail(behaviour.failAfter?.(logged) ?? (reply.isCut === true ? 'reset' : undefined), incoming)) return
    await send(reply, logged, outgoing)
  } catch (error) {
    if (incoming.errored !== null) return void outgoing.destroy()
    const known = error instanceof S3Error ? error : s3Error('InternalError', { message: error instanceof Error ? `${error.stack}` : String(error) })
    logged.code = known.code
    const isBare = known.status === 304 || known.code === '' || behaviour.answersBare === true
    const body = isBare ? undefined : `${XML_DECLARATION}${errorBody(known, `/${logged.bucket}/${logged.key}`, String(logged.number))}`
    await send({ status: known.status, headers: known.headers, body }, logged, outgoing)
  }
}

function logRequest(server: S3Server, { method = '', url = '', headers }: IncomingMessage): S3Request {
  const [path = '', search = ''] = url.split('?', 2)
  const segments = decodeURIComponent(path.slice(1))
  const host = headers.host?.split(':')[0] ?? ''
  const virtual = host.endsWith(`.${VIRTUAL_HOST}`) ? host.slice(0, -VIRTUAL_HOST.length - 1) : undefined
  const slash = segments.indexOf('/')
  const bucket = virtual ?? (slash === -1 ? segments : segments.slice(0, slash))
  const key = virtual === undefined ? (slash === -1 ? '' : segments.slice(slash + 1)) : segments
  const query = Object.fromEntries(new URLSearchParams(search))
  const operation = findOperation({ method, bucket, key, query }, server.behaviour.hasNoBucketSettings !== true)?.name ?? ''
  const accessKeyId = /Credential=([^/,]+)/.exec(headers.authorization ?? '')?.[1] ?? ''
  const flat = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(',') : value]))
  const logged: S3Request = { number: server.requests.length, method, operation, bucket, key, query, headers: flat, accessKeyId, status: 0 }
  server.requests.push(logged)
  return logged
}

async function answer(server: S3Server, request: S3Request, incoming: IncomingMessage): Promise<Reply> {
  const { behaviour, region, keys, buckets } = server
  const now = new Date(Date.now() + (behaviour.clockSkewMs ?? 0))
  const sent: Buffer[] = []
  for await (const chunk of incoming) sent.push(chunk as Buffer)
  const { headers, method, query, bucket: bucketName, key } = request
  const signature = verifySignature({ method, url: incoming.url ?? '', headers }, { keys, region, nowMs: now.getTime() })
  const operation = findOperation(request, behaviour.hasNoBucketSettings !== true)
  if (operation === undefined) throw s3Error('NotImplemented')
  checkHeaders(operation.name, request, behaviour)
  const body = readBody(sent, headers, { signature, behaviour })
  const may: Call['may'] = (action, access = {}) => allows(signature.key.policy, { action, bucket: bucketName, key, ...access })
  const demand: Call['demand'] = (action, access) => {
    if (!may(action, access)) throw s3Error('AccessDenied', { message: `User is not authorized to perform: ${action}` })
  }
  return await operation.run({ request, headers, query, bucketName, key, body, behaviour, region, buckets, now, may, demand })
}

/** Throws when a request has headers that the server refuses, or has not those that it demands. */
function checkHeaders(operation: string, { headers }: S3Request, { refusesChecksums, demandsHeaders = {}, requesterPays }: S3Behaviour): void {
  const checksum = Object.keys(headers).find((name) => /^x-amz-(?:sdk-)?checksum-/.test(name))
  if (refusesChecksums !== undefined && checksum !== undefined) throw refusal(refusesChecksums, `Unsupported header '${checksum}' received for this API call.`)
  if (requesterPays === true && headers['x-amz-request-payer'] !== 'requester') throw s3Error('AccessDenied', { message: 'The requester must pay' })
  if (operation !== 'PutObject' && operation !== 'CreateMultipartUpload') return
  const missing = Object.entries(demandsHeaders).find(([name, value]) => headers[name] !== value)
  if (missing !== undefined) throw s3Error('AccessDenied', { message: `The policy of the bucket demands ${missing.join(': ')}` })
}

/** Whether the request is failed for good; an error is thrown. */
function fail(failure: S3Failure | undefined, incoming: IncomingMessage): boolean {
  if (failure === undefined) return false
  if (failure === 'reset') incoming.socket.resetAndDestroy()
  else if (failure !== 'hang') throw new S3Error(failure.code, failure.status, failure.message ?? failure.code)
  return true
}

async function send({ status = 200, headers = {}, body, size, delayMs, hasLength = true }: Reply, logged: S3Request, outgoing: ServerResponse): Promise<void> {
  logged.status = status
  const isText = typeof body === 'string'
  const length = isText ? Buffer.byteLength(body) : (size ?? 0)
  outgoing.writeHead(status, {
    'x-amz-request-id': String(logged.number).padStart(16, '0'),
    server: 'AmazonS3',
    ...(isText ? { 'content-type': 'application/xml' } : {}),
    ...headers,
    ...(status === 204 || status === 304 || delayMs !== undefined || !hasLength ? {} : { 'content-length': String(length) }),
  })
  if (delayMs !== undefined) await waitAloud(outgoing, delayMs)
  if (logged.method === 'HEAD' || body === undefined) outgoing.end()
  else if (isText) outgoing.end(body)
  else await pipeline(Readable.from(body, { objectMode: false }), outgoing).catch(() => outgoing.destroy())
}

/** Sends white space from time to time, so that the client does not give up. */
async function waitAloud(outgoing: ServerResponse, delayMs: number): Promise<void> {
  for (let left = delayMs; left > 0; left -= 50) {
    outgoing.write(' ')
    await delay(Math.min(50, left))
  }
}
