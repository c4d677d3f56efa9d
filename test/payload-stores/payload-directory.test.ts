import { readdirSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Files, nodeFiles, systemError } from '../../src/util/files.ts'
import type { StoredPayload } from '../../src/contracts/payload-store.ts'
import { PayloadDirectory, type PayloadDirectoryOptions, payloadIdOf } from '../../src/payload-stores/directory/payload-directory.ts'
import { quickFiles } from '../support/faulty-files.ts'
import { tempDir } from '../support/temp-dir.ts'

const bytesOf = (index: number): Uint8Array => Buffer.from(`payload ${index}`)

/** A directory of some payloads that were written an hour ago. */
async function filled(count: number, options?: PayloadDirectoryOptions): Promise<PayloadDirectory> {
  const path = join(await tempDir(), 'payloads')
  const payloads = await PayloadDirectory.open(path, { files: quickFiles, ...options, create: true })
  for (let index = 0; index < count; index++) {
    const payloadId = payloadIdOf(bytesOf(index))
    await payloads.put(payloadId, bytesOf(index))
    utimesSync(join(path, payloadId.slice(0, 2), payloadId.slice(2)), Date.now() / 1000 - 3600, Date.now() / 1000 - 3600)
  }
  return payloads
}

async function listed(payloads: PayloadDirectory): Promise<readonly StoredPayload[]> {
  const found: StoredPayload[] = []
  for await (const page of payloads.list()) found.push(...page)
  return found
}

const countOf = ({ path }: PayloadDirectory): number => readdirSync(path).flatMap((name) => readdirSync(join(path, name))).length

describe('PayloadDirectory put()', () => {
  it('renews what is there, so that a sweep that listed it before leaves it', async () => {
    const payloads = await filled(2)
    const before = await listed(payloads)
    const renewed = payloadIdOf(bytesOf(1))
    expect(await payloads.put(renewed, bytesOf(1))).toBe(false)
    expect(await payloads.deleteUnchanged(before)).toEqual([payloadIdOf(bytesOf(0))])
    expect(await listed(payloads)).toMatchObject([{ payloadId: renewed }])
  })

  it('writes a payload that was deleted after it was looked at', async () => {
    const files: Files = {
      ...quickFiles,
      async renewFile(path) {
        await nodeFiles.removeFile(path)
        await nodeFiles.renewFile(path)
      },
    }
    const payloads = await filled(1, { files })
    expect(await payloads.put(payloadIdOf(bytesOf(0)), bytesOf(0))).toBe(true)
    expect(countOf(payloads)).toBe(1)
  })
})

describe('PayloadDirectory put() on a file system that accepts new times and ignores them', () => {
  it('writes what is there anew, after a wait for the first alone', async () => {
    const payloads = await filled(3, { files: { ...quickFiles, renewFile: () => Promise.resolve() } })
    const before = await listed(payloads)
    for (let index = 0; index < 3; index++) expect(await payloads.put(payloadIdOf(bytesOf(index)), bytesOf(index))).toBe(true)
    expect(await payloads.deleteUnchanged(before)).toEqual([])
  }, 8_000)
})

describe('PayloadDirectory put() on a file system that refuses new times', () => {
  it.each(['EPERM', 'EACCES', 'ENOTSUP', 'ENOSYS', 'EINVAL'])('writes what is there anew when it answers %s', async (code) => {
    const payloads = await filled(2, { files: { ...quickFiles, renewFile: (path) => Promise.reject(systemError(code, 'lutime', path)) } })
    const before = await listed(payloads)
    for (let index = 0; index < 2; index++) expect(await payloads.put(payloadIdOf(bytesOf(index)), bytesOf(index))).toBe(true)
    expect(await payloads.deleteUnchanged(before)).toEqual([])
  })

  it('renews the others when it refuses that of one file', async () => {
    const other = payloadIdOf(bytesOf(0)).slice(2)
    const renewFile: Files['renewFile'] = (path) => (path.endsWith(other) ? Promise.reject(systemError('EPERM', 'lutime', path)) : nodeFiles.renewFile(path))
    const payloads = await filled(3, { files: { ...quickFiles, renewFile } })
    const written = []
    for (let index = 0; index < 3; index++) written.push(await payloads.put(payloadIdOf(bytesOf(index)), bytesOf(index)))
    expect(written).toEqual([true, false, false])
  })

  it('fails for any other reason', async () => {
    const payloads = await filled(1, { files: { ...quickFiles, renewFile: (path) => Promise.reject(systemError('EIO', 'lutime', path)) } })
    await expect(payloads.put(payloadIdOf(bytesOf(0)), bytesOf(0))).rejects.toMatchObject({ code: 'destination_unreachable' })
  })
})

describe('PayloadDirectory deleteUnchanged()', () => {
  it('looks again every 64 payloads whether it still may, and deletes none from when it may not', async () => {
    let looks = 0
    const payloads = await filled(150, { beforeDelete: () => (++looks === 2 ? Promise.reject(new Error('Not now')) : Promise.resolve()) })
    await expect(payloads.deleteUnchanged(await listed(payloads))).rejects.toThrow('Not now')
    expect(countOf(payloads)).toBe(150 - 64)
  })

  it.each(['EACCES', 'EPERM'])('goes on after one that fails with %s, and tells in the end', async (code) => {
    const stuck = payloadIdOf(bytesOf(3)).slice(2)
    const files: Files = { ...quickFiles, removeFile: (path) => (path.endsWith(stuck) ? Promise.reject(systemError(code, 'unlink', path)) : nodeFiles.removeFile(path)) }
    const payloads = await filled(10, { files })
    const before = await listed(payloads)
    expect(await payloads.deleteUnchanged(before)).toHaveLength(9)
    expect(await listed(payloads)).toMatchObject([{ payloadId: payloadIdOf(bytesOf(3)) }])
    expect(() => payloads.checkDeleted()).toThrow(new RegExp(`^Cannot delete 1 payload that nothing needs, the first of them "[^"]+${stuck}": [^:]+ \\(${code}\\)$`))
  })

  it('has nothing to tell where all went', async () => {
    const payloads = await filled(3)
    await payloads.deleteUnchanged(await listed(payloads))
    payloads.checkDeleted()
  })
})

describe('PayloadDirectory on a file system that cannot do everything', () => {
  const payloadId = payloadIdOf(bytesOf(0))

  it.each(['EINVAL', 'ENOTSUP', 'EBADF'])('does without syncing directories when fsync answers %s, and warns once', async (code) => {
    const files: Files = { ...quickFiles, syncDirectory: (path) => Promise.reject(systemError(code, 'fsync', path)) }
    const payloads = await filled(2, { files })
    for (let round = 0; round < 2; round++) await payloads.sync()
    await payloads.addUser({ storeId: 'store', place: 'level:/srv/store' })
    expect(payloads.takeWarnings().map((warning) => warning.code)).toEqual(['directories_not_synced'])
    await payloads.sync()
    expect(payloads.takeWarnings()).toEqual([])
  })

  it('warns once where permissions are not kept', async () => {
    const info: Files['info'] = async (path) => {
      const found = await nodeFiles.info(path)
      return found && { ...found, mode: found.mode | 0o055 }
    }
    expect((await filled(3, { files: { ...quickFiles, info } })).takeWarnings().map((warning) => warning.code)).toEqual(['permissions_not_kept'])
    expect((await filled(3)).takeWarnings()).toEqual([])
  })

  it('counts a payload as written whose rename was done, though the answer was lost', async () => {
    const files: Files = {
      ...quickFiles,
      rename: async (from, to) => {
        await nodeFiles.rename(from, to)
        throw systemError('ENOENT', 'rename', from)
      },
    }
    const payloads = await filled(1, { files })
    expect(await payloads.read(payloadId)).toEqual(bytesOf(0))
  })

  it.each([['EROFS', 'destination_permission_denied'], ['EDQUOT', 'destination_no_space'], ['EIO', 'destination_unreachable']])('names the payload that could not be written for %s', async (system, code) => {
    const files: Files = { ...quickFiles, create: (path) => Promise.reject(systemError(system, 'open', path)) }
    const payloads = await filled(0, { files })
    const path = join(payloads.path, payloadId.slice(0, 2), payloadId.slice(2))
    await expect(payloads.put(payloadId, bytesOf(0))).rejects.toMatchObject({ code, message: expect.stringMatching(`^Cannot write payload "${path}": .*\\(${system}\\)$`) as string })
  })
})
