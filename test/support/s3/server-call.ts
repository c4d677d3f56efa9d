/** What an operation of the tests' S3 server is given, and what it answers. */
import type { Body } from './server-body.ts'
import type { S3Behaviour, S3Request } from './server-behaviour.ts'
import { s3Error } from './server-errors.ts'
import type { Access } from './server-policy.ts'
import type { S3Bucket } from './server-state.ts'

export interface Reply {
  readonly status?: number | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** XML, or the bytes of an object. */
  readonly body?: string | Iterable<Buffer> | undefined
  /** Of a body of bytes. */
  readonly size?: number | undefined
  /** Whether the length is told. @default true */
  readonly hasLength?: boolean | undefined
  /** What is waited for, with white space sent meanwhile, before the body: CompleteMultipartUpload. */
  readonly delayMs?: number | undefined
  /** Whether the connection is cut in place of an answer. @default false */
  readonly isCut?: boolean | undefined
}

export interface Call {
  readonly request: S3Request
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly query: Readonly<Record<string, string>>
  readonly bucketName: string
  readonly key: string
  readonly body: Body
  readonly behaviour: S3Behaviour
  readonly region: string
  readonly buckets: Map<string, S3Bucket>
  /** The server's clock. */
  readonly now: Date
  /** Throws AccessDenied unless the signer may do it, to this request's object unless said otherwise. */
  demand(action: string, access?: Partial<Access>): void
  /** Whether the signer may do it, to this request's object unless said otherwise. */
  may(action: string, access?: Partial<Access>): boolean
}

/** The bucket of a call. Throws when it is not there, or in another region. */
export function bucketOf({ buckets, bucketName, region }: Call): S3Bucket {
  const bucket = buckets.get(bucketName)
  if (bucket === undefined) throw s3Error('NoSuchBucket', { details: { BucketName: bucketName } })
  if (bucket.region !== region) {
    const details = { Endpoint: `${bucketName}.s3-${bucket.region}.amazonaws.com`, Bucket: bucketName }
    throw s3Error('PermanentRedirect', { details, headers: { 'x-amz-bucket-region': bucket.region } })
  }
  return bucket
}

/** A number of the query between 0 and `max`, which it is by default. */
export function limitOf({ query, behaviour }: Call, name: string, max = 1000): number {
  const given = query[name] ?? ''
  const limit = given === '' ? max : Number(given)
  if (!Number.isInteger(limit) || limit < 0) throw s3Error('InvalidArgument', { message: `Argument ${name} must be an integer between 0 and 2147483647` })
  return Math.min(limit, max, behaviour.pageSize ?? max)
}

/** A text as a listing gives it back: with `encoding-type=url`, in percent codes. */
export function encoderOf({ query, behaviour }: Call): (text: string) => string {
  const type = query['encoding-type']
  if (type === undefined || type === '' || behaviour.keyEncoding === 'only said') return (text) => text
  if (type !== 'url') throw s3Error('InvalidArgument', { message: 'Invalid Encoding Method specified in Request' })
  return (text) => encodeURIComponent(text).replaceAll('%20', '+').replaceAll('%2F', '/').replaceAll(/[!'()]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
}
