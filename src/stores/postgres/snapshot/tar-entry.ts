/** Entries of a tar archive (ustar): regular files, nothing about them that differs from one run to the next. */
import { RestoreCorruptError } from '../../../errors/errors.ts'

export const TAR_BLOCK_BYTES = 512
/** What ends an archive. */
export const TAR_END: Buffer = Buffer.alloc(2 * TAR_BLOCK_BYTES)

/** name 100 | mode 8 | uid 8 | gid 8 | size 12 | mtime 12 | checksum 8 | type 1 | link name 100 | magic and version 8 | ... */
const SIZE_OFFSET = 124
const CHECKSUM_OFFSET = 148
const MAX_NAME_BYTES = 100
const MODE_UID_GID = '0000644\0'.concat('0000000\0', '0000000\0')
const MTIME = '00000000000\0'
/** What the checksum counts in its own place. */
const NO_CHECKSUM = ' '.repeat(8)
const REGULAR_FILE = '0'
const NO_LINK = '\0'.repeat(100)
const USTAR = 'ustar\x0000'

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
  const header = [name.padEnd(MAX_NAME_BYTES, '\0'), MODE_UID_GID, `${octal(contentBytes, 11)}\0`, MTIME, NO_CHECKSUM, REGULAR_FILE, NO_LINK, USTAR].join('')
  const bytes = target.write(header, 0, 'latin1')
  const checksum = target.subarray(0, bytes).reduce((sum, byte) => sum + byte, 0)
  target.write(`${octal(checksum, 6)}\0 `, CHECKSUM_OFFSET, 'latin1')
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
  if (bytes.subarray(contentEnd).some((byte) => byte !== 0)) {
    throw new RestoreCorruptError(`Cannot read the entry "${name}" of the archive: what follows its content is not zeros`)
  }
  return { name, content: bytes.subarray(TAR_BLOCK_BYTES, contentEnd) }
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0')
}
