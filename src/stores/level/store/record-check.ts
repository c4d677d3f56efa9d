/**
 * Checks that a stored record is exactly one that a metadata store writes.
 *
 * Nearly all records match a strict regular expression per section. Others (escapes, extended attributes, large numbers) are decoded,
 * checked by `metadata/validate.ts`, and encoded again, which must give the same text.
 */
import { RecordInvalidError } from '../../../errors/errors.ts'
import { INODE_TYPES } from '../../../contracts/metadata-store.ts'
import {
  METADATA_LIMITS, checkBlocks, checkInodeNumber, checkInteger, checkName, checkNewInode, checkPlace, checkRange, checkSettingName,
  checkSettingValue, checkShareOptions, checkTimeMs, checkUploadId,
} from '../../../metadata/validate.ts'
import { checkPayloadId } from '../../../payload-ids/payload-id-set.ts'
import * as keys from './keys.ts'
import * as records from './records.ts'

/** Checks the key and the value of one record. Throws `record_invalid`, with the key, for a record that stores do not write. */
export function checkRecord(key: string, value: string): void {
  if (isPlainRecord(key, value)) return
  let cause: unknown
  try {
    if (isCanonicalRecord(key, value)) return
  } catch (error) {
    cause = error
  }
  throw invalidRecord(key, cause)
}

/** Whether a record matches the expressions. A record that does not may still be valid. */
export function isPlainRecord(key: string, value: string): boolean {
  const rule = ruleOf(key)
  return rule !== undefined && rule.key.test(key) && rule.value.test(value)
}

/** Whether decoding and encoding a record gives the same text. May throw instead of returning false. */
export function isCanonicalRecord(key: string, value: string): boolean {
  return ruleOf(key)?.isCanonical(key, value) === true
}

/** Reads one record with its decoder. Throws `record_invalid` for a record that stores do not write. */
export function decodeRecord<T>(key: string, value: string, decode: (value: string) => T): T {
  checkRecord(key, value)
  return decode(value)
}

export function invalidRecord(key: string, cause?: unknown): RecordInvalidError {
  return new RecordInvalidError(`Cannot decode record ${JSON.stringify(key.slice(0, 300))}: a metadata store does not write such a record`, {
    cause,
    details: { key },
  })
}

interface Rule {
  /** Matches only valid keys, and nearly all of them. */
  readonly key: RegExp
  /** Matches only valid values, and nearly all of them. */
  readonly value: RegExp
  /** Decides about records that the expressions do not match. May throw instead of returning false. */
  isCanonical(key: string, value: string): boolean
}

/** Numbers so far below the limits that their length alone shows that they are allowed. */
const KEY_NUMBER = String.raw`(?!0{16})0\d{15}`
const NUMBER = String.raw`(?:0|[1-9]\d{0,14})`
const POSITIVE = String.raw`[1-9]\d{0,14}`
const ID = String.raw`(?:0|[1-9]\d{0,8})`
const TIME = String.raw`"(?:-?(?:[1-8]\d{18}|[1-9]\d{0,17})|0)"`
const MODE = String.raw`(?:0|[1-9]\d{0,2}|[1-3]\d{3}|40[0-8]\d|409[0-5])`
/** A name without escapes, and not "." or "..". */
const NAME = String.raw`(?!\.{1,2}$)[ -.0-}]{1,255}`
const TEXT = String.raw`[ !#-\[\]-}]`
const PAYLOAD_ID = String.raw`[!#-\[\]-~]{1,255}`
const TYPE = INODE_TYPES.join('|')
const BLOCK = String.raw`\["${PAYLOAD_ID}",${NUMBER},${NUMBER}\]`
const BLOCKS = new RegExp(String.raw`^\[${BLOCK}(?:,${BLOCK}){0,${records.BLOCKS_PER_CHUNK - 1}}\]$`)
const OTHER_TYPES = INODE_TYPES.filter((type) => type !== 'file' && type !== 'directory' && type !== 'symlink').join('|')
const ATTRIBUTES =
  String.raw`","mode":${MODE},"uid":${ID},"gid":${ID},"size":${NUMBER},"links":${POSITIVE}` +
  `,"accessedAtNs":${TIME},"modifiedAtNs":${TIME},"changedAtNs":${TIME},"createdAtNs":${TIME}`
const INODE = new RegExp(
  String.raw`^\{"type":"(?:file${ATTRIBUTES}(?:,"payloadId":"${PAYLOAD_ID}"|,"blockCount":${POSITIVE})?` +
    String.raw`|directory${ATTRIBUTES},"parent":${POSITIVE}` +
    String.raw`|symlink${ATTRIBUTES},"symlinkTarget":"${TEXT}{1,${METADATA_LIMITS.symlinkTargetBytes}}"` +
    String.raw`|(?:${OTHER_TYPES})${ATTRIBUTES})\}$`,
)
const NOTHING = /^$/
const NEVER = /(?!)/

const RULES: Readonly<Record<keys.SectionName, Rule>> = {
  blocks: {
    key: new RegExp(String.raw`^blocks/${KEY_NUMBER}/\d{8}$`),
    value: BLOCKS,
    isCanonical: (key, value) => /^blocks\/\d{16}\/\d{8}$/.test(key) && isInodeNumber(key.slice(7, 23)) && areBlocks(value),
  },
  counters: {
    key: /^counters\/(?:next-inode|used-bytes)$/,
    value: new RegExp(`^${POSITIVE}$`),
    isCanonical: (key, value) =>
      key === keys.NEXT_INODE_KEY
        ? String(checkInteger(Number(value), { what: key, min: 1 })) === value
        : key === keys.USED_BYTES_KEY && /^(?:0|[1-9]\d{0,30})$/.test(value),
  },
  entries: {
    key: new RegExp(`^entries/${KEY_NUMBER}/${NAME}$`),
    value: new RegExp(String.raw`^\{"inode":${POSITIVE},"type":"(?:${TYPE})"\}$`),
    isCanonical(key, value) {
      const parent = checkInodeNumber(Number(key.slice(8, 24)))
      const name = checkName(keys.nameOfEntry(key))
      const entry = records.decodeEntry(value)
      checkInodeNumber(entry.inode)
      return keys.entryKey({ parent, name }) === key && INODE_TYPES.includes(entry.type) && records.encodeEntry(entry) === value
    },
  },
  inodes: {
    key: new RegExp(`^inodes/${KEY_NUMBER}$`),
    value: INODE,
    isCanonical: (key, value) => /^inodes\/\d{16}$/.test(key) && isInodeNumber(key.slice(7)) && isInode(value),
  },
  locks: {
    key: new RegExp(String.raw`^locks/${KEY_NUMBER}/0\d{15}/[ -.0-}]{1,${METADATA_LIMITS.lockOwnerBytes}}$`),
    // A lock with an end is checked against the start in its key, by `isCanonical`.
    value: /^\{"kind":"(?:shared|exclusive)"\}$/,
    isCanonical(key, value) {
      const inode = Number(key.slice(6, 22))
      const { start, owner } = keys.rangeOfLock(key)
      const lock = records.decodeLock(value)
      checkRange({ inode, start, owner, end: lock.end })
      const kindIsKnown = lock.kind === 'shared' || lock.kind === 'exclusive'
      return keys.lockKey(inode, start, owner) === key && kindIsKnown && records.encodeLock(lock) === value
    },
  },
  references: {
    key: new RegExp(String.raw`^references/[!-~]{1,255} (?:i${KEY_NUMBER}|u${NAME})$`),
    value: NOTHING,
    isCanonical(key, value) {
      const payloadId = checkPayloadId(keys.payloadIdOfReference(key))
      const owner = key.slice(key.indexOf(' ') + 1)
      const id = owner.startsWith('i') ? checkInodeNumber(Number(owner.slice(1))) : checkUploadId(keys.unescapeText(owner.slice(1)))
      const expected = typeof id === 'number' ? keys.inodeOwner(id) : keys.uploadOwner(id)
      return keys.referenceKey(payloadId, expected) === key && value === records.REFERENCE_VALUE
    },
  },
  settings: {
    key: /^settings\/[ -.0-}]{1,255}$/,
    value: new RegExp(`^"${TEXT}{0,${METADATA_LIMITS.settingValueBytes}}"$`),
    isCanonical(key, value) {
      const name = checkSettingName(keys.textOfKey(key))
      return keys.settingKey(name) === key && records.encodeText(checkSettingValue(records.decodeText(value))) === value
    },
  },
  shares: {
    key: new RegExp(`^shares/${NAME}$`),
    value: new RegExp(String.raw`^\{"root":${POSITIVE},"createdAtMs":${NUMBER},"options":\[\]\}$`),
    isCanonical(key, value) {
      const share = records.decodeShare(value)
      checkInodeNumber(share.root)
      checkTimeMs(share.createdAtMs, 'creation time')
      checkShareOptions(share.options)
      return keys.shareKey(checkName(keys.textOfKey(key))) === key && records.encodeShare(share) === value
    },
  },
  'upload-blocks': {
    key: new RegExp(String.raw`^upload-blocks/(?!\.{1,2}/)[ -.0-}]{1,255}/\d{8}$`),
    value: BLOCKS,
    isCanonical(key, value) {
      const [, uploadId, chunk] = /^upload-blocks\/([^/]*)\/(\d{8})$/.exec(key) ?? []
      if (uploadId === undefined) return false
      return keys.uploadBlocksKey(checkUploadId(keys.unescapeText(uploadId)), Number(chunk)) === key && areBlocks(value)
    },
  },
  uploads: {
    key: new RegExp(`^uploads/${NAME}$`),
    value: NEVER,
    isCanonical(key, value) {
      const upload = records.decodeUpload(value)
      checkPlace(upload)
      checkTimeMs(upload.startedAtMs, 'start time of an upload')
      checkInteger(upload.blockCount, { what: 'block count' })
      return keys.uploadKey(checkUploadId(keys.textOfKey(key))) === key && records.encodeUpload(upload) === value
    },
  },
}

/** Records mostly come in key order, so the section of the last one is tried first. */
let last: readonly [prefix: string, rule: Rule] = ['entries/', RULES.entries]

function ruleOf(key: string): Rule | undefined {
  if (key.startsWith(last[0])) return last[1]
  const section = key.slice(0, key.indexOf('/'))
  if (!Object.hasOwn(RULES, section)) return undefined
  last = [`${section}/`, RULES[section as keys.SectionName]]
  return last[1]
}

function isInodeNumber(digits: string): boolean {
  return checkInodeNumber(Number(digits)) > 0
}

function isInode(value: string): boolean {
  const { parent, payloadId, blockCount, links, ...inode } = records.decodeInode(value)
  checkNewInode({ ...inode, content: payloadId === undefined ? undefined : { payloadId } })
  checkInteger(links, { what: 'links', min: 1 })
  checkInteger(blockCount, { what: 'block count' })
  if (blockCount > 0 && (inode.type !== 'file' || payloadId !== undefined)) return false
  if ((inode.type === 'directory') !== (parent !== undefined)) return false
  if (parent !== undefined) checkInodeNumber(parent)
  return records.encodeInode({ ...inode, parent, payloadId, blockCount, links }) === value
}

function areBlocks(value: string): boolean {
  const blocks = records.decodeBlocks(value)
  checkBlocks(blocks)
  checkInteger(blocks.length, { what: 'blocks of a record', min: 1, max: records.BLOCKS_PER_CHUNK })
  return records.encodeBlocks(blocks) === value
}
