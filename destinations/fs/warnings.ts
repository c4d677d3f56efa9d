/** Warnings about the root of a directory destination. They do not stop a backup. */
import type { DestinationWarning } from '../../src/contracts/destination.ts'
import type { FileInfo } from '../../src/util/files.ts'

interface FileSystemKind {
  readonly code: string
  readonly text: string
}

const NETWORK: FileSystemKind = {
  code: 'network_file_system',
  text: 'a network file system: whether fsync and rename survive a crash depends on its server and mount options',
}
const USER_SPACE: FileSystemKind = {
  code: 'user_space_file_system',
  text: 'a FUSE file system: whether fsync and rename survive a crash depends on the program behind it',
}
const VOLATILE: FileSystemKind = { code: 'volatile_file_system', text: 'a file system in memory: backups are lost when the machine restarts' }

/** By `f_type` of statfs(2) on Linux (include/uapi/linux/magic.h). Other systems have other numbers, which match nothing. */
const KIND_BY_TYPE: ReadonlyMap<number, FileSystemKind> = new Map([
  [0x6969, NETWORK], // NFS_SUPER_MAGIC
  [0x517b, NETWORK], // SMB_SUPER_MAGIC
  [0xff534d42, NETWORK], // CIFS_SUPER_MAGIC
  [0xfe534d42, NETWORK], // SMB2_SUPER_MAGIC
  [0x00c36400, NETWORK], // CEPH_SUPER_MAGIC
  [0x5346414f, NETWORK], // AFS_SUPER_MAGIC
  [0x6b414653, NETWORK], // AFS_FS_MAGIC
  [0x73757245, NETWORK], // CODA_SUPER_MAGIC
  [0x01021997, NETWORK], // V9FS_MAGIC
  [0x65735546, USER_SPACE], // FUSE_SUPER_MAGIC
  [0x01021994, VOLATILE], // TMPFS_MAGIC
  [0x858458f6, VOLATILE], // RAMFS_MAGIC
])

const OTHERS_WRITE = 0o002

/** Warnings for a root directory: its file system, its permissions, its owner. */
export function rootWarnings(root: string, info: FileInfo, fileSystemType: number): readonly DestinationWarning[] {
  const warnings: DestinationWarning[] = []
  // The kernel's number is signed on some platforms.
  const kind = KIND_BY_TYPE.get(fileSystemType >>> 0)
  if (kind !== undefined) warnings.push({ code: kind.code, message: `"${root}" is on ${kind.text}` })
  if ((info.mode & OTHERS_WRITE) !== 0) {
    warnings.push({ code: 'root_world_writable', message: `"${root}" is writable by every user: any of them can replace or remove backups` })
  }
  const userId = process.geteuid?.()
  if (userId !== undefined && info.ownerId !== userId && info.ownerId !== 0) {
    warnings.push({ code: 'root_owner', message: `"${root}" belongs to user ${info.ownerId}, which can replace or remove backups` })
  }
  return warnings
}
