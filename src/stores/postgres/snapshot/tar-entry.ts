/** Entries of a tar archive (ustar): regular files, nothing about them that differs from one run to the next. */
import { RestoreCorruptError } from '../../../errors/errors.ts'

export const TAR_BLOCK_BYTES = 512
/** What ends an archive. */
export const TAR_END: Buffer = Buffer.alloc(2 * TAR_BLOCK_BYTES)

/** name 100 | mode 8 | uid 8 | gid 8 | size 12 | mtime 12 | checksum 8 | type 1 | link name 100 | magic and version 8 | ... */
const MODE_OFFSET = 100
const UID_OFFSET = 108
const GID_OFFSET = 116
const SIZE_OFFSET = 124
const MTIME_OFFSET = 136
const CHECKSUM_OFFSET = 148
const TYPE_OFFSET = 156
const MAGIC_OFFSET = 257
const MAX_NAME_BYTES = 100
const MODE = 0o644
const REGULAR_FILE = 0x30
const USTAR = Buffer.from('ustar\x0000', 'latin1')

export interface TarEntry {
  readonly name: string
  /** A view of what it was read from. */
  readonly content: Buffer
}

/** Bytes that an entry takes, header and padding included. */
export function tarEntryBytes(contentBytes: number): number {
  return TAR_BLOCK_BYTES + Math.ceil(contentBytes / TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES
}

/** Writes the header of an entry to the beginning of `target`, whose first block is all zeros. */
export function encodeTarHeader(target: Buffer, { name, contentBytes }: { readonly name: string; readonly contentBytes: number }): void {
  if (Buffer.byteLength(name, 'latin1') > MAX_NAME_BYTES) throw new RangeError(`A tar entry's name has at most ${MAX_NAME_BYTES} bytes: "${name}"`)
  target.write(name, 0, 'latin1')
  target.write(octal(MODE, 7), MODE_OFFSET, 'latin1')
  target.write(octal(0, 7), UID_OFFSET, 'latin1')
  target.write(octal(0, 7), GID_OFFSET, 'latin1')
  target.write(octal(contentBytes, 11), SIZE_OFFSET, 'latin1')
  target.write(octal(0, 11), MTIME_OFFSET, 'latin1')
  target[TYPE_OFFSET] = REGULAR_FILE
  USTAR.copy(target, MAGIC_OFFSET)
  target.write(`${octal(checksumOf(target), 6)}\0 `, CHECKSUM_OFFSET, 'latin1')
}

/** Reads the one entry that a frame holds, and nothing after it but `tail`. Throws `restore_corrupt` for anything else. */
export function decodeTarEntry(bytes: Buffer, { tailBytes = 0 }: { readonly tailBytes?: number } = {}): TarEntry {
  if (bytes.byteLength < TAR_BLOCK_BYTES) throw new RestoreCorruptError('Cannot read an entry of the archive: it is shorter than a tar header')
  const name = bytes.toString('latin1', 0, MAX_NAME_BYTES).replace(/\0.*$/s, '')
  const contentBytes = Number.parseInt(bytes.toString('latin1', SIZE_OFFSET, SIZE_OFFSET + 11), 8)
  const expected = Buffer.alloc(TAR_BLOCK_BYTES)
  encodeTarHeader(expected, { name, contentBytes })
  if (!expected.equals(bytes.subarray(0, TAR_BLOCK_BYTES))) {
    throw new RestoreCorruptError(`Cannot read an entry of the archive: its tar header is not that of a plain file (${JSON.stringify(name)})`)
  }
  if (tarEntryBytes(contentBytes) + tailBytes !== bytes.byteLength) {
    throw new RestoreCorruptError(`Cannot read the entry "${name}" of the archive: its size does not fit its frame`)
  }
  const contentEnd = TAR_BLOCK_BYTES + contentBytes
  if (bytes.subarray(contentEnd).some((byte) => byte !== 0)) throw new RestoreCorruptError(`Cannot read the entry "${name}" of the archive: what follows its content is not zeros`)
  return { name, content: bytes.subarray(TAR_BLOCK_BYTES, contentEnd) }
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0')
}

/** The sum of the header's bytes, those of the checksum itself counted as spaces. */
function checksumOf(header: Buffer): number {
  let sum = 8 * 0x20
  for (let index = 0; index < TAR_BLOCK_BYTES; index++) {
    if (index < CHECKSUM_OFFSET || index >= CHECKSUM_OFFSET + 8) sum += header[index] ?? 0
  }
  return sum
}
