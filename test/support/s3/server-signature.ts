/** Signatures of version 4, as headers carry them and as signed chunks do. */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { s3Error } from './server-errors.ts'
import type { Policy } from './server-policy.ts'

/** An access key, by which requests are signed. */
export interface S3Key {
  readonly secretAccessKey: string
  /** Asked for in `x-amz-security-token` where there is one. */
  readonly sessionToken?: string | undefined
  /** Its requests are answered `ExpiredToken`. */
  expired?: boolean | undefined
  /** What it may do, as an IAM policy. @default everything */
  policy?: Policy | undefined
}

/** What was signed: enough to check the chunks that follow. */
export interface Signature {
  readonly accessKeyId: string
  readonly key: S3Key
  readonly signingKey: Buffer
  readonly date: string
  readonly scope: string
  readonly signature: string
}

export interface SignedRequest {
  readonly method: string
  /** As in the request line: path and query. */
  readonly url: string
  readonly headers: Readonly<Record<string, string | undefined>>
}

const MAX_SKEW_MS = 15 * 60 * 1000
const EMPTY_SHA256 = sha256('')

/** Checks who signed a request, and that they did. Throws what S3 answers otherwise. */
export function verifySignature(
  request: SignedRequest,
  { keys, region, nowMs }: { readonly keys: ReadonlyMap<string, S3Key>, readonly region: string, readonly nowMs: number },
): Signature {
  const { accessKeyId, scope, scopeDate, scopeRegion, signedHeaders, given } = parseAuthorization(request.headers['authorization'])
  const key = keys.get(accessKeyId)
  if (key === undefined) throw s3Error('InvalidAccessKeyId', { details: { AWSAccessKeyId: accessKeyId } })
  if (scopeRegion !== region) {
    const message = `The authorization header is malformed; the region '${scopeRegion}' is wrong; expecting '${region}'`
    throw s3Error('AuthorizationHeaderMalformed', { message, details: { Region: region }, headers: { 'x-amz-bucket-region': region } })
  }
  const date = request.headers['x-amz-date'] ?? ''
  checkDate(date, scopeDate, nowMs)
  checkToken(key, request.headers['x-amz-security-token'])
  const signingKey = ['s3', 'aws4_request'].reduce(hmac, hmac(hmac(Buffer.from(`AWS4${key.secretAccessKey}`), scopeDate), scopeRegion))
  const canonical = canonicalRequest(request, signedHeaders)
  const expected = hmac(signingKey, `AWS4-HMAC-SHA256\n${date}\n${scope}\n${sha256(canonical)}`).toString('hex')
  if (!sameText(expected, given)) throw s3Error('SignatureDoesNotMatch', { details: { AWSAccessKeyId: accessKeyId } })
  return { accessKeyId, key, signingKey, date, scope, signature: given }
}

/** The signature of a chunk of a body, given that of the one before (or of the headers). */
export function chunkSignature({ signingKey, date, scope }: Signature, previous: string, chunk: Uint8Array): string {
  return hmac(signingKey, `AWS4-HMAC-SHA256-PAYLOAD\n${date}\n${scope}\n${previous}\n${EMPTY_SHA256}\n${sha256(chunk)}`).toString('hex')
}

/** The signature of the trailers of a body. */
export function trailerSignature({ signingKey, date, scope }: Signature, previous: string, trailers: string): string {
  return hmac(signingKey, `AWS4-HMAC-SHA256-TRAILER\n${date}\n${scope}\n${previous}\n${sha256(trailers)}`).toString('hex')
}

export function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex')
}

function parseAuthorization(header: string | undefined): {
  accessKeyId: string, scope: string, scopeDate: string, scopeRegion: string, signedHeaders: string[], given: string
} {
  if (header === undefined) throw s3Error('AccessDenied', { message: 'Access Denied. The request is not signed' })
  const match = /^AWS4-HMAC-SHA256 +Credential=([^,]+), *SignedHeaders=([^,]+), *Signature=([0-9a-f]{64})$/.exec(header)
  const credential = match?.[1]?.split('/') ?? []
  const [accessKeyId, scopeDate, scopeRegion, service, end] = credential
  if (accessKeyId === undefined || scopeDate === undefined || scopeRegion === undefined || service !== 's3' || end !== 'aws4_request') {
    throw s3Error('AuthorizationHeaderMalformed')
  }
  return { accessKeyId, scope: credential.slice(1).join('/'), scopeDate, scopeRegion, signedHeaders: match?.[2]?.split(';') ?? [], given: match?.[3] ?? '' }
}

function checkDate(date: string, scopeDate: string, nowMs: number): void {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(date)
  if (match === null) throw s3Error('AccessDenied', { message: 'AWS authentication requires a valid Date or x-amz-date header' })
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number) as [number, number, number, number, number, number]
  if (Math.abs(Date.UTC(year, month - 1, day, hour, minute, second) - nowMs) > MAX_SKEW_MS) {
    const details = { RequestTime: date, ServerTime: new Date(nowMs).toISOString(), MaxAllowedSkewMilliseconds: String(MAX_SKEW_MS) }
    throw s3Error('RequestTimeTooSkewed', { details })
  }
  if (!date.startsWith(scopeDate)) throw s3Error('SignatureDoesNotMatch', { message: 'Invalid credential date. Date is not the same as x-amz-date' })
}

function checkToken(key: S3Key, token: string | undefined): void {
  if (key.expired === true) throw s3Error('ExpiredToken')
  if (key.sessionToken !== token) throw s3Error('InvalidToken')
}

function canonicalRequest({ method, url, headers }: SignedRequest, signedHeaders: readonly string[]): string {
  const [path = '', query = ''] = url.split('?', 2)
  const uri = path.split('/').map((segment) => encode(decodeURIComponent(segment))).join('/')
  const parameters = query
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const [name = '', value = ''] = pair.split('=', 2)
      return [encode(decodeURIComponent(name)), encode(decodeURIComponent(value))] as const
    })
    .sort(([a, x], [b, y]) => (a < b || (a === b && x < y) ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
  const lines = signedHeaders.map((name) => `${name}:${(headers[name] ?? '').trim().replaceAll(/ +/g, ' ')}\n`)
  const content = headers['x-amz-content-sha256'] ?? ''
  return [method, uri, parameters.join('&'), lines.join(''), signedHeaders.join(';'), content].join('\n')
}

function encode(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

function sameText(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))
}
