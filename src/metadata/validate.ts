/** Checks arguments for a metadata store. Every check throws `invalid_argument` for a bad one. */
import { InvalidArgumentError } from '../errors/errors.ts'
import { checkPayloadId } from '../payload-ids/payload-id-set.ts'
import { FUNCTION, type Kind, OBJECT, type OptionKinds, SIGNAL, checkArgument, checkOptions, has, optional } from '../util/check-options.ts'
import {
  type Block, type ByteRangeLock, type Content, type ImportOptions, INODE_TYPES, type InodeAttributes, type InodeNumber, type MetadataView,
  type NewInode, type PendingUpload, type Place, RENAME_MODES, type RenameMode,
} from '../contracts/metadata-store.ts'

/** The most bytes (in UTF-8) of each text, and the greatest numbers. */
export const METADATA_LIMITS = {
  nameBytes: 255,
  symlinkTargetBytes: 4096,
  xattrNameBytes: 255,
  xattrValueBytes: 65_536,
  /** Names and values of one inode together. */
  xattrsBytes: 131_072,
  lockOwnerBytes: 1024,
  settingNameBytes: 255,
  settingValueBytes: 65_536,
  /** Names and values of one share together. */
  shareOptionsBytes: 65_536,
  mode: 0o7777,
  /** User and group IDs. */
  id: 0xffff_ffff,
} as const

/** Times are nanoseconds in a signed 64-bit number: the years 1677 to 2262. */
const MIN_TIME_NS: bigint = -(2n ** 63n)
const MAX_TIME_NS: bigint = 2n ** 63n - 1n

/** Half of a character beyond the basic plane, which UTF-8 cannot express. */
const LONE_SURROGATE = /\p{Surrogate}/u

export const TIME_FIELDS = ['accessedAtNs', 'modifiedAtNs', 'changedAtNs', 'createdAtNs'] as const

/** The nearest time that a store can hold. */
export function clampTime(ns: bigint): bigint {
  return ns < MIN_TIME_NS ? MIN_TIME_NS : ns > MAX_TIME_NS ? MAX_TIME_NS : ns
}

/** A name of an entry, a share or an upload: 1 to 255 bytes of well-formed Unicode; no "/", no NUL, not "." or "..". */
export function checkName(name: string, what: string = 'name'): string {
  checkText(name, { what, maxBytes: METADATA_LIMITS.nameBytes })
  if (name.includes('/')) throw refused(what, name, 'it contains a slash')
  if (name === '.' || name === '..') throw refused(what, name, 'it stands for a directory itself')
  return name
}

/** A text of 1 (or `minBytes`) to `maxBytes` bytes of well-formed Unicode without NUL. */
export function checkText(text: string, options: { readonly what: string; readonly maxBytes: number; readonly minBytes?: number }): string {
  const { what, maxBytes, minBytes = 1 } = options
  if (typeof text !== 'string') throw refused(what, text, 'it is not text')
  if (LONE_SURROGATE.test(text)) throw refused(what, text, 'it is not well-formed Unicode')
  if (text.includes('\0')) throw refused(what, text, 'it contains a NUL character')
  const bytes = Buffer.byteLength(text)
  if (bytes < minBytes) throw refused(what, text, 'it is empty')
  if (bytes > maxBytes) throw refused(what, text, `it has ${bytes} bytes, more than ${maxBytes}`)
  return text
}

export function checkInteger(value: number, options: { readonly what: string; readonly min?: number; readonly max?: number }): number {
  const { what, min = 0, max = Number.MAX_SAFE_INTEGER } = options
  if (!Number.isSafeInteger(value) || value < min || value > max) throw refused(what, value, `it is not an integer from ${min} to ${max}`)
  return value
}

export function checkInodeNumber(inode: InodeNumber): InodeNumber {
  return checkInteger(inode, { what: 'inode number', min: 1 })
}

export function checkPlace(place: Place): Place {
  if (!OBJECT.fits(place)) throw refused('place', place, 'it is not an object')
  checkInteger(place.parent, { what: 'parent', min: 1 })
  checkName(place.name)
  return place
}

export function checkRenameMode(existing: RenameMode): RenameMode {
  if (!RENAME_MODES.includes(existing)) throw refused('the mode for an existing entry', existing, `it is not one of ${RENAME_MODES.join(', ')}`)
  return existing
}

/** A time as nanoseconds since 1970. */
export function checkTimeNs(timeNs: bigint, what: string): bigint {
  if (typeof timeNs !== 'bigint' || timeNs < MIN_TIME_NS || timeNs > MAX_TIME_NS) {
    throw refused(what, timeNs, 'it is not a bigint of at most 64 bits')
  }
  return timeNs
}

/** A time as milliseconds since 1970; negative before that. */
export function checkTimeMs(timeMs: number, what: string): number {
  return checkInteger(timeMs, { what, min: Number.MIN_SAFE_INTEGER })
}

/** Checks the attributes that are given. */
export function checkAttributes(attributes: Partial<InodeAttributes>): void {
  const { mode, uid, gid, size, xattrs } = attributes
  if (mode !== undefined) checkInteger(mode, { what: 'mode', max: METADATA_LIMITS.mode })
  if (uid !== undefined) checkInteger(uid, { what: 'uid', max: METADATA_LIMITS.id })
  if (gid !== undefined) checkInteger(gid, { what: 'gid', max: METADATA_LIMITS.id })
  if (size !== undefined) checkInteger(size, { what: 'size' })
  for (const field of TIME_FIELDS) {
    const timeNs = attributes[field]
    if (timeNs !== undefined) checkTimeNs(timeNs, field)
  }
  if (xattrs !== undefined) checkXattrs(xattrs)
}

export function checkXattrs(xattrs: ReadonlyMap<string, Uint8Array>): void {
  if (!(xattrs instanceof Map)) throw refused('extended attributes', typeof xattrs, 'they are not a Map')
  let bytes = 0
  for (const [name, value] of xattrs) {
    checkText(name, { what: 'extended attribute name', maxBytes: METADATA_LIMITS.xattrNameBytes })
    if (!(value instanceof Uint8Array)) throw refused('extended attribute', name, 'its value is not a Uint8Array')
    if (value.byteLength > METADATA_LIMITS.xattrValueBytes) {
      throw refused('extended attribute', name, `its value has ${value.byteLength} bytes, more than ${METADATA_LIMITS.xattrValueBytes}`)
    }
    bytes += Buffer.byteLength(name) + value.byteLength
  }
  if (bytes > METADATA_LIMITS.xattrsBytes) {
    throw refused('extended attributes', xattrs.size, `together they have ${bytes} bytes, more than ${METADATA_LIMITS.xattrsBytes}`)
  }
}

export function checkNewInode(inode: NewInode): void {
  checkAttributes(inode)
  const { type, symlinkTarget, content } = inode
  if (!INODE_TYPES.includes(type)) throw refused('inode type', type, `it is not one of ${INODE_TYPES.join(', ')}`)
  if ((type === 'symlink') !== (symlinkTarget !== undefined)) {
    throw refused('inode type', type, 'a symlink must have a target, and only a symlink')
  }
  if (symlinkTarget !== undefined) checkText(symlinkTarget, { what: 'symlink target', maxBytes: METADATA_LIMITS.symlinkTargetBytes })
  if (content === undefined) return
  if (type !== 'file') throw refused('inode type', type, 'only a file can have content')
  checkContent(content)
}

export function checkContent(content: Content): void {
  // A payload in a field of another name, or beside a list of blocks, would be held by no reference.
  let fields = 0
  for (const field in content) fields += field === 'payloadId' || field === 'blocks' ? 1 : 2
  if (fields !== 1) throw refused('content', `{ ${Object.keys(Object(content)).join(', ')} }`, 'it must have either "payloadId" or "blocks", and no other field')
  if ('payloadId' in content) checkPayload(content.payloadId)
  else checkBlocks(content.blocks)
}

export function checkBlocks(blocks: readonly Block[]): void {
  if (!Array.isArray(blocks)) throw refused('blocks', blocks, 'they are not an array')
  for (const { payloadId, offset, bytes } of blocks) {
    checkPayload(payloadId)
    checkInteger(offset, { what: 'block offset' })
    checkInteger(bytes, { what: 'length of a block' })
  }
}

export function checkUploadId(uploadId: string): string {
  return checkName(uploadId, 'upload ID')
}

export function checkUpload(upload: PendingUpload): void {
  checkUploadId(upload.uploadId)
  checkPlace(upload)
  checkTimeMs(upload.startedAtMs, 'start time of an upload')
  checkBlocks(upload.blocks)
}

export function checkLock(lock: ByteRangeLock): void {
  checkRange(lock)
  if (lock.kind !== 'shared' && lock.kind !== 'exclusive') throw refused('kind of lock', lock.kind, 'it is not "shared" or "exclusive"')
}

export function checkRange(range: Omit<ByteRangeLock, 'kind'>): void {
  checkInodeNumber(range.inode)
  checkText(range.owner, { what: 'lock owner', maxBytes: METADATA_LIMITS.lockOwnerBytes })
  checkInteger(range.start, { what: 'start of a lock' })
  if (range.end !== undefined) checkInteger(range.end, { what: 'end of a lock', min: range.start + 1 })
}

const VIEW: Kind = has<MetadataView>('a view of a metadata store', 'inodes', 'entries')
const IMPORT_OPTIONS: OptionKinds<ImportOptions> = { signal: optional(SIGNAL), onProgress: optional(FUNCTION), check: optional(FUNCTION) }

/** Checks the arguments of `importView`. */
export function checkImport(view: MetadataView, options: ImportOptions): void {
  checkArgument('importView', view, { name: 'view', kind: VIEW })
  checkOptions('importView', options, IMPORT_OPTIONS)
}

export function checkSettingName(name: string): string {
  return checkText(name, { what: 'setting name', maxBytes: METADATA_LIMITS.settingNameBytes })
}

export function checkSettingValue(value: string): string {
  return checkText(value, { what: 'setting', maxBytes: METADATA_LIMITS.settingValueBytes, minBytes: 0 })
}

export function checkShareOptions(options: Readonly<Record<string, string>>): void {
  let bytes = 0
  for (const [name, value] of Object.entries(options)) {
    const maxBytes = METADATA_LIMITS.shareOptionsBytes
    checkText(name, { what: 'share option name', maxBytes })
    checkText(value, { what: 'share option', maxBytes, minBytes: 0 })
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value)
  }
  if (bytes > METADATA_LIMITS.shareOptionsBytes) {
    throw refused('share options', bytes, `together they have more than ${METADATA_LIMITS.shareOptionsBytes} bytes`)
  }
}

/**
 * The ID of a store: 1 to 64 characters of printable ASCII without spaces.
 * The format allows 128, for IDs that other makers' stores choose.
 */
const STORE_ID = /^[!-~]{1,64}$/

export function isStoreId(value: unknown): value is string {
  return typeof value === 'string' && STORE_ID.test(value)
}

export function checkStoreId(storeId: string): string {
  if (!isStoreId(storeId)) throw refused('store ID', storeId, 'it is not 1 to 64 printable ASCII characters')
  return storeId
}

function checkPayload(payloadId: string): void {
  if (typeof payloadId !== 'string') throw refused('payload ID', payloadId, 'it is not text')
  checkPayloadId(payloadId)
}

function refused(what: string, value: unknown, why: string): InvalidArgumentError {
  const text = String(value)
  if (value === undefined) return new InvalidArgumentError(`Cannot call the store: the ${what} is missing`)
  return new InvalidArgumentError(`Cannot use ${JSON.stringify(text.slice(0, 80))} as ${what}: ${why}`)
}
