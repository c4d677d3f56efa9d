/** Multipart uploads. */
import { createHash, randomBytes } from 'node:crypto'
import { checksumHeaders } from './server-body.ts'
import { type Checksum, checksumAlgorithm, compositeChecksum, givenChecksum } from './server-checksums.ts'
import { bucketOf, type Call, type Reply } from './server-call.ts'
import { errorBody, s3Error } from './server-errors.ts'
import { lockOf } from './server-locks.ts'
import { addVersion, checkConditions, fullChecksum, keptHeaders, versionHeader } from './server-objects.ts'
import { Bytes, type Part, type S3Bucket, type Upload } from './server-state.ts'
import { document, element, parseXml, XML_DECLARATION, type XmlElement } from './server-xml.ts'

const MIN_PART_BYTES = 5 * 1024 ** 2
const MAX_PARTS = 10_000

export function createMultipartUpload(call: Call): Reply {
  const bucket = bucketOf(call)
  call.demand('s3:PutObject')
  const { headers, behaviour } = call
  const given = behaviour.knowsNoChecksum === true ? undefined : headers['x-amz-checksum-algorithm']
  const algorithm = given === undefined ? undefined : checksumAlgorithm(given)
  const upload: Upload = {
    id: randomBytes(24).toString('base64url'),
    key: call.key,
    initiated: call.now,
    headers: keptHeaders(call),
    algorithm,
    checksumType: algorithm === undefined ? undefined : checksumTypeOf(algorithm, headers['x-amz-checksum-type']),
    parts: new Map(),
    ...lockOf(call, bucket, { needsChecksum: false }),
  }
  bucket.uploads.set(upload.id, upload)
  const body = document('InitiateMultipartUploadResult', [element('Bucket', bucket.name), element('Key', call.key), element('UploadId', upload.id)])
  return { body, headers: algorithm === undefined ? {} : { 'x-amz-checksum-algorithm': algorithm, 'x-amz-checksum-type': upload.checksumType ?? '' } }
}

export function uploadPart(call: Call): Reply {
  bucketOf(call)
  call.demand('s3:PutObject')
  const { upload } = uploadOf(call)
  const number = Number(call.query['partNumber'])
  if (!Number.isInteger(number) || number < 1 || number > MAX_PARTS) {
    throw s3Error('InvalidArgument', { message: `Part number must be an integer between 1 and ${MAX_PARTS}, inclusive`, details: { ArgumentName: 'partNumber' } })
  }
  const { data, md5, checksum } = call.body
  if (upload.algorithm !== undefined && checksum !== undefined && checksum.algorithm !== upload.algorithm) {
    const message = `Checksum Type mismatch occurred, expected checksum Type: ${upload.algorithm.toLowerCase()}, actual checksum Type: ${checksum.algorithm.toLowerCase()}`
    throw s3Error('InvalidRequest', { message })
  }
  const kept = checksum ?? (upload.algorithm === undefined ? undefined : fullChecksum(upload.algorithm, data))
  upload.parts.set(number, { number, data, etag: `"${md5}"`, lastModified: call.now, checksum: kept })
  return { headers: { etag: `"${md5}"`, ...withoutType(checksumHeaders(kept)) } }
}

export async function completeMultipartUpload(call: Call): Promise<Reply> {
  const bucket = bucketOf(call)
  call.demand('s3:PutObject')
  const { behaviour } = call
  const repeated = bucket.completed.get(call.query['uploadId'] ?? '')
  if (behaviour.completeIsIdempotent === true && repeated !== undefined) return { body: repeated }
  const { upload } = uploadOf(call)
  const chosen = chosenParts(call, upload)
  const parts = behaviour.mixesParts === true ? chosen.toReversed() : chosen
  await checkConditions(call, bucket)
  const failing = behaviour.completeErrors !== undefined && behaviour.completeErrors.times > 0 ? behaviour.completeErrors : undefined
  if (failing !== undefined) failing.times--
  if (failing?.committed === false) return internalError(call)
  // A second completion may have come in while the first waited.
  uploadOf(call)
  if (behaviour.completeLate !== undefined) {
    bucket.uploads.delete(upload.id)
    void behaviour.completeLate.then(() => complete(call, bucket, { upload, parts }))
    return { isCut: true }
  }
  const { body, headers } = complete(call, bucket, { upload, parts })
  if (failing !== undefined) return internalError(call)
  return { body, headers, delayMs: behaviour.completeDelayMs }
}

function complete(call: Call, bucket: S3Bucket, { upload, parts }: { readonly upload: Upload, readonly parts: readonly Part[] }): { body: string, headers: Record<string, string> } {
  const data = new Bytes(parts.flatMap((part) => part.data.chunks))
  const digest = createHash('md5')
  for (const { etag } of parts) digest.update(Buffer.from(etag.slice(1, -1), 'hex'))
  const checksum = wholeChecksum(call, { upload, parts, data })
  const { headers, retention, legalHold, initiated: lastModified } = upload
  const version = addVersion(call, bucket, { data, etag: `"${digest.digest('hex')}-${parts.length}"`, headers, checksum, lastModified, retention, legalHold })
  bucket.uploads.delete(upload.id)
  const body = document('CompleteMultipartUploadResult', [
    element('Location', `http://${call.headers['host']}/${bucket.name}/${call.key}`),
    element('Bucket', bucket.name),
    element('Key', call.key),
    element('ETag', version.etag),
    ...(checksum === undefined ? [] : [element(`Checksum${checksum.algorithm}`, checksum.value), element('ChecksumType', checksum.type)]),
  ])
  bucket.completed.set(upload.id, body)
  return { body, headers: versionHeader(bucket, version) }
}

export function abortMultipartUpload(call: Call): Reply {
  call.demand('s3:AbortMultipartUpload')
  const { bucket, upload } = uploadOf(call)
  bucket.uploads.delete(upload.id)
  return { status: 204 }
}

/** The upload that a request names. */
export function uploadOf(call: Call): { bucket: S3Bucket, upload: Upload } {
  const bucket = bucketOf(call)
  const id = call.query['uploadId'] ?? ''
  const upload = bucket.uploads.get(id)
  if (upload === undefined || upload.key !== call.key) throw s3Error('NoSuchUpload', { details: { UploadId: id } })
  return { bucket, upload }
}

/** The parts that a completion lists, each of which must be there and be what it says. */
function chosenParts(call: Call, upload: Upload): readonly Part[] {
  const root = parseXml(call.body.data.toString())
  const listed = root?.all('Part') ?? []
  if (root?.name !== 'CompleteMultipartUpload' || listed.length === 0) throw s3Error('MalformedXML')
  const numbers = listed.map((part) => Number(part.get('PartNumber')))
  if (numbers.some((number, index) => index > 0 && number <= (numbers[index - 1] ?? 0))) throw s3Error('InvalidPartOrder')
  const parts = listed.map((element, index) => chosenPart(upload, numbers[index] ?? 0, element))
  const small = parts.slice(0, -1).find(({ data }) => data.size < MIN_PART_BYTES)
  if (small !== undefined) {
    const details = { ProposedSize: String(small.data.size), MinSizeAllowed: String(MIN_PART_BYTES), PartNumber: String(small.number), ETag: small.etag.slice(1, -1) }
    throw s3Error('EntityTooSmall', { details })
  }
  if (call.behaviour.wantsEqualParts === true && parts.slice(0, -1).some(({ data }) => data.size !== parts[0]?.data.size)) {
    throw s3Error('InvalidPart', { message: 'All non-trailing parts must have the same length.' })
  }
  const size = call.headers['x-amz-mp-object-size']
  if (size !== undefined && Number(size) !== parts.reduce((sum, { data }) => sum + data.size, 0)) {
    throw s3Error('InvalidRequest', { message: 'The provided \'x-amz-mp-object-size\' header does not match what was computed.' })
  }
  return parts
}

function chosenPart({ parts, id, algorithm, checksumType }: Upload, number: number, listed: XmlElement): Part {
  const part = parts.get(number)
  const checksum = part?.checksum
  const given = checksum === undefined ? undefined : listed.get(`Checksum${checksum.algorithm}`)
  // An upload that was begun without an algorithm has no checksums to compare with.
  const expected = algorithm === undefined ? undefined : checksum?.value
  if (part === undefined || part.etag.slice(1, -1) !== listed.get('ETag')?.replaceAll('"', '') || (given !== undefined && given !== expected)) {
    throw s3Error('InvalidPart', { details: { UploadId: id, PartNumber: String(number), ETag: listed.get('ETag') ?? '' } })
  }
  if (algorithm !== undefined && checksumType === 'COMPOSITE' && given === undefined) {
    const name = algorithm.toLowerCase()
    const message = `The upload was created using a ${name} checksum. The complete request must include the checksum for each part. It was missing for part ${number} in the request.`
    throw s3Error('InvalidRequest', { message })
  }
  return part
}

function wholeChecksum(
  { headers, behaviour }: Call,
  { upload, parts, data }: { readonly upload: Upload, readonly parts: readonly Part[], readonly data: Bytes },
): Checksum | undefined {
  const { algorithm, checksumType } = upload
  if (algorithm === undefined) return undefined
  const values = parts.map(({ checksum }) => checksum?.value ?? '')
  const checksum = checksumType === 'COMPOSITE' ? compositeChecksum(algorithm, values) : fullChecksum(algorithm, data)
  const given = givenWhole(headers, algorithm)
  if (given !== undefined && behaviour.verifiesNoChecksum !== true && given !== checksum.value && given !== checksum.value.split('-')[0]) {
    throw s3Error('BadDigest', { message: `The ${algorithm.toLowerCase()} you specified did not match what we received.` })
  }
  return checksum
}

function givenWhole(headers: Call['headers'], algorithm: Checksum['algorithm']): string | undefined {
  const given = headers[`x-amz-checksum-${algorithm.toLowerCase()}`]
  return given?.includes('-') === true ? given : givenChecksum(headers)?.value
}

function checksumTypeOf(algorithm: Checksum['algorithm'], given: string | undefined): Checksum['type'] {
  const type = given ?? (algorithm === 'CRC64NVME' ? 'FULL_OBJECT' : 'COMPOSITE')
  const isSha = algorithm.startsWith('SHA')
  if ((type !== 'FULL_OBJECT' && type !== 'COMPOSITE') || (isSha && type === 'FULL_OBJECT') || (algorithm === 'CRC64NVME' && type === 'COMPOSITE')) {
    throw s3Error('InvalidRequest', { message: `The ${type} checksum type cannot be used with the ${algorithm.toLowerCase()} checksum algorithm.` })
  }
  return type
}

/** An error with the status of a success: the headers were sent before it was known how it ends. */
function internalError({ request, behaviour }: Call): Reply {
  return { body: `${XML_DECLARATION}${errorBody(s3Error('InternalError'), `/${request.bucket}/${request.key}`, String(request.number))}`, delayMs: behaviour.completeDelayMs }
}

function withoutType({ 'x-amz-checksum-type': _, ...headers }: Record<string, string>): Record<string, string> {
  return headers
}
