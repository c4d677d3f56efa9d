/** The configuration of an S3 destination: options and URL, checked and completed with defaults. */
import { MAX_WAIT_MS, checkWholeNumber } from '../../src/util/check-number.ts'
import { BOOLEAN, FUNCTION, NUMBER, OBJECT, type OptionKinds, STRING, SYNC_FUNCTION, either, optional, shapedAs } from '../../src/util/check-options.ts'
import { DestinationConfigInvalidError } from '../../src/errors/errors.ts'
import { findParameterFault } from '../../src/util/urls.ts'

export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
  /** When they expire. A provider is asked again before that. */
  readonly expiration?: Date | undefined
}

export interface S3ObjectLock {
  /** `governance` can be lifted by a key that has the permission; `compliance` cannot be lifted. */
  readonly mode: 'governance' | 'compliance'
  /** How long each object of a backup is locked, from its upload on. */
  readonly retainDays: number
}

export interface S3PayloadStore {
  readonly bucket: string
  /** The prefix of its keys, exactly as its garbage collection lists them. @default '' (all of the bucket) */
  readonly prefix?: string | undefined
  /** @default that of the destination */
  readonly endpoint?: string | undefined
}

/** What the destination's access key may do, and what `validate` tries: everything, everything but delete, or only read. */
export const S3_ACCESS = ['full', 'publish', 'restore'] as const
export type S3Access = (typeof S3_ACCESS)[number]

/** Whether checksum headers are sent: until the store refuses them, always, or never. */
export const S3_CHECKSUMS = ['auto', 'always', 'never'] as const
export const S3_ENCRYPTIONS = ['AES256', 'aws:kms', 'aws:kms:dsse'] as const

export interface S3DestinationOptions {
  /** 3 to 63 lower-case letters, digits, `.` and `-`; with an `endpoint` also capitals and `_`, and up to 255 of them. */
  readonly bucket: string
  /** The prefix of all keys, without the slash that follows. @default '' (the root of the bucket) */
  readonly prefix?: string | undefined
  /** @default that of the SDK's default chain (AWS_REGION, profile); us-east-1 with an `endpoint` */
  readonly region?: string | undefined
  /** Such as `https://minio.example:9000`. @default Amazon's */
  readonly endpoint?: string | undefined
  /** Puts the bucket into the path instead of the host name. @default false; true with an `endpoint` */
  readonly pathStyle?: boolean | undefined
  /** Keys, or a function that provides them. @default the SDK's default chain */
  readonly credentials?: S3Credentials | (() => Promise<S3Credentials>) | undefined
  /** @default 'full' */
  readonly access?: S3Access | undefined
  /** Bytes of a part, 5 MiB to 1 GiB. Parts grow after the first 800: S3 allows 10,000 for at most 5 TiB. @default 8388608 (8 MiB) */
  readonly partBytes?: number | undefined
  /**
   * Gives all parts but the last the same size, as Cloudflare R2 demands: `partBytes`, or more so that twice the largest stream listed
   * fits into 10,000 parts. @default true at an endpoint of R2, else false
   */
  readonly equalParts?: boolean | undefined
  /** Checksum headers (`x-amz-checksum-crc32`): `auto` sends them until the store refuses them. @default 'auto' */
  readonly checksums?: (typeof S3_CHECKSUMS)[number] | undefined
  /** Encryption by the store. @default the bucket's */
  readonly encryption?: (typeof S3_ENCRYPTIONS)[number] | undefined
  /** The KMS key to encrypt with. @default the account's */
  readonly kmsKeyId?: string | undefined
  /** Such as `STANDARD_IA`. Not an archive that must give objects back first: backups are read back. @default the bucket's */
  readonly storageClass?: string | undefined
  /** A canned ACL, such as `bucket-owner-full-control`. @default none */
  readonly acl?: string | undefined
  /** Says with each request that this account pays for it. @default false */
  readonly requesterPays?: boolean | undefined
  /** Parts sent at once; fewer when they have grown. One more is in memory, being filled. @default 4 */
  readonly partsInFlight?: number | undefined
  /** Tries of each request, the first included. @default 5 */
  readonly attempts?: number | undefined
  /** The wait before the second try. Doubles with each further try, up to 20 s, less a random part of up to a half. @default 200 */
  readonly firstDelayMs?: number | undefined
  /** How long one try may take, beyond the time of its body. @default 30000 */
  readonly requestTimeoutMs?: number | undefined
  /** The slowest transfer of a body. A slower one is broken off and tried again. @default 32768 */
  readonly minBytesPerSecond?: number | undefined
  /** How long one request may take with all its tries, beyond the time of its bodies. @default 300000 */
  readonly totalTimeoutMs?: number | undefined
  /** Locks published backups. The bucket must have Object Lock. @default only the bucket's own */
  readonly objectLock?: S3ObjectLock | undefined
  /** Where the server keeps payloads. A destination among the keys that its garbage collection lists is refused. */
  readonly payloadStore?: S3PayloadStore | undefined
  /** Waits; rejects with the signal's reason when it aborts. @default a timer */
  readonly wait?: ((delayMs: number, signal?: AbortSignal) => Promise<void>) | undefined
  /** Random numbers in [0, 1). @default Math.random */
  readonly random?: (() => number) | undefined
}

/** What can be set beside a URL. */
export const URL_OPTIONS: OptionKinds<Omit<S3DestinationOptions, 'bucket' | 'prefix'>> = {
  region: optional(STRING),
  endpoint: optional(STRING),
  pathStyle: optional(BOOLEAN),
  credentials: optional(either(shapedAs<S3Credentials>('credentials', { accessKeyId: STRING, secretAccessKey: STRING }), FUNCTION)),
  access: optional(STRING),
  partBytes: optional(NUMBER),
  equalParts: optional(BOOLEAN),
  checksums: optional(STRING),
  encryption: optional(STRING),
  kmsKeyId: optional(STRING),
  storageClass: optional(STRING),
  acl: optional(STRING),
  requesterPays: optional(BOOLEAN),
  partsInFlight: optional(NUMBER),
  attempts: optional(NUMBER),
  firstDelayMs: optional(NUMBER),
  requestTimeoutMs: optional(NUMBER),
  minBytesPerSecond: optional(NUMBER),
  totalTimeoutMs: optional(NUMBER),
  objectLock: optional(OBJECT),
  payloadStore: optional(shapedAs<S3PayloadStore>('a payload store', { bucket: STRING })),
  wait: optional(FUNCTION),
  random: optional(SYNC_FUNCTION),
}
export const S3_OPTIONS: OptionKinds<S3DestinationOptions> = { ...URL_OPTIONS, bucket: STRING, prefix: optional(STRING) }

type Optional = 'region' | 'endpoint' | 'credentials' | 'objectLock' | 'wait' | 'encryption' | 'kmsKeyId' | 'storageClass' | 'acl'

/** The complete configuration. `prefix` is empty or ends with a slash. */
export type S3Config = Pick<S3DestinationOptions, Optional> & {
  readonly [Name in Exclude<keyof S3DestinationOptions, Optional | 'payloadStore'>]-?: NonNullable<S3DestinationOptions[Name]>
} & { readonly url: string }

const MIB = 1024 * 1024
/** The smallest part that S3 allows, the last one aside. */
export const MIN_PART_BYTES: number = 5 * MIB
export const MAX_PART_BYTES: number = 1024 * MIB
/** The 1,024 bytes that S3 allows for a key, less room for the names of a backup. */
const MAX_PREFIX_BYTES = 900
const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/
/** What some other stores, and Amazon's oldest buckets, allow. */
const LOOSE_BUCKET = /^[a-z0-9][a-z0-9._-]{1,253}[a-z0-9]$/i
const R2 = /\.r2\.cloudflarestorage\.com$/
const ARCHIVES = ['GLACIER', 'DEEP_ARCHIVE']
const REGION = /^[a-z0-9-]{1,40}$/i
const UNPRINTABLE = /[\u0000-\u001f\u007f\ufffd]/

/** Checks options and completes them. Throws `destination_config_invalid`, and `RangeError` for numbers out of range. */
export function resolveS3Config(options: S3DestinationOptions): S3Config {
  const { bucket, region, endpoint: givenEndpoint, credentials, objectLock, access = 'full', checksums = 'auto', wait, random = Math.random } = options
  const { encryption, kmsKeyId, storageClass, acl } = options
  if (region !== undefined && !REGION.test(region)) throw invalid('its region must have only letters, digits and "-"')
  checkOneOf('access', access, S3_ACCESS)
  const endpoint = givenEndpoint === undefined ? undefined : checkedEndpoint(givenEndpoint)
  const prefix = checkedPrefix(options.prefix ?? '')
  if (options.payloadStore !== undefined) checkOverlap({ bucket, prefix, endpoint }, options.payloadStore)
  if (objectLock !== undefined) checkObjectLock(objectLock)
  const pathStyle = options.pathStyle ?? endpoint !== undefined
  checkBucket(bucket, endpoint !== undefined && pathStyle)
  checkOneOf('checksums', checksums, S3_CHECKSUMS)
  if (encryption !== undefined) checkOneOf('encryption', encryption, S3_ENCRYPTIONS)
  if (kmsKeyId !== undefined && !/^[!-~]{1,2048}$/.test(kmsKeyId)) throw invalid('its KMS key must be an ID, alias or ARN without white space')
  if (storageClass !== undefined && !/^[A-Z0-9_]{1,64}$/.test(storageClass)) throw invalid('its storage class must be a name such as STANDARD_IA')
  if (storageClass !== undefined && ARCHIVES.includes(storageClass)) throw invalid(`its storage class ${storageClass} cannot be read back; GLACIER_IR can`)
  if (acl !== undefined && !/^[a-z-]{1,64}$/.test(acl)) throw invalid('its ACL must be a canned one such as bucket-owner-full-control')
  return Object.freeze({
    url: urlOf({ bucket, prefix, region, endpoint, pathStyle: options.pathStyle }),
    bucket,
    prefix,
    region: region ?? (endpoint === undefined ? undefined : process.env['AWS_REGION'] || 'us-east-1'),
    endpoint,
    pathStyle,
    // Copy the credentials each time: the SDK writes into them.
    credentials: typeof credentials === 'function' ? async () => ({ ...(await credentials()) }) : credentials && { ...credentials },
    access,
    checksums,
    encryption,
    kmsKeyId,
    storageClass,
    acl,
    requesterPays: options.requesterPays ?? false,
    equalParts: options.equalParts ?? (endpoint !== undefined && R2.test(new URL(endpoint).hostname)),
    partBytes: checkWholeNumber('partBytes', options.partBytes ?? 8 * MIB, { least: MIN_PART_BYTES, most: MAX_PART_BYTES }),
    partsInFlight: checkWholeNumber('partsInFlight', options.partsInFlight ?? 4, { least: 1, most: 1000 }),
    attempts: checkWholeNumber('attempts', options.attempts ?? 5, { least: 1, most: 1000 }),
    firstDelayMs: checkWholeNumber('firstDelayMs', options.firstDelayMs ?? 200, { least: 0, most: 20_000 }),
    requestTimeoutMs: checkWholeNumber('requestTimeoutMs', options.requestTimeoutMs ?? 30_000, { least: 1, most: MAX_WAIT_MS }),
    minBytesPerSecond: checkWholeNumber('minBytesPerSecond', options.minBytesPerSecond ?? 32 * 1024, { least: 1, most: 2 ** 40 }),
    totalTimeoutMs: checkWholeNumber('totalTimeoutMs', options.totalTimeoutMs ?? 300_000, { least: 1, most: MAX_WAIT_MS }),
    objectLock: objectLock === undefined ? undefined : Object.freeze({ ...objectLock }),
    wait,
    random,
  })
}

/** Every parameter a URL may have, and the option it sets. */
const PARAMETERS: Readonly<Record<string, (text: string) => Partial<S3DestinationOptions>>> = {
  region: (region) => ({ region }),
  endpoint: (endpoint) => ({ endpoint }),
  'path-style': (text) => ({ pathStyle: flag(text) }),
  access: (access) => ({ access: access as S3Access }),
  checksums: (text) => ({ checksums: text as (typeof S3_CHECKSUMS)[number] }),
  encryption: (text) => ({ encryption: text as (typeof S3_ENCRYPTIONS)[number] }),
  'kms-key': (kmsKeyId) => ({ kmsKeyId }),
  'storage-class': (storageClass) => ({ storageClass }),
  acl: (acl) => ({ acl }),
  'requester-pays': (text) => ({ requesterPays: flag(text) }),
  'equal-parts': (text) => ({ equalParts: flag(text) }),
  'part-bytes': (text) => ({ partBytes: number(text) }),
  'parts-in-flight': (text) => ({ partsInFlight: number(text) }),
  attempts: (text) => ({ attempts: number(text) }),
  'request-timeout-ms': (text) => ({ requestTimeoutMs: number(text) }),
  'total-timeout-ms': (text) => ({ totalTimeoutMs: number(text) }),
  'min-bytes-per-second': (text) => ({ minBytesPerSecond: number(text) }),
}

/** The options in `s3://BUCKET/PREFIX?...`. Throws `destination_config_invalid`, without the URL, which may have credentials in it. */
export function parseS3Url(url: string): S3DestinationOptions {
  let parsed: URL
  try {
    parsed = new URL(url)
  } catch {
    // The message of the URL parser would repeat the URL.
    throw invalid('it must be s3://BUCKET/PREFIX')
  }
  if (parsed.username !== '' || parsed.password !== '') {
    throw invalid(
      'its URL must not have credentials in it',
      'Pass keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or the credentials option of s3Destination',
    )
  }
  if (parsed.protocol !== 's3:' || parsed.port !== '' || parsed.hash !== '') {
    throw invalid('it must be s3://BUCKET/PREFIX, without port and fragment; write "#" as %23')
  }
  const fault = findParameterFault(parsed.searchParams, { scheme: 's3', known: Object.keys(PARAMETERS) })
  if (fault !== undefined) throw invalid(fault.sentence, fault.hint)
  const options: Record<string, unknown> = {}
  for (const [name, text] of parsed.searchParams) Object.assign(options, PARAMETERS[name]?.(text))
  const prefix = decodedPath(parsed.pathname)
  const found = { ...options, bucket: parsed.hostname, prefix }
  try {
    resolveS3Config(found)
  } catch (error) {
    // A wrong number in a URL is the operator's mistake, not the caller's.
    if (error instanceof RangeError) throw invalid(error.message)
    throw error
  }
  return found
}

function checkBucket(bucket: string, isLoose: boolean): void {
  if (typeof bucket === 'string' && (isLoose ? LOOSE_BUCKET : BUCKET).test(bucket)) return
  throw invalid('its bucket must have 3 to 63 lower-case letters, digits, "." and "-"', 'With endpoint= and path-style=true it may have capitals and "_"')
}

function checkOneOf<T extends string>(name: string, given: T, known: readonly T[]): void {
  if (!known.includes(given)) throw invalid(`its ${name} must be one of ${known.join(', ')}`)
}

function decodedPath(path: string): string {
  try {
    return decodeURIComponent(path.replace(/^\//, ''))
  } catch {
    throw invalid('its prefix is not encoded as UTF-8; write "%" as %25')
  }
}

function checkedPrefix(written: string): string {
  const prefix = written.replace(/\/$/, '')
  if (prefix === '') return ''
  const isStrange = prefix.split('/').some((segment) => segment === '' || segment === '.' || segment === '..')
  if (isStrange || UNPRINTABLE.test(prefix) || prefix.includes('\\') || /\p{Surrogate}/u.test(prefix)) {
    throw invalid('its prefix must be names joined by single slashes, without ".", "..", control characters or backslashes')
  }
  if (Buffer.byteLength(prefix) > MAX_PREFIX_BYTES) throw invalid(`its prefix has more than ${MAX_PREFIX_BYTES} bytes`)
  return `${prefix}/`
}

function checkedEndpoint(text: string): string {
  let parsed: URL
  try {
    parsed = new URL(text)
  } catch {
    throw invalid('its endpoint must be a URL such as https://HOST:PORT')
  }
  if (parsed.username !== '' || parsed.password !== '') throw invalid('its endpoint must not have credentials in it')
  if (!/^https?:$/.test(parsed.protocol) || parsed.search !== '' || parsed.hash !== '') throw invalid('its endpoint must be an http: or https: URL without query and fragment')
  return parsed.href.replace(/\/$/, '')
}

/** Throws when backups would be listed as payloads, or payloads as backups. */
function checkOverlap(own: { readonly bucket: string; readonly prefix: string; readonly endpoint: string | undefined }, payloadStore: S3PayloadStore): void {
  const { bucket, prefix = '' } = payloadStore
  const endpoint = payloadStore.endpoint === undefined ? own.endpoint : checkedEndpoint(payloadStore.endpoint)
  if (bucket !== own.bucket || storeOf(endpoint) !== storeOf(own.endpoint)) return
  if (!prefix.startsWith(own.prefix) && !own.prefix.startsWith(prefix)) return
  throw new DestinationConfigInvalidError(
    `Cannot keep backups under "${own.prefix}" in bucket "${bucket}": the payload store is under "${prefix}" there, and its garbage collection would delete the backups`,
    { hint: 'Use another bucket, or a prefix that neither contains the other nor lies within it', details: { bucket, prefix: own.prefix, payloadPrefix: prefix, reason: 'overlaps_payload_store' } },
  )
}

/** The store behind an endpoint: all of Amazon's lead to the same buckets. */
function storeOf(endpoint: string | undefined): string | undefined {
  return endpoint === undefined || /\.amazonaws\.com(\.cn)?$/.test(new URL(endpoint).hostname) ? undefined : endpoint
}

function checkObjectLock({ mode, retainDays }: S3ObjectLock): void {
  if (mode !== 'governance' && mode !== 'compliance') throw invalid('objectLock.mode must be "governance" or "compliance"')
  checkWholeNumber('objectLock.retainDays', retainDays, { least: 1, most: 36_500 })
}

/** The canonical URL. It has no secrets in it: only the checked parts go into it. */
function urlOf(
  { bucket, prefix, region, endpoint, pathStyle }: Pick<S3DestinationOptions, 'bucket' | 'region' | 'endpoint' | 'pathStyle'> & { readonly prefix: string },
): string {
  const path = prefix.split('/').map(encodeURIComponent).join('/').replace(/\/$/, '')
  const query = new URLSearchParams()
  if (region !== undefined) query.set('region', region)
  if (endpoint !== undefined) query.set('endpoint', endpoint)
  if (pathStyle !== undefined) query.set('path-style', String(pathStyle))
  const text = query.size === 0 ? '' : `?${query.toString()}`
  return `s3://${bucket}${path === '' ? '' : `/${path}`}${text}`
}

function flag(text: string): boolean {
  if (text !== 'true' && text !== 'false') throw invalid('path-style, equal-parts and requester-pays must be true or false')
  return text === 'true'
}

function number(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw invalid('its numbers must be integers')
  return Number(text)
}

function invalid(what: string, hint?: string): DestinationConfigInvalidError {
  return new DestinationConfigInvalidError(`Cannot use the S3 destination: ${what}`, { hint })
}
