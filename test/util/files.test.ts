import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import fileSystem, { chmod, lstat, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join, resolve } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { describe, test, vi } from 'vitest'
import {
  type Files,
  isSystemError,
  nodeFiles,
  readSmallFile,
  removeIfThere,
  removeTree,
  replaceFile,
  syncTree,
  systemError,
  type WritableFile,
  writeBehind,
} from '../../src/util/files.ts'
import { makeDirectories } from '../../src/util/make-directories.ts'
import { interceptFiles } from '../support/faulty-files.ts'
import { tempDir } from '../support/temp-dir.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const result: Uint8Array[] = []
  for await (const chunk of chunks) result.push(chunk)
  return Buffer.concat(result)
}

const openHandles = (): number => readdirSync('/proc/self/fd').length

describe('nodeFiles', () => {
  test('create() refuses what is there, and a link, dangling or not, with EEXIST', async () => {
    const directory = await tempDir()
    await writeFile(join(directory, 'file'), 'old')
    await symlink('file', join(directory, 'link'))
    await symlink('nothing', join(directory, 'dangling'))
    for (const name of ['file', 'link', 'dangling']) await rejects(nodeFiles.create(join(directory, name)), { code: 'EEXIST' })
    equal(await readFile(join(directory, 'file'), 'utf8'), 'old')
    ok(!(await readdir(directory)).includes('nothing'))
  })

  test('errors of an open file name its path and the call', async () => {
    const path = join(await tempDir(), 'file')
    const file = await nodeFiles.create(path)
    await file.close()
    await file.close()
    await rejects(file.write(bytes('x')), { code: 'EBADF', syscall: 'write', path })
    await rejects(file.sync(), { code: 'EBADF', syscall: 'fsync', path })
    await rejects(file.flush(), { code: 'EBADF', syscall: 'fdatasync', path })
  })

  test('write() goes on after a short write and tells why the rest cannot be written', async () => {
    const path = join(await tempDir(), 'file')
    // A limit on the size of files makes the kernel write a part, and refuse the rest at the next call.
    const script = `
      process.on('SIGXFSZ', () => undefined)
      const { nodeFiles } = await import(process.argv[1])
      const file = await nodeFiles.create(process.argv[2])
      await file.write(new Uint8Array(1500)).catch((error) => console.log(error.code, error.syscall, error.path))
    `
    const module = resolve('dist/src/util/files.js')
    const output = execFileSync('bash', ['-c', 'ulimit -f 1; exec "$0" "$@"', process.execPath, '--input-type=module', '-e', script, module, path], { encoding: 'utf8' })
    equal(output, `EFBIG write ${path}\n`)
    equal((await lstat(path)).size, 1024)
  })

  test('read() gives the bytes from any start in chunks of any size', async () => {
    const path = join(await tempDir(), 'file')
    const content = Buffer.from(Array.from({ length: 1000 }, (_, index) => index & 0xff))
    await writeFile(path, content)
    for (const startByte of [0, 1, 999, 1000, 5000]) {
      for (const chunkBytes of [1, 7, 1000, 4096]) {
        ok((await collect(nodeFiles.read(path, { startByte, chunkBytes }))).equals(content.subarray(startByte)))
      }
    }
  })

  test('read() left early closes the file', async () => {
    const path = join(await tempDir(), 'file')
    await writeFile(path, Buffer.alloc(100_000))
    const before = openHandles()
    for (let round = 0; round < 20; round++) {
      for await (const chunk of nodeFiles.read(path, { chunkBytes: 1000 })) {
        equal(chunk.byteLength, 1000)
        break
      }
    }
    equal(openHandles(), before)
  })

  test('read() refuses links with ELOOP, and directories and FIFOs, without waiting, with EINVAL', async () => {
    const directory = await tempDir()
    await writeFile(join(directory, 'file'), 'x')
    await symlink('file', join(directory, 'link'))
    execFileSync('mkfifo', [join(directory, 'fifo')])
    await rejects(collect(nodeFiles.read(join(directory, 'link'))), { code: 'ELOOP', path: join(directory, 'link') })
    for (const path of [join(directory, 'fifo'), directory]) await rejects(collect(nodeFiles.read(path)), { code: 'EINVAL', path })
    await rejects(collect(nodeFiles.read(join(directory, 'nothing'))), { code: 'ENOENT' })
  })

  test('info() tells what is there, following no link', async () => {
    const directory = await tempDir()
    await writeFile(join(directory, 'file'), 'abc')
    await chmod(join(directory, 'file'), 0o640)
    await symlink('file', join(directory, 'link'))
    const info = await nodeFiles.info(join(directory, 'file'))
    deepEqual([info?.type, info?.bytes, info?.mode, info?.ownerId], ['file', 3, 0o640, process.getuid?.()])
    equal((await nodeFiles.info(directory))?.type, 'directory')
    equal((await nodeFiles.info(join(directory, 'link')))?.type, 'other')
    equal(await nodeFiles.info(join(directory, 'nothing')), undefined)
    await rejects(nodeFiles.info(join(directory, 'file', 'below')), { code: 'ENOTDIR' })
  })

  test('list() sorts, makeDirectory() makes one with mode 0700 and refuses what is there', async () => {
    const directory = await tempDir()
    for (const name of ['b', 'a', 'C']) await nodeFiles.makeDirectory(join(directory, name))
    deepEqual(await nodeFiles.list(directory), ['C', 'a', 'b'])
    equal((await lstat(join(directory, 'a'))).mode & 0o7777, 0o700)
    await rejects(nodeFiles.makeDirectory(join(directory, 'a')), { code: 'EEXIST' })
    await rejects(nodeFiles.makeDirectory(join(directory, 'x', 'y')), { code: 'ENOENT' })
  })

  test('rename() replaces a file and refuses a directory that is not empty', async () => {
    const directory = await tempDir()
    const [from, to, full] = [join(directory, 'from'), join(directory, 'to'), join(directory, 'full')]
    await writeFile(from, 'new')
    await writeFile(to, 'old')
    await nodeFiles.rename(from, to)
    equal(await readFile(to, 'utf8'), 'new')
    for (const path of [from, full]) await mkdir(path)
    await writeFile(join(full, 'file'), 'x')
    await rejects(nodeFiles.rename(from, full), (error) => isSystemError(error, 'ENOTEMPTY', 'EEXIST'))
  })

  test('syncDirectory() takes directories and links to them, syncFile() files alone', async () => {
    const directory = await tempDir()
    await writeFile(join(directory, 'file'), 'x')
    await symlink(directory, join(directory, 'link'))
    await nodeFiles.syncDirectory(directory)
    await nodeFiles.syncDirectory(join(directory, 'link'))
    await nodeFiles.syncFile(join(directory, 'file'))
    await rejects(nodeFiles.syncDirectory(join(directory, 'file')), { code: 'ENOTDIR' })
    await rejects(nodeFiles.syncFile(join(directory, 'link')), { code: 'ELOOP' })
  })

  test.each(['ENOSYS', 'ENOTSUP', 'EPERM'])('space() does not know the free bytes where statfs answers %s', async (code) => {
    const spy = vi.spyOn(fileSystem, 'statfs').mockRejectedValue(systemError(code, 'statfs', '/'))
    syncBuiltinESMExports()
    try {
      deepEqual(await nodeFiles.space('/'), { freeBytes: undefined, type: 0 })
    } finally {
      spy.mockRestore()
      syncBuiltinESMExports()
    }
  })

  test('space() tells the free bytes and the type of the file system', async () => {
    const { freeBytes, type } = await nodeFiles.space(await tempDir())
    ok(freeBytes !== undefined && freeBytes > 0 && type > 0)
  })
})

/** A file that tells what was called and ends a flush when told to. */
function fakeFile(): { file: WritableFile; calls: string[]; endFlush: (error?: Error) => void } {
  const calls: string[] = []
  let end: ((error?: Error) => void) | undefined
  const file: WritableFile = {
    write: async (chunk) => void calls.push(`write ${chunk.byteLength}`),
    flush: () => {
      calls.push('flush')
      return new Promise((done, fail) => {
        end = (error) => {
          calls.push('flushed')
          if (error === undefined) done()
          else fail(error)
        }
      })
    },
    sync: async () => void calls.push('sync'),
    close: async () => void calls.push('close'),
  }
  return { file, calls, endFlush: (error) => end?.(error) }
}

describe('makeDirectories()', () => {
  test('makes what is missing, private, and says what it made', async () => {
    const directory = await tempDir()
    const [a, b] = [join(directory, 'a'), join(directory, 'a', 'b')]
    deepEqual(await makeDirectories(b), [a, b])
    equal((await lstat(b)).mode & 0o777, 0o700)
    deepEqual(await makeDirectories(b), [])
    await writeFile(join(b, 'file'), '')
    await rejects(makeDirectories(join(b, 'file')), { code: 'EEXIST' })
    await rejects(makeDirectories(join(b, 'file', 'c')), { code: 'ENOTDIR' })
  })
})

describe('writeBehind()', () => {
  test('flushes after so many bytes, beside further writes, one flush at a time', async () => {
    const { file, calls, endFlush } = fakeFile()
    const behind = writeBehind(file, 100)
    await behind.write(new Uint8Array(60))
    await behind.write(new Uint8Array(60))
    await behind.write(new Uint8Array(60))
    const blocked = behind.write(new Uint8Array(61))
    await setImmediate()
    deepEqual(calls, ['write 60', 'write 60', 'flush', 'write 60', 'write 61'])
    endFlush()
    await blocked
    deepEqual(calls.slice(5), ['flushed', 'flush'])
    endFlush()
  })

  test('sync() and close() wait for the flush under way', async () => {
    for (const last of ['sync', 'close'] as const) {
      const { file, calls, endFlush } = fakeFile()
      const behind = writeBehind(file, 1)
      await behind.write(new Uint8Array(1))
      const ending = behind[last]()
      await setImmediate()
      deepEqual(calls, ['write 1', 'flush'])
      endFlush()
      await ending
      deepEqual(calls, ['write 1', 'flush', 'flushed', last])
    }
  })

  test('a flush that failed fails every later write and sync, which are not tried', async () => {
    const { file, calls, endFlush } = fakeFile()
    const behind = writeBehind(file, 1)
    await behind.write(new Uint8Array(1))
    const error = systemError('EIO', 'fdatasync', '/x')
    endFlush(error)
    for (let round = 0; round < 2; round++) {
      await rejects(behind.sync(), error)
      await rejects(behind.write(new Uint8Array(1)), error)
      await rejects(behind.flush(), error)
    }
    await behind.close()
    deepEqual(calls, ['write 1', 'flush', 'flushed', 'close'])
  })
})

describe('replaceFile()', () => {
  test('creates and replaces with mode 0600, over a leftover of an earlier try or a link planted there', async () => {
    const directory = await tempDir()
    const path = join(directory, 'pointer')
    await writeFile(join(directory, 'precious'), 'precious')
    await replaceFile(nodeFiles, path, bytes('one'))
    await writeFile(`${path}.tmp`, 'leftover')
    await replaceFile(nodeFiles, path, bytes('two'))
    await symlink('precious', `${path}.tmp`)
    await replaceFile(nodeFiles, path, bytes('three'))
    equal(await readFile(path, 'utf8'), 'three')
    equal(await readFile(join(directory, 'precious'), 'utf8'), 'precious')
    equal((await lstat(path)).mode & 0o7777, 0o600)
    deepEqual((await readdir(directory)).toSorted(), ['pointer', 'precious'])
  })

  test('replaces a link itself, not what it points to', async () => {
    const directory = await tempDir()
    await writeFile(join(directory, 'precious'), 'precious')
    await symlink('precious', join(directory, 'pointer'))
    await replaceFile(nodeFiles, join(directory, 'pointer'), bytes('new'))
    equal(await readFile(join(directory, 'precious'), 'utf8'), 'precious')
    equal(await readFile(join(directory, 'pointer'), 'utf8'), 'new')
  })

  test.each(['write', 'sync', 'close', 'rename'])('leaves the old content and nothing else when %s fails, and tries no fsync again', async (call) => {
    const directory = await tempDir()
    const path = join(directory, 'pointer')
    await writeFile(path, 'old')
    const syncs: string[] = []
    const files = interceptFiles(nodeFiles, async (step, run) => {
      if (step.call === 'sync') syncs.push(step.path)
      if (step.call !== call) return await run()
      if (call === 'close') await run()
      throw systemError('EIO', call, step.path)
    })
    await rejects(replaceFile(files, path, bytes('new')), { code: 'EIO', syscall: call })
    equal(await readFile(path, 'utf8'), 'old')
    deepEqual(await readdir(directory), ['pointer'])
    ok(syncs.length <= 1)
  })
})

describe('removeTree()', () => {
  test('removes all below, following no link; nothing there is fine', async () => {
    const directory = await tempDir()
    const outside = await tempDir()
    await writeFile(join(outside, 'precious'), 'precious')
    await mkdir(join(directory, 'tree', 'a', 'b'), { recursive: true })
    await writeFile(join(directory, 'tree', 'a', 'b', 'file'), 'x')
    await symlink(outside, join(directory, 'tree', 'a', 'link'))
    await symlink(outside, join(directory, 'link'))
    await removeTree(nodeFiles, join(directory, 'tree'))
    await removeTree(nodeFiles, join(directory, 'tree'))
    await removeTree(nodeFiles, join(directory, 'link'))
    deepEqual(await readdir(directory), [])
    equal(await readFile(join(outside, 'precious'), 'utf8'), 'precious')
  })
})

describe('syncTree()', () => {
  test('makes files and directories durable, innermost first, and passes over links', async () => {
    const directory = await tempDir()
    await mkdir(join(directory, 'a', 'b'), { recursive: true })
    for (const name of ['a/b/one', 'a/two', 'three']) await writeFile(join(directory, name), 'x')
    await symlink('three', join(directory, 'link'))
    const synced: string[] = []
    const files: Files = {
      ...nodeFiles,
      syncFile: async (path) => void synced.push(path.slice(directory.length)),
      syncDirectory: async (path) => void synced.push(`${path.slice(directory.length)}/`),
    }
    await syncTree(files, directory)
    deepEqual(synced, ['/a/b/one', '/a/b/', '/a/two', '/a/', '/three', '/'])
  })
})

describe('readSmallFile()', () => {
  test('gives the bytes, undefined where nothing is, EFBIG above the limit without reading on', async () => {
    const path = join(await tempDir(), 'file')
    equal(await readSmallFile(nodeFiles, path, 10), undefined)
    await writeFile(path, '0123456789')
    equal((await readSmallFile(nodeFiles, path, 10))?.toString(), '0123456789')
    await rejects(readSmallFile(nodeFiles, path, 9), { code: 'EFBIG', path })
    let chunks = 0
    const endless: Files = {
      ...nodeFiles,
      async *read() {
        for (;;) {
          chunks += 1
          yield new Uint8Array(1000)
        }
      },
    }
    await rejects(readSmallFile(endless, path, 5000), { code: 'EFBIG' })
    equal(chunks, 6)
  })
})

describe('removeIfThere() and isSystemError()', () => {
  test('pass over what is gone and rethrow the rest', async () => {
    const directory = await tempDir()
    await removeIfThere(nodeFiles, join(directory, 'nothing'))
    await rejects(removeIfThere(nodeFiles, directory), (error) => isSystemError(error, 'EISDIR', 'EPERM'))
    ok(isSystemError(systemError('EIO', 'read', '/x')) && !isSystemError(systemError('EIO', 'read', '/x'), 'EPERM'))
    ok(!isSystemError(new Error('x')) && !isSystemError(undefined) && !isSystemError({ code: 'EIO' }))
  })
})
