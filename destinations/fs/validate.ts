/** Tries what a backup needs of the root of a directory destination, and finds its weaknesses, which do not stop a backup. */
import { join } from 'node:path'
import type { DestinationWarning } from '../../src/contracts/destination.ts'
import { DestinationUnreachableError } from '../../src/errors/errors.ts'
import { readSmallFile } from '../../src/util/files.ts'
import { newUlid } from '../../src/util/ulid.ts'
import { removeBackupFiles } from './backup-files.ts'
import { onPath } from './errors.ts'
import { type FsRoot, TEMPORARY_SUFFIX } from './root.ts'

const PROBE = new TextEncoder().encode('holdfast probe\n')

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

/**
 * Tries all that a backup needs, under the name of an upload, so that a clean-up removes what a crash leaves. The root notes what it lacks.
 */
export async function probe(root: FsRoot): Promise<void> {
  const { files } = root
  const directory = join(root.path, newUlid() + TEMPORARY_SUFFIX)
  await onPath('create', directory, () => files.makeDirectory(directory))
  try {
    const path = join(directory, 'payload')
    await onPath('write', path, async () => {
      const file = await files.create(path)
      try {
        await file.write(PROBE)
        await file.sync()
      } finally {
        await file.close()
      }
    })
    const read = await onPath('read', path, () => readSmallFile(files, path, PROBE.byteLength))
    if (read === undefined || !read.equals(PROBE)) {
      throw new DestinationUnreachableError(`Cannot read "${path}" back: its bytes are not those that were written`)
    }
    const info = await root.info(directory)
    if (info !== undefined) root.noteMode(info)
    await root.sync(directory)
  } finally {
    await removeBackupFiles(root, directory)
  }
}

/** Warnings for a root directory: its file system, its permissions, its owner. */
export async function rootWarnings(root: FsRoot): Promise<readonly DestinationWarning[]> {
  const { path } = root
  const info = await root.info(path)
  if (info === undefined) return []
  const { type } = await onPath('look at', path, () => root.files.space(path))
  const warnings: DestinationWarning[] = []
  // The kernel's number is signed on some platforms.
  const kind = KIND_BY_TYPE.get(type >>> 0)
  if (kind !== undefined) warnings.push({ code: kind.code, message: `"${path}" is on ${kind.text}` })
  if ((info.mode & OTHERS_WRITE) !== 0) {
    warnings.push({ code: 'root_world_writable', message: `"${path}" is writable by every user: any of them can replace or remove backups` })
  }
  const userId = process.geteuid?.()
  if (userId !== undefined && info.ownerId !== userId && info.ownerId !== 0) {
    warnings.push({ code: 'root_owner', message: `"${path}" belongs to user ${info.ownerId}, which can replace or remove backups` })
  }
  return warnings
}
