/** Pure functions that make and change inodes. */
import type { Block, Content, Inode, InodeAttributes, NewInode } from '../contracts/metadata-store.ts'
import { TIME_FIELDS } from './validate.ts'

const NS_PER_MS = 1_000_000n
const DIRECTORY_MODE = 0o755
const SYMLINK_MODE = 0o777
const OTHER_MODE = 0o644

/** Milliseconds as nanoseconds, the unit of inodes. */
export function nsOfMs(timeMs: number): bigint {
  return BigInt(Math.trunc(timeMs)) * NS_PER_MS
}

export function newInode(inode: NewInode, nowMs: number): Omit<Inode, 'inode'> {
  const { type, symlinkTarget, content } = inode
  const links = type === 'directory' ? 2 : 1
  return { type, ...newAttributes(inode, nsOfMs(nowMs)), links, symlinkTarget, payloadId: payloadIdOf(content), blockCount: blocksOf(content).length }
}

/** The blocks of a content that is a block list. */
export function blocksOf(content: Content | undefined): readonly Block[] {
  return content === undefined || 'payloadId' in content ? [] : content.blocks
}

/** The payload of a content that is one payload. */
export function payloadIdOf(content: Content | undefined): string | undefined {
  return content !== undefined && 'payloadId' in content ? content.payloadId : undefined
}

/** The attributes of a new inode. Defaults: owned by root, all times now, empty. */
function newAttributes(inode: NewInode, nowNs: bigint): InodeAttributes {
  const { type, symlinkTarget } = inode
  const mode = type === 'directory' ? DIRECTORY_MODE : type === 'symlink' ? SYMLINK_MODE : OTHER_MODE
  const defaults: InodeAttributes = {
    mode,
    uid: 0,
    gid: 0,
    size: symlinkTarget === undefined ? 0 : Buffer.byteLength(symlinkTarget),
    accessedAtNs: nowNs,
    modifiedAtNs: nowNs,
    changedAtNs: nowNs,
    createdAtNs: nowNs,
    xattrs: new Map(),
  }
  return changedAttributes(defaults, inode)
}

export function changedAttributes(attributes: InodeAttributes, changes: Partial<InodeAttributes>): InodeAttributes {
  const changed: Record<string, unknown> = {}
  for (const field of ['mode', 'uid', 'gid', 'size', ...TIME_FIELDS, 'xattrs'] as const) {
    changed[field] = changes[field] ?? attributes[field]
  }
  return changed as unknown as InodeAttributes
}

/** The bytes that an inode adds to the used bytes of a store. */
export function usedBytesOf({ type, size }: Pick<Inode, 'type' | 'size'>): bigint {
  return type === 'file' ? BigInt(size) : 0n
}
