/**
 * The keys of a metadata store's records: the name of the section, a slash, and the fields that identify the record.
 *
 * Keys are ASCII, so that they sort the same by bytes and by UTF-16, and a damaged byte shows. Numbers have a fixed width for sorting.
 *
 *     blocks/<inode>/<chunk>             a stretch of a file's block list
 *     counters/<name>                    next-inode, used-bytes
 *     entries/<directory>/<name>         a directory entry
 *     inodes/<inode>
 *     locks/<inode>/<start>/<owner>
 *     references/<payload ID> <owner>    that an inode (i<inode>) or an upload (u<upload ID>) refers to a payload
 *     settings/<name>
 *     shares/<name>
 *     upload-blocks/<upload ID>/<chunk>
 *     uploads/<upload ID>
 *
 * Not part of a snapshot: store/id, store/schema-version, and store/import during an import.
 */
import type { InodeNumber, Place } from '../../../contracts/metadata-store.ts'
import type { TextRange } from '../engine/text-database.ts'

export const SECTION_NAMES = [
  'blocks',
  'counters',
  'entries',
  'inodes',
  'locks',
  'references',
  'settings',
  'shares',
  'upload-blocks',
  'uploads',
] as const
export type SectionName = (typeof SECTION_NAMES)[number]

/** The sections of a snapshot, in key order. */
export const SECTIONS: readonly (TextRange & { readonly name: SectionName })[] = SECTION_NAMES.map((name) => ({ name, ...under(name) }))

/** The store's own keys, which are not part of a snapshot. */
export const STORE_KEYS: TextRange = under('store')

export const STORE_ID_KEY = 'store/id'
export const SCHEMA_VERSION_KEY = 'store/schema-version'
/** Marks an import under way, so that the next start knows the leftovers of a killed one. */
export const IMPORT_KEY = 'store/import'
export const NEXT_INODE_KEY = 'counters/next-inode'
export const USED_BYTES_KEY = 'counters/used-bytes'

/** Digits of a number in a key: those of 2^53 - 1. */
const NUMBER_DIGITS = 16
const CHUNK_DIGITS = 8

export function inodeKey(inode: InodeNumber): string {
  return `inodes/${digits(inode)}`
}

export function entryKey({ parent, name }: Place): string {
  return `entries/${digits(parent)}/${escapeText(name)}`
}

/** The entries of a directory, or those with names greater than `after`. */
export function entriesOf(directory: InodeNumber, after?: string): TextRange {
  const range = under(`entries/${digits(directory)}`)
  // Names do not have NULs, so this key lies between the entry and its successor.
  return after === undefined ? range : { ...range, gte: `${entryKey({ parent: directory, name: after })}\0` }
}

/** The inode number in the key of an inode, a block list, a lock or (the directory's) an entry. */
export function inodeOfKey(key: string): InodeNumber {
  const at = key.indexOf('/') + 1
  return Number(key.slice(at, at + NUMBER_DIGITS))
}

/** The name in the key of an entry. */
export function nameOfEntry(key: string): string {
  return unescapeText(key.slice('entries/'.length + NUMBER_DIGITS + 1))
}

export function blocksKey(inode: InodeNumber, chunk: number): string {
  return `blocks/${digits(inode)}/${digits(chunk, CHUNK_DIGITS)}`
}

export function blocksOf(inode: InodeNumber): TextRange {
  return under(`blocks/${digits(inode)}`)
}

export function lockKey(inode: InodeNumber, start: number, owner: string): string {
  return `locks/${digits(inode)}/${digits(start)}/${escapeText(owner)}`
}

export function locksOf(inode: InodeNumber): TextRange {
  return under(`locks/${digits(inode)}`)
}

/** The first byte and the owner in the key of a lock. */
export function rangeOfLock(key: string): { readonly start: number; readonly owner: string } {
  const at = 'locks/'.length + NUMBER_DIGITS + 1
  return { start: Number(key.slice(at, at + NUMBER_DIGITS)), owner: unescapeText(key.slice(at + NUMBER_DIGITS + 1)) }
}

/** An inode or upload that refers to payloads, as the last field of a reference's key. */
export type ReferenceOwner = `i${string}` | `u${string}`

export function inodeOwner(inode: InodeNumber): ReferenceOwner {
  return `i${digits(inode)}`
}

export function uploadOwner(uploadId: string): ReferenceOwner {
  return `u${escapeText(uploadId)}`
}

/** The key of a reference. A space ends the payload ID: it is less than the characters of IDs, so that keys sort as IDs do. */
export function referenceKey(payloadId: string, owner: ReferenceOwner): string {
  return `references/${payloadId} ${owner}`
}

/** The payload ID in the key of a reference. */
export function payloadIdOfReference(key: string): string {
  return key.slice('references/'.length, key.indexOf(' '))
}

export function settingKey(name: string): string {
  return `settings/${escapeText(name)}`
}

export function shareKey(name: string): string {
  return `shares/${escapeText(name)}`
}

export function uploadKey(uploadId: string): string {
  return `uploads/${escapeText(uploadId)}`
}

export function uploadBlocksKey(uploadId: string, chunk: number): string {
  return `upload-blocks/${escapeText(uploadId)}/${digits(chunk, CHUNK_DIGITS)}`
}

export function uploadBlocksOf(uploadId: string): TextRange {
  return under(`upload-blocks/${escapeText(uploadId)}`)
}

export function sectionRange(name: SectionName): TextRange {
  return under(name)
}

/** The text after the section of a key, such as the name of a setting. */
export function textOfKey(key: string): string {
  return unescapeText(key.slice(key.indexOf('/') + 1))
}

/**
 * Text as a field of a key: a slash, "~", DEL and every byte beyond ASCII become "~" and two hexadecimal digits.
 * As "~" is the last printable character, texts without a slash keep the order of their bytes.
 */
export function escapeText(text: string): string {
  if (PLAIN.test(text)) return text
  let escaped = ''
  for (const byte of Buffer.from(text)) {
    escaped += byte < TILDE && byte !== SLASH ? String.fromCharCode(byte) : `~${HEX[byte]}`
  }
  return escaped
}

/** The text of a field. If `escapeText` cannot have made the field, escaping the result gives another field. */
export function unescapeText(field: string): string {
  if (!field.includes('~')) return field
  const bytes: number[] = []
  for (let at = 0; at < field.length; at++) {
    if (field[at] !== '~') bytes.push(field.charCodeAt(at))
    else {
      bytes.push(Number.parseInt(field.slice(at + 1, at + 3), 16))
      at += 2
    }
  }
  return Buffer.from(bytes).toString()
}

const SLASH = 0x2f
const TILDE = 0x7e
const PLAIN = /^[\x01-.0-}]*$/
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).toUpperCase().padStart(2, '0'))

/** The keys under a prefix. "0" follows "/", so the range ends before keys of another prefix. */
function under(prefix: string): TextRange {
  return { gte: `${prefix}/`, lt: `${prefix}0` }
}

function digits(value: number, width: number = NUMBER_DIGITS): string {
  return String(value).padStart(width, '0')
}
