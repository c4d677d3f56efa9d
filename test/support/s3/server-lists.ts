/** Operations that list, page by page. */
import { bucketOf, type Call, encoderOf, limitOf, type Reply } from './server-call.ts'
import { refusal, s3Error } from './server-errors.ts'
import { isBefore, type Upload, type Version } from './server-state.ts'
import { uploadOf } from './server-uploads.ts'
import { document, element, optional } from './server-xml.ts'

/** Objects, or what they have in common up to the delimiter. */
type Entry = { readonly version: Version } | { readonly prefix: string }

export function listObjects(call: Call): Reply {
  const bucket = bucketOf(call)
  const { query, behaviour } = call
  const { prefix = '', delimiter = '', 'start-after': startAfter = '', 'continuation-token': token } = query
  call.demand('s3:ListBucket', { key: undefined, prefix })
  const encode = encoderOf(call)
  const limit = limitOf(call, 'max-keys')
  const after = token === undefined ? startAfter : decodeToken(token)
  const versions = bucket.list(behaviour.listLagMs).filter(({ key }) => key.startsWith(prefix))
  const { entries, isTruncated } = limit === 0 ? { entries: [], isTruncated: false } : pageOf(versions, { prefix, delimiter, after, limit })
  const last = entries.at(-1)
  const next = !isTruncated || last === undefined || behaviour.losesTokens === true ? undefined : encodeToken('prefix' in last ? last.prefix : last.version.key)
  const content = [
    element('Name', bucket.name),
    element('Prefix', encode(prefix)),
    optional('Delimiter', delimiter === '' ? undefined : encode(delimiter)),
    element('MaxKeys', query['max-keys'] ?? limit),
    optional('EncodingType', query['encoding-type'] === '' || behaviour.keyEncoding === 'unsaid' ? undefined : query['encoding-type']),
    element('KeyCount', entries.length),
    optional('StartAfter', query['start-after'] === undefined ? undefined : encode(startAfter)),
    optional('ContinuationToken', token),
    element('IsTruncated', isTruncated),
    optional('NextContinuationToken', next),
    ...(behaviour.listsAnyhow === true ? [...entries, ...entries].toReversed() : entries).map((entry) => ('prefix' in entry ? element('CommonPrefixes', [element('Prefix', encode(entry.prefix))]) : contents(entry.version, encode))),
  ]
  return { body: document('ListBucketResult', content) }
}

function contents({ key, lastModified, etag, data, checksum }: Version, encode: (text: string) => string): string {
  return element('Contents', [
    element('Key', encode(key)),
    element('LastModified', lastModified),
    element('ETag', etag),
    optional('ChecksumAlgorithm', checksum?.algorithm),
    optional('ChecksumType', checksum?.type),
    element('Size', data.size),
    element('StorageClass', 'STANDARD'),
  ])
}

/** A page of what comes after `after`, which may be a key or a prefix in common that was given already. */
function pageOf(
  versions: readonly Version[],
  { prefix, delimiter, after, limit }: { readonly prefix: string, readonly delimiter: string, readonly after: string, readonly limit: number },
): { entries: readonly Entry[], isTruncated: boolean } {
  const entries: Entry[] = []
  let common: string | undefined = delimiter !== '' && after.endsWith(delimiter) ? after : undefined
  for (const version of versions) {
    const { key } = version
    if ((common !== undefined && key.startsWith(common)) || (after !== '' && !isBefore(after, key))) continue
    if (entries.length === limit) return { entries, isTruncated: true }
    const end = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length)
    common = end === -1 ? undefined : key.slice(0, end + delimiter.length)
    entries.push(common === undefined ? { version } : { prefix: common })
  }
  return { entries, isTruncated: false }
}

export function listObjectVersions(call: Call): Reply {
  const bucket = bucketOf(call)
  const { prefix = '', 'key-marker': keyMarker = '', 'version-id-marker': idMarker } = call.query
  call.demand('s3:ListBucketVersions', { key: undefined, prefix })
  if ((call.query['delimiter'] ?? '') !== '') throw s3Error('NotImplemented')
  const limit = limitOf(call, 'max-keys')
  const all = bucket.versions().filter(({ key }) => key.startsWith(prefix))
  const marker = all.findIndex(({ key, id }) => key === keyMarker && id === idMarker)
  const left = marker === -1 ? all.filter(({ key }) => keyMarker === '' || isBefore(keyMarker, key)) : all.slice(marker + 1)
  const page = left.slice(0, limit)
  const newest = new Set(all.filter(({ key }, index) => all[index - 1]?.key !== key))
  const isTruncated = left.length > limit
  const entries = page.map((version) =>
    element(version.isDeleteMarker ? 'DeleteMarker' : 'Version', [
      element('Key', version.key),
      element('VersionId', version.id),
      element('IsLatest', newest.has(version)),
      element('LastModified', version.lastModified),
      ...(version.isDeleteMarker ? [] : [element('ETag', version.etag), element('Size', version.data.size), element('StorageClass', 'STANDARD')]),
    ]),
  )
  return {
    body: document('ListVersionsResult', [
      element('Name', bucket.name),
      element('Prefix', prefix),
      element('KeyMarker', keyMarker),
      element('MaxKeys', limit),
      element('IsTruncated', isTruncated),
      optional('NextKeyMarker', isTruncated ? page.at(-1)?.key : undefined),
      optional('NextVersionIdMarker', isTruncated ? page.at(-1)?.id : undefined),
      ...entries,
    ]),
  }
}

export function listMultipartUploads(call: Call): Reply {
  const bucket = bucketOf(call)
  const { prefix = '', 'key-marker': keyMarker = '', 'upload-id-marker': idMarker = '' } = call.query
  call.demand('s3:ListBucketMultipartUploads', { key: undefined, prefix })
  const { listsNoUploads } = call.behaviour
  if (typeof listsNoUploads === 'number') throw refusal(listsNoUploads)
  if ((call.query['delimiter'] ?? '') !== '') throw s3Error('NotImplemented')
  const encode = encoderOf(call)
  const limit = limitOf(call, 'max-uploads')
  const isAfterMarker = ({ key, id }: Upload): boolean => keyMarker === '' || isBefore(keyMarker, key) || (key === keyMarker && idMarker !== '' && id > idMarker)
  const left = [...bucket.uploads.values()]
    .filter((upload) => (listsNoUploads === 'by key' ? upload.key === prefix : upload.key.startsWith(prefix)) && isAfterMarker(upload))
    .sort((a, b) => (isBefore(a.key, b.key) || (a.key === b.key && a.id < b.id) ? -1 : 1))
  const page = left.slice(0, limit)
  const isTruncated = left.length > limit
  const last = page.at(-1)
  const owner = [element('ID', 'holdfast'), element('DisplayName', 'holdfast')]
  return {
    body: document('ListMultipartUploadsResult', [
      element('Bucket', bucket.name),
      element('KeyMarker', encode(keyMarker)),
      element('UploadIdMarker', idMarker),
      optional('NextKeyMarker', isTruncated && last !== undefined ? encode(last.key) : undefined),
      optional('NextUploadIdMarker', isTruncated ? last?.id : undefined),
      element('Prefix', encode(prefix)),
      optional('EncodingType', call.query['encoding-type']),
      element('MaxUploads', limit),
      element('IsTruncated', isTruncated),
      ...page.map(({ key, id, initiated }) =>
        element('Upload', [element('Key', encode(key)), element('UploadId', id), element('Initiator', owner), element('Owner', owner), element('StorageClass', 'STANDARD'), element('Initiated', initiated)]),
      ),
    ]),
  }
}

export function listParts(call: Call): Reply {
  call.demand('s3:ListMultipartUploadParts')
  const { bucket, upload } = uploadOf(call)
  const limit = limitOf(call, 'max-parts')
  const after = Number(call.query['part-number-marker'] ?? 0)
  const left = [...upload.parts.values()].filter(({ number }) => number > after).sort((a, b) => a.number - b.number)
  const page = left.slice(0, limit)
  return {
    body: document('ListPartsResult', [
      element('Bucket', bucket.name),
      element('Key', upload.key),
      element('UploadId', upload.id),
      element('PartNumberMarker', after),
      optional('NextPartNumberMarker', page.at(-1)?.number),
      element('MaxParts', limit),
      element('IsTruncated', left.length > limit),
      optional('ChecksumAlgorithm', upload.algorithm),
      optional('ChecksumType', upload.checksumType),
      ...page.map(({ number, lastModified, etag, data, checksum }) =>
        element('Part', [
          element('PartNumber', number),
          element('LastModified', lastModified),
          element('ETag', etag),
          element('Size', data.size),
          ...(checksum === undefined ? [] : [element(`Checksum${checksum.algorithm}`, checksum.value)]),
        ]),
      ),
    ]),
  }
}

function encodeToken(last: string): string {
  return Buffer.from(`1${last}`).toString('base64')
}

function decodeToken(token: string): string {
  const text = Buffer.from(token, 'base64').toString()
  if (!text.startsWith('1')) throw s3Error('InvalidArgument', { message: 'The continuation token provided is incorrect' })
  return text.slice(1)
}
