/** Bodies of requests: their framing taken off, their signatures and checksums checked. */
import { createHash } from 'node:crypto'
import { s3Error } from './server-errors.ts'
import { type Checksum, checksumAlgorithm, checksumHeader, checksumOf, givenChecksum } from './server-checksums.ts'
import type { S3Behaviour } from './server-behaviour.ts'
import { chunkSignature, type Signature, trailerSignature } from './server-signature.ts'
import { Bytes } from './server-state.ts'

export interface Body {
  readonly data: Bytes
  /** MD5 in hex: the ETag. */
  readonly md5: string
  /** The checksum that came with it, as header or trailer. */
  readonly checksum?: Checksum | undefined
}

/** All chunks but the last must be so long. */
const MIN_CHUNK_BYTES = 8192

type Headers = Readonly<Record<string, string | undefined>>

/** What was sent, framing and all, is a body: its hash, framing, signatures and checksums are as the headers say. Throws what S3 answers otherwise. */
export function readBody(sent: readonly Buffer[], headers: Headers, { signature, behaviour }: { readonly signature: Signature, readonly behaviour: S3Behaviour }): Body {
  const content = headers['x-amz-content-sha256'] ?? ''
  if (content.endsWith('-TRAILER') && behaviour.refusesTrailers === true) throw s3Error('NotImplemented')
  const { data, trailers } = content.startsWith('STREAMING-') ? decodeChunks(Buffer.concat(sent), headers, signature) : { data: new Bytes(sent), trailers: {} }
  if (/^[0-9a-f]{64}$/.test(content)) checkContent(data, content)
  else if (!content.startsWith('STREAMING-') && content !== 'UNSIGNED-PAYLOAD') {
    throw s3Error('InvalidRequest', { message: 'Missing required header for this request: x-amz-content-sha256' })
  }
  const md5 = hash('md5', data).digest()
  const verifies = behaviour.verifiesNoChecksum !== true
  checkMd5(headers['content-md5'], md5, verifies)
  const checksum = behaviour.knowsNoChecksum === true ? undefined : checkChecksum(data, headers, { trailers, verifies })
  return { data, md5: md5.toString('hex'), checksum }
}

function checkContent(data: Bytes, expected: string): void {
  const actual = hash('sha256', data).digest('hex')
  if (actual !== expected) {
    throw s3Error('XAmzContentSHA256Mismatch', { details: { ClientComputedContentSHA256: expected, S3ComputedContentSHA256: actual } })
  }
}

function checkMd5(given: string | undefined, md5: Buffer, verifies: boolean): void {
  if (given === undefined) return
  if (Buffer.from(given, 'base64').byteLength !== 16) throw s3Error('InvalidDigest')
  if (verifies && given !== md5.toString('base64')) throw s3Error('BadDigest', { message: 'The Content-MD5 you specified did not match what we received.' })
}

function checkChecksum(
  data: Bytes,
  headers: Headers,
  { trailers, verifies }: { readonly trailers: Headers, readonly verifies: boolean },
): Checksum | undefined {
  const given = givenChecksum(headers) ?? givenChecksum(trailers)
  const announced = headers['x-amz-sdk-checksum-algorithm']
  if (given === undefined && announced !== undefined) {
    const message = 'x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.'
    throw s3Error('InvalidRequest', { message })
  }
  if (given === undefined) return undefined
  if (announced !== undefined && checksumAlgorithm(announced) !== given.algorithm) {
    throw s3Error('InvalidRequest', { message: 'Value for x-amz-sdk-checksum-algorithm header is invalid.' })
  }
  if (verifies && checksumOf(given.algorithm, data.chunks) !== given.value) {
    throw s3Error('BadDigest', { message: `The ${given.algorithm} you specified did not match the calculated checksum.` })
  }
  return given
}

/** Takes off the framing `aws-chunked`: `size[;chunk-signature=…]\r\n bytes \r\n … 0 \r\n [trailers] \r\n`. */
function decodeChunks(sent: Buffer, headers: Headers, signature: Signature): { data: Bytes, trailers: Headers } {
  const signed = headers['x-amz-content-sha256']?.startsWith('STREAMING-AWS4-HMAC-SHA256-PAYLOAD') === true
  const chunks: Buffer[] = []
  let previous = signature.signature
  let offset = 0
  for (;;) {
    const end = sent.indexOf('\r\n', offset)
    const head = /^([0-9a-fA-F]+)(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(sent.toString('latin1', offset, Math.max(end, offset)))
    if (head === null) throw s3Error('IncompleteBody')
    const size = Number.parseInt(head[1] ?? '', 16)
    const chunk = sent.subarray(end + 2, end + 2 + size)
    if (chunk.byteLength < size) throw s3Error('IncompleteBody')
    if (signed) {
      previous = chunkSignature(signature, previous, chunk)
      if (head[2] !== previous) throw s3Error('SignatureDoesNotMatch')
    }
    offset = end + 2 + size
    if (size === 0) break
    if ((chunks.at(-1)?.byteLength ?? MIN_CHUNK_BYTES) < MIN_CHUNK_BYTES) throw s3Error('InvalidChunkSizeError')
    chunks.push(chunk)
    if (sent.toString('latin1', offset, offset + 2) !== '\r\n') throw s3Error('IncompleteBody')
    offset += 2
  }
  const data = new Bytes(chunks)
  if (data.size !== Number(headers['x-amz-decoded-content-length'])) throw s3Error('IncompleteBody')
  return { data, trailers: readTrailers(sent.toString('latin1', offset), headers, { signature, previous, signed }) }
}

function readTrailers(
  text: string,
  headers: Headers,
  { signature, previous, signed }: { readonly signature: Signature, readonly previous: string, readonly signed: boolean },
): Headers {
  const lines = text.split(/\r?\n/).filter((line) => line !== '')
  const trailers = Object.fromEntries(lines.map((line) => [line.split(':')[0]?.trim().toLowerCase() ?? '', line.slice(line.indexOf(':') + 1).trim()]))
  const announced = (headers['x-amz-trailer'] ?? '').split(',').map((name) => name.trim().toLowerCase()).filter((name) => name !== '')
  if (announced.some((name) => trailers[name] === undefined)) throw s3Error('MalformedTrailerError')
  if (signed && announced.length > 0) {
    const signedLines = announced.map((name) => `${name}:${trailers[name]}\n`).join('')
    if (trailers['x-amz-trailer-signature'] !== trailerSignature(signature, previous, signedLines)) throw s3Error('SignatureDoesNotMatch')
  }
  return trailers
}

function hash(algorithm: 'md5' | 'sha256', { chunks }: Bytes): ReturnType<typeof createHash> {
  const hash = createHash(algorithm)
  for (const chunk of chunks) hash.update(chunk)
  return hash
}

/** The headers that give a checksum back. */
export function checksumHeaders(checksum: Checksum | undefined): Record<string, string> {
  return checksum === undefined ? {} : { [checksumHeader(checksum.algorithm)]: checksum.value, 'x-amz-checksum-type': checksum.type }
}
