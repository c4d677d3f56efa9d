/** What the file system of an export or an import cannot do, and what no store can hold. */
import { execFileSync } from 'node:child_process'
import { link, lstat, open, readFile, stat, symlink, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { PayloadDirectory, payloadIdOf } from '../../src/payload-stores/directory/index.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'
import { compareTrees, type ExportCounts, exportTree, type ImportCounts, importTree } from '../../src/trees/index.ts'
import { nodeFiles, systemError } from '../../src/util/files.ts'
import { writeTree } from '../cli/holdfast.ts'
import { interceptFiles } from '../support/faulty-files.ts'
import { canMount, smallDisk } from '../support/small-disk.ts'
import { tempDir } from '../support/temp-dir.ts'

/** The system calls that fail, and with what. */
const refused = new Map<string, string>()

vi.mock('node:fs/promises', async (importOriginal) => {
  const original = await importOriginal<typeof import('node:fs/promises')>()
  const refusing = (name: 'chmod' | 'lchown' | 'link' | 'symlink' | 'utimes' | 'lutimes'): object => ({
    [name]: (...given: readonly unknown[]): unknown => {
      const code = refused.get(name)
      if (code !== undefined) return Promise.reject(Object.assign(new Error(`${code}: ${name}`), { code, syscall: name }))
      return (original[name] as (...given: readonly unknown[]) => unknown)(...given)
    },
  })
  return { ...original, ...refusing('chmod'), ...refusing('lchown'), ...refusing('link'), ...refusing('symlink'), ...refusing('utimes'), ...refusing('lutimes') }
})

beforeEach(() => refused.clear())

/** Imports a tree and exports it, with some system calls refused meanwhile. */
async function exported(dir: string, calls: Readonly<Record<string, string>> = {}): Promise<ExportCounts> {
  await using store = await openMemoryStore()
  const payloads = await PayloadDirectory.open(join(dir, 'payloads'), { create: true })
  await importTree({ directory: join(dir, 'tree'), store, share: 'tree', payloads })
  const { root } = (await store.share('tree')) ?? { root: 0 }
  for (const [call, code] of Object.entries(calls)) refused.set(call, code)
  return await exportTree({ directory: join(dir, 'out'), store, root, payloads })
}

async function imported(directory: string): Promise<{ readonly counts: ImportCounts; readonly modifiedAtNs: bigint | undefined }> {
  await using store = await openMemoryStore()
  const counts = await importTree({ directory, store, share: 'tree' })
  const { root } = (await store.share('tree')) ?? { root: 0 }
  return { counts, modifiedAtNs: (await store.lookup({ parent: root, name: 'file' }))?.modifiedAtNs }
}

describe('exportTree() where the file system does not take everything', () => {
  it.each([
    [{ lchown: 'EINVAL' }, 'owners', 4],
    [{ lchown: 'EPERM' }, 'owners', 4],
    [{ chmod: 'ENOTSUP' }, 'modes', 3],
    [{ utimes: 'EPERM', lutimes: 'ENOSYS' }, 'times', 4],
    [{ symlink: 'EPERM' }, 'symlinks', 1],
    [{ link: 'EPERM' }, 'hardLinks', 1],
    [{ link: 'EMLINK' }, 'hardLinks', 1],
  ] as const)('%j: leaves that out, counts it, and writes the rest', async (calls, what, count) => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { one: 'content', 'sub/other': 'more' })
    await link(join(dir, 'tree/one'), join(dir, 'tree/two'))
    await symlink('one', join(dir, 'tree/soft'))
    const asRoot = vi.spyOn(process, 'geteuid').mockReturnValue(0)
    const counts = await exported(dir, calls).finally(() => asRoot.mockRestore())
    // Directories and files are as many as there are, whichever was refused: root, sub, one (two), other, soft.
    expect(counts.refused).toMatchObject({ [what]: what === 'hardLinks' || what === 'symlinks' ? count : expect.any(Number) as number })
    expect(counts.refused[what]).toBeGreaterThanOrEqual(count)
    expect(Object.values(counts.refused).filter((refusals) => refusals > 0)).toHaveLength(1)
    for (const [name, content] of [['one', 'content'], ['two', 'content'], ['sub/other', 'more']] as const) expect(await readFile(join(dir, 'out', name), 'utf8')).toBe(content)
    expect((await stat(join(dir, 'out/one'))).nlink).toBe(what === 'hardLinks' ? 1 : 2)
  })

  it.each([
    ['was refused', { lchown: 'EPERM' }, 0],
    ['was not tried', {}, 1000],
  ])('where the owner %s, sets no set-user-ID and set-group-ID bits on what belongs to another user', async (_, calls: Readonly<Record<string, string>>, userId) => {
    const dir = await tempDir()
    await using store = await openMemoryStore()
    const { root } = await store.createShare('tree')
    const [uid, gid] = [process.geteuid?.() ?? 0, process.getegid?.() ?? 0]
    const attributes = { type: 'file', mode: 0o6755 } as const
    await store.create({ parent: root, name: 'theirs' }, { ...attributes, uid: uid + 1, gid: gid + 1 })
    await store.create({ parent: root, name: 'group' }, { ...attributes, uid, gid: gid + 1 })
    await store.create({ parent: root, name: 'ours' }, { ...attributes, uid, gid })
    const payloads = await PayloadDirectory.open(join(dir, 'payloads'), { create: true })
    for (const [call, code] of Object.entries(calls)) refused.set(call, code)
    const as = vi.spyOn(process, 'geteuid').mockReturnValue(userId)
    const counts = await exportTree({ directory: join(dir, 'out'), store, root, payloads }).finally(() => as.mockRestore())
    const modeOf = async (name: string): Promise<number> => (await stat(join(dir, 'out', name))).mode & 0o7777
    expect([await modeOf('theirs'), await modeOf('group'), await modeOf('ours')]).toEqual([0o755, 0o755, 0o6755])
    expect(counts.refused.modes).toBe(2)
  })

  it('fails for any other reason, with the path', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { one: 'content' })
    await expect(exported(dir, { chmod: 'EIO' })).rejects.toMatchObject({ code: 'destination_unreachable', message: expect.stringContaining(`"${join(dir, 'out/one')}"`) as string })
  })

  it('gives a file that ends with a hole its size where ftruncate is refused', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { zeros: Buffer.alloc(4096 * 300 + 5), end: Buffer.concat([Buffer.from('x'), Buffer.alloc(100_000)]) })
    const handle = await open('/dev/null')
    const prototype = Object.getPrototypeOf(handle) as { truncate(bytes: number): Promise<void> }
    await handle.close()
    const spy = vi.spyOn(prototype, 'truncate').mockRejectedValue(systemError('EPERM', 'ftruncate', 'x'))
    await exported(dir).finally(() => spy.mockRestore())
    expect((await compareTrees(join(dir, 'tree'), join(dir, 'out'))).differences).toEqual([])
  })

  it('names the file that a full disk kept from being written, also where it has several names', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { one: 'content' })
    await link(join(dir, 'tree/one'), join(dir, 'tree/two'))
    await using store = await openMemoryStore()
    const payloads = await PayloadDirectory.open(join(dir, 'payloads'), { create: true })
    await importTree({ directory: join(dir, 'tree'), store, share: 'tree', payloads })
    const { root } = (await store.share('tree')) ?? { root: 0 }
    const handle = await open('/dev/null')
    const prototype = Object.getPrototypeOf(handle) as { write(): Promise<void> }
    await handle.close()
    const spy = vi.spyOn(prototype, 'write').mockRejectedValue(Object.assign(new Error('ENOSPC: write'), { code: 'ENOSPC', syscall: 'write' }))
    const exporting = exportTree({ directory: join(dir, 'out'), store, root, payloads }).finally(() => spy.mockRestore())
    await expect(exporting).rejects.toMatchObject({ code: 'destination_no_space', message: expect.stringContaining(`"${join(dir, 'out/one')}"`) as string })
  })

  it('keeps holes, at the begin, in the middle and at the end', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { dense: Buffer.alloc(64 * 1024, 'x'), zeros: Buffer.alloc(4096 * 3 + 5) })
    const file = await open(join(dir, 'tree/sparse'), 'w')
    await file.write('middle', 12 * 1024 * 1024 + 17)
    await file.truncate(30 * 1024 * 1024 + 3)
    await file.close()
    await exported(dir)
    const { size, blocks } = await stat(join(dir, 'out/sparse'))
    expect({ size, isSparse: blocks * 512 < 256 * 1024 }).toEqual({ size: 30 * 1024 * 1024 + 3, isSparse: true })
    expect((await compareTrees(join(dir, 'tree'), join(dir, 'out'))).differences).toEqual([])
  })
})

describe('exportTree() and payloads that cannot be read', () => {
  async function exportWith(read: 'EIO' | 'short', dir: string): Promise<unknown> {
    const content = Buffer.alloc(100_000, 'content ')
    await writeTree(join(dir, 'tree'), { file: content })
    await using store = await openMemoryStore()
    await importTree({ directory: join(dir, 'tree'), store, share: 'tree', payloads: await PayloadDirectory.open(join(dir, 'payloads'), { create: true }) })
    const files = interceptFiles(
      {
        ...nodeFiles,
        // The system may give fewer bytes than it was asked for.
        read: (path, options) => nodeFiles.read(path, { ...options, chunkBytes: read === 'short' ? 1001 : options?.chunkBytes }),
      },
      async (step, run) => {
        if (read === 'EIO' && step.call === 'read') throw systemError('EIO', 'read', step.path)
        return await run()
      },
    )
    const payloads = await PayloadDirectory.open(join(dir, 'payloads'), { files })
    const { root } = (await store.share('tree')) ?? { root: 0 }
    await exportTree({ directory: join(dir, 'out'), store, root, payloads })
    return undefined
  }

  it('names the payload and its file when reading it fails', async () => {
    const dir = await tempDir()
    const payloadId = payloadIdOf(Buffer.alloc(100_000, 'content '))
    const path = join(dir, 'payloads', payloadId.slice(0, 2), payloadId.slice(2))
    await expect(exportWith('EIO', dir)).rejects.toMatchObject({
      code: 'destination_unreachable',
      message: `Cannot read payload "${payloadId}" from "${path}": input or output error (EIO)`,
    })
  })

  it('reads on after a short read', async () => {
    const dir = await tempDir()
    await exportWith('short', dir)
    expect((await readFile(join(dir, 'out/file'))).equals(Buffer.alloc(100_000, 'content '))).toBe(true)
  })
})

describe('importTree() and times that no store can hold', () => {
  it.skipIf(!canMount).each([
    ['2300-01-01', 2n ** 63n - 1n],
    ['1600-01-01', -(2n ** 63n)],
  ])('%s becomes the nearest, and the entry is named', async (day, nearest) => {
    const tree = join(await smallDisk('size=1m'), 'tree')
    await writeTree(tree, { file: 'x', other: 'y' })
    execFileSync('touch', ['-m', '-d', `${day}T00:00:00Z`, join(tree, 'file')])
    expect((await lstat(join(tree, 'file'))).mtime.toISOString()).toContain(day)
    const { counts, modifiedAtNs } = await imported(tree)
    expect(counts).toMatchObject({ files: 2, clampedCount: 1, clamped: [join(tree, 'file')] })
    expect(modifiedAtNs).toBe(nearest)
  })

  it('the years between are kept as they are', async () => {
    const tree = join(await tempDir(), 'tree')
    await writeTree(tree, { file: 'x' })
    await utimes(join(tree, 'file'), 1, 9_000_000_000)
    expect(await imported(tree)).toMatchObject({ counts: { clampedCount: 0, clamped: [] }, modifiedAtNs: 9_000_000_000n * 10n ** 9n })
  })
})
