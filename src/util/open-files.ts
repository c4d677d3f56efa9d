/** Private files that stay readable while open, even if another process replaces or removes them. */
import { constants, type Stats } from 'node:fs'
import { type FileHandle, lstat, open, rm } from 'node:fs/promises'
import { closing, undoOnError } from '../errors/clean-up.ts'
import { InternalError } from '../errors/errors.ts'
import { chmodIfPossible, isSystemError, nodeFiles, readAhead, renameSurely } from './files.ts'

const PRIVATE_FILE = 0o600
const READ_BYTES: number = 1024 * 1024

/** Creates a file of mode 0600 to write and read. Rejects when the file exists. */
export async function createFile(path: string): Promise<FileHandle> {
  const handle = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, PRIVATE_FILE)
  try {
    await chmodIfPossible(path, handle.chmod(PRIVATE_FILE))
    return handle
  } catch (error) {
    await handle.close()
    throw error
  }
}

/** Opens a file that has exactly `bytes` bytes; `undefined` if there is none. */
export async function openWhole(path: string, bytes: number): Promise<FileHandle | undefined> {
  let handle: FileHandle | undefined
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    const info = await handle.stat()
    if (info.isFile() && info.size === bytes) return handle
  } catch (error) {
    if (!isSystemError(error)) throw error
  }
  await handle?.close()
  return undefined
}

/** Reads the first `bytes` bytes of a file, one chunk ahead. */
export function readOpen(handle: FileHandle, bytes: number): AsyncGenerator<Uint8Array, void, undefined> {
  return readAhead(async (position) => {
    const length = Math.min(READ_BYTES, bytes - position)
    if (length === 0) return Buffer.alloc(0)
    const { bytesRead, buffer } = await handle.read({ buffer: Buffer.allocUnsafeSlow(length), position })
    if (bytesRead === 0) throw new InternalError('A file of held payload IDs is shorter than it was written')
    return buffer.subarray(0, bytesRead)
  })
}

/** Renames a file, whose `fstat` is given. Where the answer is lost, its inode shows whether the rename was done: see `renameSurely`. */
export async function renameFile({ dev, ino }: Stats, names: { readonly from: string; readonly to: string }): Promise<void> {
  await renameSurely(nodeFiles, names, async () => {
    const found = await lstat(names.to)
    return found.dev === dev && found.ino === ino
  })
}

/** Writes a file of mode 0600 under a temporary name, then gives it its own. Makes nothing durable: for what can be made again. */
export async function writeAside(
  { temporary, path }: { readonly temporary: string; readonly path: string },
  write: (handle: FileHandle) => Promise<void>,
): Promise<void> {
  await undoOnError(async () => {
    const written = await closing(await createFile(temporary), async (handle) => {
      await write(handle)
      return await handle.stat()
    })
    await renameFile(written, { from: temporary, to: path })
  }, () => rm(temporary, { force: true }))
}
