/** The checksums of S3, each in base64 as its header has it. */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { s3Error } from './server-errors.ts'

export const CHECKSUM_ALGORITHMS = ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const
export type ChecksumAlgorithm = (typeof CHECKSUM_ALGORITHMS)[number]

export interface Checksum {
  readonly algorithm: ChecksumAlgorithm
  /** Base64; that of a composite ends with `-` and the number of parts. */
  readonly value: string
  readonly type: 'FULL_OBJECT' | 'COMPOSITE'
}

const LENGTHS: Readonly<Record<ChecksumAlgorithm, number>> = { CRC32: 4, CRC32C: 4, CRC64NVME: 8, SHA1: 20, SHA256: 32 }

/** The header that carries a checksum. */
export function checksumHeader(algorithm: ChecksumAlgorithm): string {
  return `x-amz-checksum-${algorithm.toLowerCase()}`
}

/** The algorithm of that name, in whatever case. */
export function checksumAlgorithm(name: string): ChecksumAlgorithm {
  const found = CHECKSUM_ALGORITHMS.find((algorithm) => algorithm === name.toUpperCase())
  if (found === undefined) throw s3Error('InvalidRequest', { message: 'Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]' })
  return found
}

/** The checksum that headers or trailers carry. */
export function givenChecksum(headers: Readonly<Record<string, string | undefined>>): Checksum | undefined {
  const given = CHECKSUM_ALGORITHMS.filter((algorithm) => headers[checksumHeader(algorithm)] !== undefined)
  if (given.length > 1) throw s3Error('InvalidRequest', { message: 'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.' })
  const [algorithm] = given
  if (algorithm === undefined) return undefined
  const value = headers[checksumHeader(algorithm)] ?? ''
  if (Buffer.from(value, 'base64').byteLength !== LENGTHS[algorithm]) {
    throw s3Error('InvalidRequest', { message: `Value for ${checksumHeader(algorithm)} header is invalid.` })
  }
  return { algorithm, value, type: 'FULL_OBJECT' }
}

/** The checksum of bytes. */
export function checksumOf(algorithm: ChecksumAlgorithm, chunks: Iterable<Uint8Array>): string {
  if (algorithm === 'SHA1' || algorithm === 'SHA256') {
    const hash = createHash(algorithm.toLowerCase())
    for (const chunk of chunks) hash.update(chunk)
    return hash.digest('base64')
  }
  if (algorithm === 'CRC64NVME') return crc64nvme(chunks)
  let crc = 0
  for (const chunk of chunks) crc = algorithm === 'CRC32' ? crc32(chunk, crc) : crc32c(chunk, crc)
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(crc >>> 0)
  return bytes.toString('base64')
}

/** The composite of the checksums of parts: the checksum of them all, and how many they are. */
export function compositeChecksum(algorithm: ChecksumAlgorithm, parts: readonly string[]): Checksum {
  const value = checksumOf(algorithm, parts.map((part) => Buffer.from(part, 'base64')))
  return { algorithm, value: `${value}-${parts.length}`, type: 'COMPOSITE' }
}

const CRC32C_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let crc = index
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0)
  return crc
})

function crc32c(chunk: Uint8Array, start: number): number {
  let crc = ~start
  for (const byte of chunk) crc = (crc >>> 8) ^ (CRC32C_TABLE[(crc ^ byte) & 0xff] ?? 0)
  return ~crc
}

const CRC64NVME_TABLE = BigUint64Array.from({ length: 256 }, (_, index) => {
  let crc = BigInt(index)
  for (let bit = 0; bit < 8; bit++) crc = (crc >> 1n) ^ (crc & 1n ? 0x9a6c9329ac4bc9b5n : 0n)
  return crc
})
const CRC64NVME_HIGH = Uint32Array.from(CRC64NVME_TABLE, (crc) => Number(crc >> 32n))
const CRC64NVME_LOW = Uint32Array.from(CRC64NVME_TABLE, (crc) => Number(crc & 0xffffffffn))

/** In two halves: big integers would take a minute for 1 GiB. */
function crc64nvme(chunks: Iterable<Uint8Array>): string {
  let high = ~0
  let low = ~0
  for (const chunk of chunks) {
    for (const byte of chunk) {
      const index = (low ^ byte) & 0xff
      low = ((low >>> 8) | (high << 24)) ^ (CRC64NVME_LOW[index] ?? 0)
      high = (high >>> 8) ^ (CRC64NVME_HIGH[index] ?? 0)
    }
  }
  const bytes = Buffer.alloc(8)
  bytes.writeInt32BE(~high, 0)
  bytes.writeInt32BE(~low, 4)
  return bytes.toString('base64')
}
