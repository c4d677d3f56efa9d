/**
 * The one door to the file system for everything that must survive a crash: publish, delete, swap, journal, recovery.
 * Tests kill the process, fail a call or cut the power at every step of this interface.
 */
import { constants } from 'node:fs'
import { chmod, type FileHandle, lstat, lutimes, mkdir, open, readdir, rename, rmdir, statfs, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { closing, undoOnError } from '../errors/clean-up.ts'
import { systemCodeOf } from '../errors/system-codes.ts'
import { type Kind, has } from './check-options.ts'

/** A file being written. Errors name the path it was created at. */
export interface WritableFile {
  /** Writes the whole chunk. */
  write(chunk: Uint8Array): Promise<void>
  /**
   * Starts writing to the disk (`fdatasync`), so that a later `sync` is shorter. May run during `write`. Makes no promise of durability,
   * but a failure is as final as that of `sync`.
   */
  flush(): Promise<void>
  /** Makes all writes durable (`fsync`). After a failure the file must be abandoned: a second `fsync` may lie. */
  sync(): Promise<void>
  /** Frees the handle. Idempotent. */
  close(): Promise<void>
}

/** The entry at a path. Links are never followed. */
export interface FileInfo {
  readonly type: 'file' | 'directory' | 'other'
  readonly bytes: number
  readonly modifiedAtMs: number
  /** Permission bits, such as 0o600; the sticky bit included. */
  readonly mode: number
  /** The user ID of the owner; 0 if the system has none. */
  readonly ownerId: number
}

/**
 * The file system as Holdfast uses it. Errors are Node's own, with `code`, `syscall` and `path`. `EINTR` never
 * occurs: libuv repeats the call. `EMFILE`, `EAGAIN` and the like do; the caller decides how to go on.
 *
 * The last part of a path is never followed if it is a link. The parts before it are, because Node has no `openat`: anything that can
 * replace a parent directory by a link can redirect a call. Keep the parent directories private.
 */
export const FILES: Kind = has<Files>('a file system', 'info', 'makeDirectory')

export interface Files {
  /**
   * Creates a file that must not exist (`EEXIST`), following no link, with mode 0600 whatever the umask, where the file system keeps modes.
   */
  create(path: string): Promise<WritableFile>
  /**
   * Reads from `startByte` on, following no link (`ELOOP`). Reads only regular files (`EINVAL` otherwise). Reads one chunk ahead of the
   * caller.
   */
  read(path: string, options?: { readonly startByte?: number | undefined; readonly chunkBytes?: number | undefined }): AsyncIterable<Uint8Array>
  /** Describes the entry at a path; `undefined` if there is none. */
  info(path: string): Promise<FileInfo | undefined>
  /** Lists the names in a directory, sorted; `ENOENT` if it is missing. */
  list(path: string): Promise<readonly string[]>
  /** Creates one directory that must not exist (`EEXIST`), with mode 0700 whatever the umask, where the file system keeps modes. */
  makeDirectory(path: string): Promise<void>
  /** Replaces `to` when it is a file; refuses (`ENOTEMPTY`, `EEXIST`) when it is a directory that is not empty. */
  rename(from: string, to: string): Promise<void>
  /** Sets the time of a file's last write to now; `ENOENT` if it is missing. */
  renewFile(path: string): Promise<void>
  removeFile(path: string): Promise<void>
  removeDirectory(path: string): Promise<void>
  /** Makes the names in a directory durable. A link to a directory is followed, which is harmless here. See `syncIfPossible`. */
  syncDirectory(path: string): Promise<void>
  /** Makes the content of a file durable, whichever process wrote it. */
  syncFile(path: string): Promise<void>
  /** The free bytes of a path's file system for ordinary users (`undefined` if not reported), and its type number (`statfs`). */
  space(path: string): Promise<{ readonly freeBytes: number | undefined; readonly type: number }>
}

const READ_CHUNK_BYTES = 1024 * 1024
const FLUSH_BYTES = 32 * 1024 * 1024
const PRIVATE_FILE = 0o600
const PRIVATE_DIRECTORY = 0o700
/** What a file system without modes answers to `chmod`: exFAT, some SMB servers, FUSE. */
const NO_MODES = ['ENOTSUP', 'EPERM', 'EACCES', 'ENOSYS', 'EINVAL'] as const
/** What a file system that does not tell its space answers. */
const NO_SPACE_TOLD = ['ENOSYS', 'ENOTSUP', 'EPERM', 'EACCES'] as const
/** What a file system that cannot sync a directory answers. */
export const NO_DIRECTORY_SYNC = ['EINVAL', 'ENOTSUP', 'EBADF', 'ENOSYS'] as const

/** The real file system. */
export const nodeFiles: Files = {
  async create(path) {
    const handle = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, PRIVATE_FILE)
    await undoOnError(() => chmodIfPossible(path, handle.chmod(PRIVATE_FILE)), async () => {
      await handle.close()
      await unlink(path)
    })
    return writableFile(handle, path)
  },

  async *read(path, { startByte = 0, chunkBytes = READ_CHUNK_BYTES } = {}) {
    // A FIFO would block the open without O_NONBLOCK; regular files do not know the flag.
    const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    const readAt = async (position: number): Promise<Buffer> => {
      const { bytesRead, buffer } = await withPath(path, handle.read({ buffer: Buffer.allocUnsafeSlow(chunkBytes), position }))
      return buffer.subarray(0, bytesRead)
    }
    try {
      if (!(await withPath(path, handle.stat())).isFile()) throw systemError('EINVAL', 'read', path)
      yield* readAhead(readAt, startByte)
    } finally {
      await handle.close()
    }
  },

  async info(path) {
    try {
      const stats = await lstat(path)
      const type = stats.isFile() ? 'file' : stats.isDirectory() ? 'directory' : 'other'
      return { type, bytes: stats.size, modifiedAtMs: stats.mtimeMs, mode: stats.mode & 0o7777, ownerId: stats.uid }
    } catch (error) {
      if (isSystemError(error, 'ENOENT')) return undefined
      throw error
    }
  },

  async list(path) {
    return (await readdir(path)).toSorted()
  },

  async makeDirectory(path) {
    await mkdir(path, { mode: PRIVATE_DIRECTORY })
    await undoOnError(() => makePrivate(path), () => rmdir(path))
  },

  rename,

  async renewFile(path) {
    const now = new Date()
    await lutimes(path, now, now)
  },

  removeFile: unlink,
  removeDirectory: rmdir,

  async syncDirectory(path) {
    await closing(await open(path, constants.O_RDONLY | constants.O_DIRECTORY), (handle) => withPath(path, handle.sync()))
  },

  async syncFile(path) {
    await closing(await open(path, constants.O_RDONLY | constants.O_NOFOLLOW), (handle) => withPath(path, handle.sync()))
  },

  async space(path) {
    try {
      const { bavail, bsize, blocks, type } = await statfs(path)
      // Some FUSE file systems report zeros.
      return { freeBytes: blocks === 0 ? undefined : bavail * bsize, type }
    } catch (error) {
      if (!isSystemError(error, ...NO_SPACE_TOLD)) throw error
      return { freeBytes: undefined, type: 0 }
    }
  },
}

/**
 * Makes the names in a directory durable. Resolves with whether the file system can do that; one that cannot, such as some of FUSE and SMB,
 * leaves when names are durable to itself.
 */
export async function syncIfPossible(files: Files, path: string): Promise<boolean> {
  try {
    await files.syncDirectory(path)
    return true
  } catch (error) {
    if (!isSystemError(error, ...NO_DIRECTORY_SYNC)) throw error
    return false
  }
}

/**
 * Renames. Over NFS the answer to a rename can be lost: it then fails, with `EIO`, `ETIMEDOUT`, or `ENOENT` of its repetition, though
 * it was done. `isDone` looks at `to`, whether that is so.
 */
export async function renameSurely(files: Files, { from, to }: { readonly from: string; readonly to: string }, isDone: () => Promise<boolean>): Promise<void> {
  try {
    await files.rename(from, to)
  } catch (error) {
    const isThere = async (): Promise<boolean> => (await files.info(from)) === undefined && (await isDone())
    if (!(await isThere().catch(() => false))) throw error
  }
}

/**
 * Replaces a small file in one atomic, durable step: after a crash at any instant the old or the new content is there, whole. If only the
 * last step fails, which makes the new name durable, the new content is there, but a crash may bring the old one back.
 */
export async function replaceFile(files: Files, path: string, content: Uint8Array): Promise<void> {
  const temporary = `${path}.tmp`
  await removeIfThere(files, temporary)
  await writeByRename(files, { temporary, path }, content)
  await files.syncDirectory(dirname(path))
}

/** Writes a small file durably under a temporary name, then renames it. The name is durable when the directory is synced. */
export async function writeByRename(
  files: Files,
  { temporary, path }: { readonly temporary: string; readonly path: string },
  content: Uint8Array,
): Promise<void> {
  const file = await files.create(temporary)
  await undoOnError(async () => {
    try {
      await file.write(content)
      await file.sync()
    } catch (error) {
      // The first failure is told as the file system told it: callers go by its code.
      await file.close().catch(() => undefined)
      throw error
    }
    await file.close()
    await renameSurely(files, { from: temporary, to: path }, () => hasContent(files, path, content))
  }, () => removeIfThere(files, temporary).catch(() => undefined))
}

/**
 * Wraps a file so that its bytes are flushed to the disk while more are written, one flush at a time, and the final `sync` is short. After
 * a failed flush every later call fails: the kernel reports the loss of a page only once.
 */
export function writeBehind(file: WritableFile, flushBytes: number = FLUSH_BYTES): WritableFile {
  let unflushed = 0
  let flushing: Promise<void> | undefined
  let failure: { readonly error: unknown } | undefined
  const settled = async (): Promise<void> => {
    await flushing
    if (failure !== undefined) throw failure.error
  }
  const flush = (): Promise<void> =>
    file.flush().catch((error: unknown) => {
      failure = { error }
    })
  return {
    async write(chunk) {
      if (failure !== undefined) throw failure.error
      await file.write(chunk)
      unflushed += chunk.byteLength
      if (unflushed < flushBytes) return
      await settled()
      unflushed = 0
      flushing = flush()
    },
    async flush() {
      await settled()
      flushing = flush()
      await settled()
    },
    async sync() {
      await settled()
      await file.sync()
    },
    async close() {
      await flushing
      await file.close()
    },
  }
}

/** Removes a file; a missing one is fine. */
export async function removeIfThere(files: Files, path: string): Promise<void> {
  try {
    await files.removeFile(path)
  } catch (error) {
    if (!isSystemError(error, 'ENOENT')) throw error
  }
}

/** Removes a directory and its content, following no link; a missing one is fine. */
export async function removeTree(files: Files, path: string): Promise<void> {
  const info = await files.info(path)
  if (info === undefined) return
  if (info.type !== 'directory') return await removeIfThere(files, path)
  for (const name of await files.list(path)) await removeTree(files, join(path, name))
  await files.removeDirectory(path)
}

/** Makes a directory and its content durable, innermost first. */
export async function syncTree(files: Files, path: string): Promise<void> {
  for (const name of await files.list(path)) {
    const child = join(path, name)
    const info = await files.info(child)
    if (info?.type === 'directory') await syncTree(files, child)
    else if (info?.type === 'file') await files.syncFile(child)
  }
  await files.syncDirectory(path)
}

/** Reads a small file whole; `undefined` if it is missing. Rejects with `EFBIG` above the limit, before reading on. */
export async function readSmallFile(files: Files, path: string, maxBytes: number): Promise<Buffer | undefined> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  try {
    for await (const chunk of files.read(path, { chunkBytes: 64 * 1024 })) {
      bytes += chunk.byteLength
      if (bytes > maxBytes) throw systemError('EFBIG', 'read', path)
      chunks.push(chunk)
    }
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  }
  return Buffer.concat(chunks)
}

/** Whether a small file has exactly this content. */
export async function hasContent(files: Files, path: string, content: Uint8Array): Promise<boolean> {
  return (await files.info(path))?.bytes === content.byteLength && (await readSmallFile(files, path, content.byteLength))?.equals(content) === true
}

/** Whether an error is the system's, with one of these codes if given. */
export function isSystemError(error: unknown, ...codes: readonly string[]): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && (codes.length === 0 || codes.includes(systemCodeOf(error) ?? ''))
}

/** An error of the same form as Node's own. */
export function systemError(code: string, syscall: string, path: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${syscall} "${path}"`), { code, syscall, path })
}

/** Yields what `readAt` reads from one position after the other, until it reads nothing. Reads one chunk ahead of the caller. */
export async function* readAhead(readAt: (position: number) => Promise<Buffer>, startByte = 0): AsyncGenerator<Buffer, void, undefined> {
  let ahead = readAt(startByte)
  try {
    for (let position = startByte; ; ) {
      const chunk = await ahead
      if (chunk.byteLength === 0) return
      position += chunk.byteLength
      ahead = readAt(position)
      // The next turn throws this; if the caller stops before, the rejection must not count as unhandled.
      ahead.catch(() => undefined)
      yield chunk
    }
  } finally {
    await ahead.catch(() => undefined)
  }
}

function writableFile(handle: FileHandle, path: string): WritableFile {
  let closed: Promise<void> | undefined
  return {
    async write(chunk) {
      // A short write is not an error to the kernel; write the rest, until done or until an error.
      for (let written = 0; written < chunk.byteLength; ) {
        const { bytesWritten } = await withPath(path, handle.write(chunk, written))
        if (bytesWritten === 0) throw systemError('EIO', 'write', path)
        written += bytesWritten
      }
    },
    flush: () => withPath(path, handle.datasync()),
    sync: () => withPath(path, handle.sync()),
    close: () => (closed ??= withPath(path, handle.close())),
  }
}

/** Gives a new directory its mode: the umask may have cleared bits. */
async function makePrivate(path: string): Promise<void> {
  let handle: FileHandle
  try {
    // A handle follows no link.
    handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  } catch (error) {
    // Under a umask of 0400 and more, its owner cannot open it.
    if (!isSystemError(error, 'EACCES')) throw error
    return await chmod(path, PRIVATE_DIRECTORY)
  }
  try {
    await chmodIfPossible(path, handle.chmod(PRIVATE_DIRECTORY))
  } finally {
    await handle.close()
  }
}

/** Waits for a change of mode; passes over a file system that does not have modes. What was made has the mode that `info` tells. */
export async function chmodIfPossible(path: string, changing: Promise<void>): Promise<void> {
  try {
    await withPath(path, changing)
  } catch (error) {
    if (!isSystemError(error, ...NO_MODES)) throw error
  }
}

/** Adds the path to errors of an open handle, which lack it. */
async function withPath<T>(path: string, result: Promise<T>): Promise<T> {
  try {
    return await result
  } catch (error) {
    if (isSystemError(error) && error.path === undefined) {
      error.path = path
      error.message += ` "${path}"`
    }
    throw error
  }
}
