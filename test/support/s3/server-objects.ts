/** Operations on objects. */
import { checksumHeaders } from './server-body.ts'
import { type Checksum, checksumOf } from './server-checksums.ts'
import { bucketOf, type Call, type Reply } from './server-call.ts'
import { refusal, S3Error, s3Error } from './server-errors.ts'
import { checkRemovable, lockHeaders, lockOf } from './server-locks.ts'
import type { Bytes, S3Bucket, Version } from './server-state.ts'
import { document, element, optional, parseXml } from './server-xml.ts'

const MAX_KEY_BYTES = 1024
const MAX_PUT_BYTES = 5 * 1024 ** 3
const KEPT_HEADERS = ['content-type', 'content-encoding', 'content-disposition', 'content-language', 'cache-control', 'expires']

export async function putObject(call: Call): Promise<Reply> {
  const bucket = bucketOf(call)
  call.demand('s3:PutObject')
  const lock = lockOf(call, bucket, { needsChecksum: true })
  if (call.body.data.size > MAX_PUT_BYTES) throw s3Error('EntityTooLarge')
  await checkConditions(call, bucket)
  const { data, md5, checksum } = call.body
  const version = addVersion(call, bucket, { data, etag: `"${md5}"`, headers: keptHeaders(call), checksum, lastModified: call.now, ...lock })
  return { headers: { etag: version.etag, ...versionHeader(bucket, version), ...checksumHeaders(checksum) } }
}

/** Makes an object of what was put together. */
export function addVersion(call: Call, bucket: S3Bucket, version: Omit<Version, 'key' | 'id' | 'isDeleteMarker'>): Version {
  if (Buffer.byteLength(call.key) > MAX_KEY_BYTES) throw s3Error('KeyTooLongError')
  const added = { ...version, key: call.key, id: bucket.newVersionId(), isDeleteMarker: false }
  bucket.add(added)
  return added
}

/** The headers that an object keeps. */
export function keptHeaders({ headers, behaviour }: Call): Record<string, string> {
  const kept = Object.entries(headers).filter(([name]) => (name.startsWith('x-amz-meta-') && behaviour.keepsNoMetadata !== true) || KEPT_HEADERS.includes(name)) as [string, string][]
  const encoding = headers['content-encoding']?.split(',').map((name) => name.trim()).filter((name) => name !== 'aws-chunked').join(', ')
  return Object.fromEntries([...kept.filter(([name]) => name !== 'content-encoding'), ...(encoding ? [['content-encoding', encoding] as const] : [])])
}

/** Looks at `If-None-Match` and `If-Match` of a write. Throws when it must not be done. */
export async function checkConditions(call: Call, bucket: S3Bucket): Promise<void> {
  const { headers, behaviour, key, query } = call
  const noneMatch = headers['if-none-match']
  const match = headers['if-match']
  const isComplete = query['uploadId'] !== undefined
  const refused = isComplete ? behaviour.refusesCompleteConditions : behaviour.refusesPutConditions
  if (noneMatch !== undefined && refused !== undefined) throw refusal(refused)
  if ((noneMatch === undefined && match === undefined) || behaviour.ignoresConditions === true) return
  if (isComplete && behaviour.ignoresConditions === 'complete') return
  if (noneMatch !== undefined && noneMatch !== '*') throw s3Error('NotImplemented')
  if ((behaviour.conflicts ?? 0) > 0) {
    behaviour.conflicts = (behaviour.conflicts ?? 0) - 1
    throw s3Error('ConditionalRequestConflict', { details: { Condition: 'If-None-Match', Key: key } })
  }
  const current = bucket.current(key)
  if (noneMatch !== undefined && current !== undefined) throw s3Error('PreconditionFailed', { details: { Condition: 'If-None-Match' } })
  if (match !== undefined && current === undefined) throw s3Error('NoSuchKey', { details: { Key: key } })
  if (match !== undefined && current?.etag !== match) throw s3Error('PreconditionFailed', { details: { Condition: 'If-Match' } })
  if (behaviour.conditionGapMs !== undefined) await new Promise((resolve) => setTimeout(resolve, behaviour.conditionGapMs))
}

export function getObject(call: Call): Reply {
  const { bucket, version } = findVersion(call)
  const { headers, behaviour } = call
  if (behaviour.isArchived === true && call.request.method === 'GET') throw s3Error('InvalidObjectState')
  const unmodified = checkReadConditions(call, version)
  if (unmodified) return { status: 304, headers: { etag: version.etag } }
  const range = behaviour.ignoresRanges === true || behaviour.tellsNoLengths === true ? undefined : parseRange(headers['range'], version.data.size)
  const { start, end } = range ?? { start: 0, end: version.data.size }
  const all = {
    ...version.headers,
    'content-type': version.headers['content-type'] ?? 'binary/octet-stream',
    'accept-ranges': 'bytes',
    etag: version.etag,
    'last-modified': version.lastModified.toUTCString(),
    ...versionHeader(bucket, version),
    ...(call.may('s3:GetObjectRetention') ? lockHeaders(version) : {}),
    ...(headers['x-amz-checksum-mode']?.toUpperCase() === 'ENABLED' && range === undefined ? checksumHeaders(version.checksum) : {}),
    ...(range === undefined || behaviour.tellsNoRanges === true ? {} : { 'content-range': `bytes ${start}-${end - 1}/${version.data.size}` }),
  }
  return { status: range === undefined ? 200 : 206, headers: all, body: version.data.slice(start, end), size: end - start, hasLength: behaviour.tellsNoLengths !== true }
}

/** The version that a request names, or the newest. Throws when there is none, in the words that the signer may hear. */
export function findVersion(call: Call): { bucket: S3Bucket, version: Version } {
  const bucket = bucketOf(call)
  const id = call.query['versionId']
  call.demand(id === undefined ? 's3:GetObject' : 's3:GetObjectVersion')
  const version = id === undefined ? bucket.current(call.key, call.behaviour.readLagMs) : bucket.version(call.key, id)
  if (version?.isDeleteMarker === true) throw s3Error('MethodNotAllowed', { headers: { 'x-amz-delete-marker': 'true' } })
  if (version !== undefined) return { bucket, version }
  if (id !== undefined) throw s3Error('NoSuchVersion')
  if (call.behaviour.hidesMissing === true || !call.may('s3:ListBucket', { key: undefined, prefix: call.key })) throw s3Error('AccessDenied')
  throw s3Error('NoSuchKey', { details: { Key: call.key } })
}

export function deleteObject(call: Call): Reply {
  return { status: 204, headers: removeVersion(call, { key: call.key, versionId: call.query['versionId'] }) }
}

export function deleteObjects(call: Call): Reply {
  bucketOf(call)
  const root = parseXml(call.body.data.toString())
  const objects = root?.all('Object') ?? []
  if (root?.name !== 'Delete' || objects.length === 0 || objects.length > 1000) throw s3Error('MalformedXML')
  if (call.headers['content-md5'] === undefined && call.body.checksum === undefined && call.behaviour.knowsNoChecksum !== true) {
    throw s3Error('InvalidRequest', { message: 'Missing required header for this request: Content-MD5 OR x-amz-checksum-*' })
  }
  const results = objects.map((object) => {
    const key = object.get('Key') ?? ''
    const versionId = object.get('VersionId')
    const named = [element('Key', key), optional('VersionId', versionId)]
    try {
      const { 'x-amz-delete-marker': marker, 'x-amz-version-id': id } = removeVersion(call, { key, versionId })
      return element('Deleted', [...named, optional('DeleteMarker', marker), optional('DeleteMarkerVersionId', marker === undefined ? undefined : id)])
    } catch (error) {
      if (!(error instanceof S3Error)) throw error
      return element('Error', [...named, element('Code', error.code), element('Message', error.message)])
    }
  })
  const quiet = root.get('Quiet') === 'true'
  return { body: document('DeleteResult', quiet ? results.filter((result) => result.startsWith('<Error>')) : results) }
}

function removeVersion(call: Call, { key, versionId }: { readonly key: string, readonly versionId: string | undefined }): Record<string, string> {
  const bucket = bucketOf(call)
  call.demand(versionId === undefined ? 's3:DeleteObject' : 's3:DeleteObjectVersion', { key })
  if (call.behaviour.keepsDeleted === true) return {}
  if (versionId === undefined && bucket.versioned) {
    const marker = { key, id: bucket.newVersionId(), data: call.body.data, etag: '', lastModified: call.now, headers: {}, isDeleteMarker: true }
    bucket.add(marker)
    return { 'x-amz-delete-marker': 'true', 'x-amz-version-id': marker.id }
  }
  const id = versionId ?? 'null'
  const version = bucket.version(key, id)
  if (version === undefined && call.behaviour.missesDeleted === true) throw refusal(404)
  if (version === undefined) return {}
  checkRemovable(call, version)
  bucket.remove(key, id)
  return bucket.versioned ? { 'x-amz-version-id': id, ...(version.isDeleteMarker ? { 'x-amz-delete-marker': 'true' } : {}) } : {}
}

/** Whether the reader has it already; throws when it is not the one that the reader wants. */
function checkReadConditions({ headers, behaviour }: Call, { etag }: Version): boolean {
  if (behaviour.ignoresReadConditions === true) return false
  const match = headers['if-match']
  if (match !== undefined && match !== '*' && unquote(match) !== unquote(etag)) throw s3Error('PreconditionFailed', { details: { Condition: 'If-Match' } })
  const noneMatch = headers['if-none-match']
  return noneMatch !== undefined && unquote(noneMatch) === unquote(etag)
}

function parseRange(header: string | undefined, size: number): { start: number, end: number } | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '')
  const [, first = '', last = ''] = match ?? []
  if (match === null || (first === '' && last === '')) return undefined
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first)
  const end = first === '' || last === '' ? size : Math.min(size, Number(last) + 1)
  if (start >= size || (first === '' && Number(last) === 0)) {
    throw s3Error('InvalidRange', { details: { RangeRequested: header ?? '', ActualObjectSize: String(size) }, headers: { 'content-range': `bytes */${size}` } })
  }
  return start < end ? { start, end } : undefined
}

/** The header that names a version, in a bucket that has them. */
export function versionHeader({ versioned }: S3Bucket, { id }: Version): Record<string, string> {
  return versioned ? { 'x-amz-version-id': id } : {}
}

/** The checksum of a whole object. */
export function fullChecksum(algorithm: Checksum['algorithm'], { chunks }: Bytes): Checksum {
  return { algorithm, value: checksumOf(algorithm, chunks), type: 'FULL_OBJECT' }
}

function unquote(etag: string): string {
  return etag.replaceAll('"', '')
}
