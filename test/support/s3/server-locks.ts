/** Object Lock: retention and legal hold of versions, and the lock of a bucket. */
import { bucketOf, type Call, type Reply } from './server-call.ts'
import { s3Error } from './server-errors.ts'
import type { Retention, S3Bucket, Version } from './server-state.ts'
import { document, element, parseXml } from './server-xml.ts'

const DAY_MS = 24 * 60 * 60 * 1000

export interface Lock {
  readonly retention?: Retention | undefined
  readonly legalHold?: boolean | undefined
}

/** The lock that the headers of a write ask for, or the bucket gives. */
export function lockOf(call: Call, bucket: S3Bucket, { needsChecksum }: { readonly needsChecksum: boolean }): Lock {
  const { headers, now } = call
  const mode = headers['x-amz-object-lock-mode']
  const until = headers['x-amz-object-lock-retain-until-date']
  const hold = headers['x-amz-object-lock-legal-hold']
  const { defaultRetention } = bucket
  if (mode === undefined && until === undefined && hold === undefined) {
    return defaultRetention === undefined ? {} : { retention: { mode: defaultRetention.mode, until: new Date(now.getTime() + defaultRetention.days * DAY_MS) } }
  }
  if (!bucket.objectLock) throw s3Error('InvalidRequest', { message: 'Bucket is missing Object Lock Configuration' })
  if (needsChecksum && headers['content-md5'] === undefined && call.body.checksum === undefined) {
    throw s3Error('InvalidRequest', { message: 'Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters' })
  }
  if (mode !== undefined || until !== undefined) call.demand('s3:PutObjectRetention')
  if (hold !== undefined) call.demand('s3:PutObjectLegalHold')
  return { retention: mode === undefined && until === undefined ? undefined : parseRetention(mode, until, now), legalHold: hold === 'ON' }
}

/** The headers that tell of a lock. */
export function lockHeaders({ retention, legalHold }: Version): Record<string, string> {
  return {
    ...(retention === undefined ? {} : { 'x-amz-object-lock-mode': retention.mode, 'x-amz-object-lock-retain-until-date': retention.until.toISOString() }),
    ...(legalHold === undefined ? {} : { 'x-amz-object-lock-legal-hold': legalHold ? 'ON' : 'OFF' }),
  }
}

/** Throws AccessDenied when a lock holds the version. */
export function checkRemovable(call: Call, { retention, legalHold, key }: Version): void {
  const bypasses = retention?.mode === 'GOVERNANCE' && asksForBypass(call) && call.may('s3:BypassGovernanceRetention', { key })
  const held = legalHold === true || (retention !== undefined && retention.until > call.now && !bypasses)
  if (held) throw s3Error('AccessDenied', { message: 'Access Denied because object protected by object lock.' })
}

export function getObjectRetention(call: Call): Reply {
  const { retention } = lockedVersion(call, 's3:GetObjectRetention')
  if (retention === undefined) throw s3Error('NoSuchObjectLockConfiguration')
  return { body: document('Retention', [element('Mode', retention.mode), element('RetainUntilDate', retention.until)]) }
}

export function putObjectRetention(call: Call): Reply {
  const version = lockedVersion(call, 's3:PutObjectRetention')
  const root = parseXml(call.body.data.toString())
  const next = parseRetention(root?.get('Mode'), root?.get('RetainUntilDate'), call.now)
  const before = version.retention
  const loosens = before !== undefined && before.until > call.now && (next.until < before.until || (before.mode === 'COMPLIANCE' && next.mode !== 'COMPLIANCE'))
  if (loosens && (before.mode === 'COMPLIANCE' || !asksForBypass(call))) throw s3Error('AccessDenied', { message: 'Access Denied because object protected by object lock.' })
  version.retention = next
  return {}
}

export function getObjectLegalHold(call: Call): Reply {
  const { legalHold } = lockedVersion(call, 's3:GetObjectLegalHold')
  if (legalHold === undefined) throw s3Error('NoSuchObjectLockConfiguration')
  return { body: document('LegalHold', [element('Status', legalHold ? 'ON' : 'OFF')]) }
}

export function putObjectLegalHold(call: Call): Reply {
  lockedVersion(call, 's3:PutObjectLegalHold').legalHold = parseXml(call.body.data.toString())?.get('Status') === 'ON'
  return {}
}

export function getObjectLockConfiguration(call: Call): Reply {
  const bucket = bucketOf(call)
  call.demand('s3:GetBucketObjectLockConfiguration', { key: undefined })
  if (!bucket.objectLock) throw s3Error('ObjectLockConfigurationNotFoundError', { details: { BucketName: bucket.name } })
  const { defaultRetention: given } = bucket
  const rule = given === undefined ? [] : [element('Rule', [element('DefaultRetention', [element('Mode', given.mode), element('Days', given.days)])])]
  return { body: document('ObjectLockConfiguration', [element('ObjectLockEnabled', 'Enabled'), ...rule]) }
}

export function putObjectLockConfiguration(call: Call): Reply {
  const bucket = bucketOf(call)
  call.demand('s3:PutBucketObjectLockConfiguration', { key: undefined })
  const root = parseXml(call.body.data.toString())
  if (root?.get('ObjectLockEnabled') !== 'Enabled') throw s3Error('MalformedXML')
  if (!bucket.versioned) throw s3Error('InvalidBucketState', { message: 'Versioning must be \'Enabled\' on the bucket to apply a Object Lock configuration' })
  const given = root.all('Rule')[0]?.all('DefaultRetention')[0]
  const days = Number(given?.get('Days') ?? Number(given?.get('Years')) * 365)
  bucket.objectLock = true
  bucket.defaultRetention = given === undefined ? undefined : { mode: parseMode(given.get('Mode')), days }
  return {}
}

function lockedVersion(call: Call, action: string): Version {
  const bucket = bucketOf(call)
  call.demand(action)
  if (!bucket.objectLock) throw s3Error('InvalidRequest', { message: 'Bucket is missing Object Lock Configuration' })
  const id = call.query['versionId']
  const version = id === undefined ? bucket.current(call.key) : bucket.version(call.key, id)
  if (version === undefined) throw s3Error(id === undefined ? 'NoSuchKey' : 'NoSuchVersion')
  return version
}

function parseRetention(mode: string | undefined, until: string | undefined, now: Date): Retention {
  if (mode === undefined || until === undefined) {
    throw s3Error('InvalidArgument', { message: 'x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied' })
  }
  const date = new Date(until)
  if (Number.isNaN(date.getTime())) throw s3Error('InvalidArgument', { message: 'The retain until date must be provided in ISO 8601 format' })
  if (date <= now) throw s3Error('InvalidArgument', { message: 'The retain until date must be in the future!' })
  return { mode: parseMode(mode), until: date }
}

function parseMode(mode: string | undefined): Retention['mode'] {
  if (mode !== 'GOVERNANCE' && mode !== 'COMPLIANCE') throw s3Error('InvalidArgument', { message: 'Unknown wormMode directive.' })
  return mode
}

function asksForBypass({ headers }: Call): boolean {
  return headers['x-amz-bypass-governance-retention']?.toLowerCase() === 'true'
}
