/** Turns errors of the SDK, the network and the server into errors of a destination, without secrets. */
import {
  ChecksumMismatchError, DestinationConfigInvalidError, DestinationNoSpaceError, DestinationNotFoundError, DestinationPermissionDeniedError,
  DestinationUnreachableError, type HoldfastError, type HoldfastErrorOptions, isHoldfastError,
} from '../../src/errors/errors.ts'

/** The request, for messages: `Cannot list "s3://bucket/prefix/"`. */
export interface S3Asked {
  readonly operation: 'list' | 'list uploads of' | 'read' | 'write' | 'delete' | 'end the upload of' | 'look at'
  readonly bucket: string
  /** @default the bucket itself */
  readonly key?: string | undefined
}

export interface S3Failure {
  readonly error: HoldfastError
  /** Whether the same request may be sent again at once, after a wait. */
  readonly isTransient: boolean
  /** Whether new credentials may help. */
  readonly isExpired: boolean
}

/** Thrown by deadlines and checks of answers. Treated as an error of the network. */
export class S3AnswerError extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.name = 'S3AnswerError'
    this.code = code
  }
}

type ErrorClass = new (message: string, options?: HoldfastErrorOptions) => HoldfastError

interface Meaning {
  readonly Class: ErrorClass
  /** Stable, in `details.reason`. */
  readonly reason: string
  readonly text: string
  readonly hint?: string | undefined
  readonly isTransient?: boolean | undefined
  readonly isExpired?: boolean | undefined
}

const NO_BUCKET: Meaning = {
  Class: DestinationNotFoundError,
  reason: 'no_such_bucket',
  text: 'there is no such bucket',
  hint: 'Create the bucket first, or correct the bucket and the endpoint of the URL',
}
const WRONG_REGION: Meaning = { Class: DestinationConfigInvalidError, reason: 'wrong_region', text: 'the bucket is in another region', hint: 'Name the region of the bucket: region=' }
const WRONG_KEY: Meaning = {
  Class: DestinationPermissionDeniedError,
  reason: 'wrong_key',
  text: 'the server does not know the access key ID',
  hint: 'Check AWS_ACCESS_KEY_ID, the profile, or the credentials option; the key may have been deleted, or belong to another endpoint',
}
const WRONG_SECRET: Meaning = {
  Class: DestinationPermissionDeniedError,
  reason: 'wrong_secret',
  text: 'the signature does not match: the secret does not belong to the access key ID',
  hint: 'Check AWS_SECRET_ACCESS_KEY, the profile, or the credentials option; a proxy that changes requests has the same effect',
}
const EXPIRED: Meaning = {
  Class: DestinationPermissionDeniedError,
  reason: 'expired_token',
  text: 'the session token has expired or is not valid',
  hint: 'Renew the session, or use credentials that renew themselves',
  isExpired: true,
}
const SKEWED: Meaning = {
  Class: DestinationPermissionDeniedError,
  reason: 'clock_skew',
  text: "this machine's clock differs too much from the server's",
  hint: "Set this machine's clock, preferably by NTP, then try again",
}
const MALFORMED_KEY: Meaning = {
  Class: DestinationConfigInvalidError,
  reason: 'malformed_key',
  text: 'an access key or token has white space or a line end in it',
  hint: 'Remove it from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; a file with Windows line ends leaves a CR there',
}
const MISCONFIGURED: Meaning = {
  Class: DestinationConfigInvalidError,
  reason: 'misconfigured',
  text: 'settings of the AWS SDK contradict each other',
  hint: 'Unset AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT (or the same of the profile), or leave out endpoint=',
}
const ARCHIVED: Meaning = {
  Class: DestinationUnreachableError,
  reason: 'archived',
  text: 'the object was moved to an archive, which must give it back first',
  hint: 'Restore the objects of this backup from the archive (restore-object) and wait for that; exclude the prefix from the lifecycle rule that archives',
}
const NOT_PERMITTED: Meaning = { Class: DestinationPermissionDeniedError, reason: 'not_permitted', text: 'the access key does not have permission' }
const NO_SPACE: Meaning = { Class: DestinationNoSpaceError, reason: 'no_space', text: 'the store is full, or its quota is used up' }
const BUSY: Meaning = { Class: DestinationUnreachableError, reason: 'busy', text: 'the server is busy or failed', isTransient: true }
/** The bytes were damaged on their way. Sending them again may help. */
const DAMAGED: Meaning = { Class: DestinationUnreachableError, reason: 'damaged_in_transit', text: 'the request arrived damaged', isTransient: true }
const REFUSED: Meaning = { Class: DestinationUnreachableError, reason: 'refused', text: 'the server refused the request', hint: 'See what the server says, and which options ask for it' }
/** Not `refused`: it says nothing of what the store takes. */
const STOPPED: Meaning = {
  Class: DestinationUnreachableError,
  reason: 'stopped_on_the_way',
  text: 'a proxy or another server before the store refused the request',
  hint: 'Check the endpoint, and what is between this machine and the store',
}
const UNSUPPORTED: Meaning = {
  Class: DestinationConfigInvalidError,
  reason: 'unsupported',
  text: 'the store does not support this request',
  hint: 'Use a store that is compatible with S3, or leave out the option that asks for this',
}

const MEANING_BY_CODE: Readonly<Record<string, Meaning>> = {
  NoSuchBucket: NO_BUCKET,
  PermanentRedirect: WRONG_REGION,
  TemporaryRedirect: WRONG_REGION,
  AuthorizationHeaderMalformed: WRONG_REGION,
  IllegalLocationConstraintException: WRONG_REGION,
  InvalidAccessKeyId: WRONG_KEY,
  UnrecognizedClientException: WRONG_KEY,
  SignatureDoesNotMatch: WRONG_SECRET,
  ExpiredToken: EXPIRED,
  ExpiredTokenException: EXPIRED,
  InvalidToken: EXPIRED,
  TokenRefreshRequired: EXPIRED,
  RequestTimeTooSkewed: SKEWED,
  RequestExpired: SKEWED,
  AccessDenied: NOT_PERMITTED,
  AllAccessDisabled: NOT_PERMITTED,
  AccountProblem: NOT_PERMITTED,
  CredentialsProviderError: {
    Class: DestinationPermissionDeniedError,
    reason: 'no_credentials',
    text: 'there are no credentials',
    hint: 'Give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile (AWS_PROFILE), or the credentials option',
  },
  EndpointError: MISCONFIGURED,
  // Of the operating system's own functions only that for the home directory is called.
  ERR_SYSTEM_ERROR: {
    Class: DestinationConfigInvalidError,
    reason: 'no_home',
    text: 'the AWS SDK cannot find the home directory: HOME is not set, and the system does not know this user',
    hint: 'Set HOME; the directory need not exist',
  },
  EPROXY: {
    Class: DestinationUnreachableError,
    reason: 'proxy',
    text: 'the proxy did not connect',
    hint: 'Check HTTPS_PROXY (HTTP_PROXY for an http: endpoint) and its password; NO_PROXY has the hosts to reach directly',
    isTransient: true,
  },
  ERR_INVALID_CHAR: MALFORMED_KEY,
  InvalidObjectState: ARCHIVED,
  InvalidPart: {
    Class: DestinationUnreachableError,
    reason: 'parts_refused',
    text: 'the store refused the parts of the upload',
    hint: 'If it wants parts of equal size, as Cloudflare R2 does, use equal-parts=true',
  },
  InvalidBucketName: { Class: DestinationConfigInvalidError, reason: 'bad_bucket_name', text: 'the store does not allow such a bucket name' },
  NoSuchUpload: {
    Class: DestinationUnreachableError,
    reason: 'upload_ended',
    text: 'the upload is not there any more',
    hint: 'A clean-up or a lifecycle rule for incomplete uploads may have ended it: let both wait longer than a backup takes, then try again',
  },
  QuotaExceeded: NO_SPACE,
  QuotaExceededException: NO_SPACE,
  InsufficientStorage: NO_SPACE,
  XMinioStorageFull: NO_SPACE,
  NotImplemented: UNSUPPORTED,
  BadDigest: DAMAGED,
  XAmzContentSHA256Mismatch: DAMAGED,
  XAmzContentChecksumMismatch: DAMAGED,
  IncompleteBody: DAMAGED,
  RequestTimeout: BUSY,
  SlowDown: BUSY,
  ServiceUnavailable: BUSY,
  InternalError: BUSY,
  OperationAborted: BUSY,
  ConditionalRequestConflict: { ...BUSY, reason: 'conflict', text: 'another request for the same key was under way' },
}

const MEANING_BY_STATUS: Readonly<Record<number, Meaning>> = {
  301: WRONG_REGION,
  307: WRONG_REGION,
  401: NOT_PERMITTED,
  403: NOT_PERMITTED,
  408: BUSY,
  413: {
    Class: DestinationUnreachableError,
    reason: 'too_large',
    text: 'the server, or a proxy before it, does not take a body of that size',
    hint: 'Raise its limit (client_max_body_size of nginx), or make the parts smaller (part-bytes=)',
  },
  429: BUSY,
  501: UNSUPPORTED,
  507: NO_SPACE,
}

/** The hint where a store does not have the bytes that were written. No earlier backup is damaged. */
export const WRITTEN_HINT = 'Check the store: it lost or changed bytes that it was sent; then take the backup again'

/** What the SDK calls an error that has no name. */
const EMPTY = /^(Error|UnknownError|Unknown|S3ServiceException|NotFound|\d*)$/
/** Characters of a server's sentence that are repeated. */
const MAX_SAID = 300
/** Errors of certificates. Trying again would not help. */
const CERTIFICATE_CODE = /^(CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|ERR_TLS_CERT|HOSTNAME_MISMATCH|INVALID_CA|CRL_)/
const TLS_CODE = /^(EPROTO|ERR_SSL_|ERR_TLS_)/

/** Turns what the SDK threw into an error of the destination. Removes `secrets` from every text. */
export function explainS3Error(thrown: unknown, asked: S3Asked, secrets: readonly string[]): S3Failure {
  if (isHoldfastError(thrown)) return { error: thrown, isTransient: false, isExpired: false }
  const taken = takeApart(thrown, secrets)
  const { name, code, status, said, region, cause } = taken
  const given = asked.operation === 'list' && status === 404 && name === '' ? NO_BUCKET : meaningOf(taken)
  const isMalformed = (given === WRONG_KEY || given === WRONG_SECRET || given === EXPIRED) && secrets.some((secret) => /[^!-~]/.test(secret))
  const meaning = isMalformed ? MALFORMED_KEY : given
  const answer = (status === undefined ? [code] : [name, `HTTP ${status}`]).filter((part) => part !== '').join(', ')
  const place = `s3://${asked.bucket}${asked.key === undefined ? '' : `/${asked.key}`}`
  const isTransient = meaning.isTransient ?? false
  const error = new meaning.Class(`Cannot ${asked.operation} "${place}": ${meaning.text} (${answer}${said === '' ? '' : `: ${said}`})`, {
    cause,
    hint: hintOf(meaning, asked, region),
    ...(meaning.Class === DestinationUnreachableError && { retryable: isTransient }),
    details: { operation: asked.operation, bucket: asked.bucket, key: asked.key, reason: meaning.reason, s3Code: name, httpStatus: status },
  })
  return { error, isTransient, isExpired: meaning.isExpired ?? false }
}

interface Answered {
  readonly $metadata?: { readonly httpStatusCode?: number; readonly requestId?: string } | undefined
  readonly $response?: { readonly headers?: Readonly<Record<string, string>>; readonly statusCode?: number } | undefined
}

/** Whether an error of the SDK is an answer of the server. */
function isAnswered(thrown: unknown): boolean {
  return thrown instanceof Error && (('$fault' in thrown && thrown.name !== 'TimeoutError') || isPage(thrown))
}

/** Whether an answer that the SDK could not parse is the page of a proxy. */
function isPage(error: Error & Answered): boolean {
  return !('$fault' in error) && isHtml(error)
}

/** Whether an answer is HTML, parsed or not. Its status counts, except 404: that says nothing of the store. */
function isHtml({ $response: { headers, statusCode = 0 } = {} }: Answered): boolean {
  return statusCode >= 400 && statusCode !== 404 && headers?.['content-type']?.startsWith('text/html') === true
}

function statusOf({ $metadata, $response }: Answered): number | undefined {
  return $metadata?.httpStatusCode ?? $response?.statusCode
}

/** Whether the server may still carry the request out: it gave no answer, or only a proxy or gateway before it did. */
export function isUnsure(thrown: unknown): boolean {
  return !isAnswered(thrown) || isHtml(thrown as Answered) || [502, 504].includes(statusOf(thrown as Answered) ?? 0)
}

/** The code that the server or the network gave for an error of this destination, such as `NoSuchKey`. */
export function s3CodeOf(error: unknown): string | undefined {
  const code = isHoldfastError(error) ? error.details['s3Code'] : undefined
  return typeof code === 'string' ? code : undefined
}

/** Whether the server said that an object or an upload is not there, with or without a code. */
export function isMissing(error: unknown): boolean {
  return s3StatusOf(error) === 404 && s3CodeOf(error) !== 'NoSuchBucket'
}

/** Whether the server refused a write because something is under the key. Some stores say so with 409. */
export function isTaken(error: unknown): boolean {
  return s3StatusOf(error) === 412 || s3CodeOf(error) === 'PreconditionFailed'
}

/** Whether the store refused a request as such, by its own answer: some stores do so for a header or operation that they do not know. */
export function isRefused(error: unknown): boolean {
  const reason = isHoldfastError(error) ? error.details['reason'] : undefined
  return (reason === 'refused' || reason === 'unsupported') && [400, 405, 501].includes(s3StatusOf(error) ?? 0)
}

/** The HTTP status that the server answered with. */
export function s3StatusOf(error: unknown): number | undefined {
  const status = isHoldfastError(error) ? error.details['httpStatus'] : undefined
  return typeof status === 'number' ? status : undefined
}

const PERMISSIONS: Readonly<Record<S3Asked['operation'], string>> = {
  list: 's3:ListBucket',
  'list uploads of': 's3:ListBucketMultipartUploads and s3:ListMultipartUploadParts',
  read: 's3:GetObject',
  'look at': 's3:GetObject',
  write: 's3:PutObject',
  delete: 's3:DeleteObject',
  'end the upload of': 's3:AbortMultipartUpload',
}

function hintOf({ hint, reason }: Meaning, { operation, key }: S3Asked, region: string | undefined): string | undefined {
  if (reason === 'damaged' && operation === 'write') return WRITTEN_HINT
  if (reason === 'wrong_region' && region !== undefined) return `${hint}${region}`
  if (reason === 'not_permitted') {
    const needed = PERMISSIONS[operation]
    const missing = key !== undefined && (operation === 'read' || operation === 'look at') ? '. Without s3:ListBucket, a missing object gets the same answer' : ''
    return `Allow ${needed} on the bucket and the prefix to the access key${missing}`
  }
  return hint
}

function meaningOf({ name, code, status, isByPage }: TakenApart): Meaning {
  if (status === undefined) return MEANING_BY_CODE[name] ?? MEANING_BY_CODE[code] ?? networkMeaning(code)
  const meaning = MEANING_BY_CODE[name] ?? MEANING_BY_STATUS[status] ?? (status >= 500 || status < 300 ? BUSY : REFUSED)
  return isByPage && (meaning === REFUSED || meaning === UNSUPPORTED) ? STOPPED : meaning
}

function networkMeaning(code: string): Meaning {
  if (code === 'ENOREGION') {
    return { Class: DestinationConfigInvalidError, reason: 'no_region', text: 'the region is missing or malformed', hint: 'Name the region of the bucket: region=, AWS_REGION, or the profile' }
  }
  if (code === 'EDAMAGED') return { Class: ChecksumMismatchError, reason: 'damaged', text: 'the bytes that arrived do not match their checksum', isTransient: true }
  if (CERTIFICATE_CODE.test(code)) {
    return {
      Class: DestinationUnreachableError,
      reason: 'tls',
      text: "the server's certificate is not trusted",
      hint: 'Check the endpoint, and trust its certificate authority: NODE_EXTRA_CA_CERTS=FILE',
    }
  }
  if (TLS_CODE.test(code)) {
    return { Class: DestinationUnreachableError, reason: 'tls', text: 'the TLS connection failed', hint: 'Check whether the endpoint is https: or http:', isTransient: true }
  }
  return {
    Class: DestinationUnreachableError,
    reason: 'unreachable',
    text: 'the server did not answer completely',
    hint: 'Check the endpoint and the network, then try again',
    isTransient: true,
  }
}

interface TakenApart {
  /** The server's name of the error. */
  readonly name: string
  /** The system's or the SDK's name of the error, where there was no answer. */
  readonly code: string
  readonly status: number | undefined
  /** Whether the answer is the page of a proxy. */
  readonly isByPage: boolean
  /** The server's own sentence, the SDK's about its settings, or ours about the answer; '' where there is none. */
  readonly said: string
  readonly region: string | undefined
  readonly cause: Error
}

/** Takes the safe facts from an error of the SDK, which also has the request with its signature and session token in it. */
function takeApart(thrown: unknown, secrets: readonly string[]): TakenApart {
  const error = (thrown instanceof Error ? thrown : new Error(String(thrown))) as Error & Answered & Record<string, unknown>
  // For an answer that it cannot parse the SDK throws a SyntaxError with the response: that answer was not complete, unless it is a page.
  const isAnswer = isAnswered(error)
  const isByPage = isPage(error)
  const status = isAnswer ? statusOf(error) : undefined
  const given = isByPage ? '' : typeof error['Code'] === 'string' ? error['Code'] : error.name
  // Answers to HEAD have no body, and so neither code nor message.
  const name = EMPTY.test(given) ? '' : given
  const message = scrub(error.message, secrets)
  const isSaid = !isByPage && (isAnswer || error.name === 'EndpointError' || error instanceof S3AnswerError) && !EMPTY.test(message) && message !== name
  const said = isSaid ? message.replaceAll(/[\p{C}\s]+/gu, ' ').trim().slice(0, MAX_SAID) : ''
  const inner = (error as { readonly errors?: readonly unknown[] }).errors?.[0] ?? error.cause
  const systemCode = ownCodeOf(error) ?? error['code'] ?? (inner instanceof Error && 'code' in inner ? inner.code : undefined)
  const region = error['Region'] ?? error.$response?.headers?.['x-amz-bucket-region']
  const cause = new Error(message)
  cause.name = error.name
  if (error.stack !== undefined) cause.stack = scrub(error.stack, secrets)
  Object.assign(cause, { ...(systemCode !== undefined && { code: systemCode }), ...(status !== undefined && { status, requestId: error.$metadata?.requestId }) })
  const code = typeof systemCode === 'string' ? systemCode : error.name
  return { name: isAnswer || error.name === 'CredentialsProviderError' ? name : '', code, status, isByPage, said, region: regionName(region), cause }
}

/** Our code for SDK errors without one: a checksum mismatch, and a missing region. */
function ownCodeOf({ name, message }: Error): string | undefined {
  if (name !== 'Error') return undefined
  if (message.startsWith('Checksum mismatch')) return 'EDAMAGED'
  return /^Region (is missing|not accepted)/.test(message) ? 'ENOREGION' : undefined
}

function regionName(value: unknown): string | undefined {
  return typeof value === 'string' && /^[a-z0-9-]{1,40}$/.test(value) ? value : undefined
}

function scrub(text: string, secrets: readonly string[]): string {
  return secrets.reduce((scrubbed, secret) => scrubbed.replaceAll(secret, '(secret)'), text)
}
