/**
 * The values of a metadata store's records: canonical JSON in ASCII, with a fixed order of fields, without spaces and absent fields.
 * Times, which need 64 bits, are decimal strings; bytes are base64.
 *
 * Decoding trusts its input. `record-check.ts` checks records from outside.
 */
import type { Block, ByteRangeLock, InodeNumber, InodeType, PendingUpload, Share } from '../../../contracts/metadata-store.ts'
import type { EntryRecord, InodeFields } from '../../../metadata/tree-transaction.ts'

/** The version of these records. */
export const SCHEMA_VERSION = 1

/** The most blocks in one record of a block list. */
export const BLOCKS_PER_CHUNK = 1000

/** A stored inode. Its number is in the key. */
export interface InodeRecord extends InodeFields {
  /** The parent of a directory; the root of a share is its own parent. `undefined` for other types. */
  readonly parent: InodeNumber | undefined
}

export type ShareRecord = Omit<Share, 'name'>
export type LockRecord = Pick<ByteRangeLock, 'kind' | 'end'>
export type UploadRecord = Omit<PendingUpload, 'uploadId' | 'blocks'> & { readonly blockCount: number }

/** References are empty: all is in their keys. */
export const REFERENCE_VALUE = ''

export function encodeInode(record: InodeRecord): string {
  const { type, mode, uid, gid, size, links, xattrs, symlinkTarget, payloadId, blockCount, parent } = record
  let json = `{"type":"${type}","mode":${mode},"uid":${uid},"gid":${gid},"size":${size},"links":${links}`
  json += `,"accessedAtNs":"${record.accessedAtNs}","modifiedAtNs":"${record.modifiedAtNs}"`
  json += `,"changedAtNs":"${record.changedAtNs}","createdAtNs":"${record.createdAtNs}"`
  if (xattrs.size > 0) json += `,"xattrs":${encodeXattrs(xattrs)}`
  if (symlinkTarget !== undefined) json += `,"symlinkTarget":${encodeText(symlinkTarget)}`
  if (payloadId !== undefined) json += `,"payloadId":${encodeText(payloadId)}`
  if (blockCount > 0) json += `,"blockCount":${blockCount}`
  if (parent !== undefined) json += `,"parent":${parent}`
  return json + '}'
}

interface InodeJson extends Omit<InodeRecord, 'accessedAtNs' | 'modifiedAtNs' | 'changedAtNs' | 'createdAtNs' | 'xattrs' | 'blockCount'> {
  readonly accessedAtNs: string
  readonly modifiedAtNs: string
  readonly changedAtNs: string
  readonly createdAtNs: string
  readonly xattrs?: readonly (readonly [string, string])[]
  readonly blockCount?: number
}

export function decodeInode(text: string): InodeRecord {
  const json = JSON.parse(text) as InodeJson
  return {
    type: json.type,
    mode: json.mode,
    uid: json.uid,
    gid: json.gid,
    size: json.size,
    links: json.links,
    accessedAtNs: BigInt(json.accessedAtNs),
    modifiedAtNs: BigInt(json.modifiedAtNs),
    changedAtNs: BigInt(json.changedAtNs),
    createdAtNs: BigInt(json.createdAtNs),
    xattrs: new Map(json.xattrs?.map(([name, value]) => [name, new Uint8Array(Buffer.from(value, 'base64'))])),
    symlinkTarget: json.symlinkTarget,
    payloadId: json.payloadId,
    blockCount: json.blockCount ?? 0,
    parent: json.parent,
  }
}

export function encodeEntry({ inode, type }: EntryRecord): string {
  return `{"inode":${inode},"type":"${type}"}`
}

export function decodeEntry(text: string): EntryRecord {
  const { inode, type } = JSON.parse(text) as { inode: InodeNumber; type: InodeType }
  return { inode, type }
}

export function encodeShare({ root, createdAtMs, options }: ShareRecord): string {
  const pairs = Object.entries(options).toSorted(byName).map(([name, value]) => `[${encodeText(name)},${encodeText(value)}]`)
  return `{"root":${root},"createdAtMs":${createdAtMs},"options":[${pairs.join()}]}`
}

export function decodeShare(text: string): ShareRecord {
  const { root, createdAtMs, options } = JSON.parse(text) as { root: InodeNumber; createdAtMs: number; options: [string, string][] }
  return { root, createdAtMs, options: Object.fromEntries(options) }
}

export function encodeLock({ kind, end }: LockRecord): string {
  return end === undefined ? `{"kind":"${kind}"}` : `{"kind":"${kind}","end":${end}}`
}

export function decodeLock(text: string): LockRecord {
  const { kind, end } = JSON.parse(text) as { kind: ByteRangeLock['kind']; end?: number }
  return { kind, end }
}

export function encodeUpload({ parent, name, startedAtMs, blockCount }: UploadRecord): string {
  return `{"parent":${parent},"name":${encodeText(name)},"startedAtMs":${startedAtMs},"blockCount":${blockCount}}`
}

export function decodeUpload(text: string): UploadRecord {
  const { parent, name, startedAtMs, blockCount } = JSON.parse(text) as UploadRecord
  return { parent, name, startedAtMs, blockCount }
}

export function encodeBlocks(blocks: readonly Block[]): string {
  return `[${blocks.map(({ payloadId, offset, bytes }) => `[${encodeText(payloadId)},${offset},${bytes}]`).join()}]`
}

export function decodeBlocks(text: string): Block[] {
  return (JSON.parse(text) as [string, number, number][]).map(([payloadId, offset, bytes]) => ({ payloadId, offset, bytes }))
}

/** A text as JSON in ASCII: characters beyond ASCII are escaped too. */
export function encodeText(text: string): string {
  const json = JSON.stringify(text)
  return BEYOND_PRINTABLE.test(json) ? json.replaceAll(EACH_BEYOND_PRINTABLE, escapeUnit) : json
}

export function decodeText(text: string): string {
  return JSON.parse(text) as string
}

const BEYOND_PRINTABLE = /[\x7f-\uffff]/
const EACH_BEYOND_PRINTABLE = /[\x7f-\uffff]/g

function escapeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
}

function encodeXattrs(xattrs: ReadonlyMap<string, Uint8Array>): string {
  const pairs = [...xattrs].toSorted(byName).map(([name, value]) => `[${encodeText(name)},"${base64(value)}"]`)
  return `[${pairs.join()}]`
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0
}
