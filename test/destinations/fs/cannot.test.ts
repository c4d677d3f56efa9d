/** What a file system cannot do is done without and told once; what it did though it said otherwise counts as done. */
import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdir, open, readdir, readFile, rename, rm, unlink, writeFile } from 'node:fs/promises'
import { constants } from 'node:os'
import { basename, join } from 'node:path'
import { describe, onTestFinished, test, vi } from 'vitest'
import { fsDestination } from '../../../destinations/fs/index.ts'
import { runBackup } from '../../../src/backup/run-backup.ts'
import type { Destination } from '../../../src/contracts/destination.ts'
import { isHoldfastError } from '../../../src/errors/errors.ts'
import { deleteBackup } from '../../../src/repository/delete-backups.ts'
import { type Files, nodeFiles, systemError } from '../../../src/util/files.ts'
import { asHoldfastError } from '../../../src/util/system-errors.ts'
import { newUlid } from '../../../src/util/ulid.ts'
import { FakeStore } from '../../support/fake-store.ts'
import { type Call, interceptFiles } from '../../support/faulty-files.ts'
import { collect } from '../../support/collect.ts'
import { canMount, smallDisk } from '../../support/small-disk.ts'
import { tempDir } from '../../support/temp-dir.ts'

const MANIFEST = new TextEncoder().encode('{}')
const FUTURE = { graceMs: 0, nowMs: Date.now() + 10 ** 9 }

async function publish(destination: Destination, backupId: string = newUlid()): Promise<string> {
  const upload = await destination.put(backupId)
  await upload.write('payload', MANIFEST)
  await upload.publish(MANIFEST)
  return backupId
}

const codesOf = (warnings: readonly { readonly code: string }[] | undefined): readonly string[] => (warnings ?? []).map(({ code }) => code)

/** The real files, on which a call answers an error without being done. */
function refusing(call: Call, code: string): Files {
  return interceptFiles(nodeFiles, async (step, run) => {
    if (step.call === call) throw systemError(code, call, step.path)
    return await run()
  })
}

/** Makes every `chmod` of a handle fail as the system does that refuses it. */
async function refuseChmod(code: string): Promise<void> {
  const handle = await open('/dev/null')
  const prototype = Object.getPrototypeOf(handle) as { chmod(mode: number): Promise<void> }
  await handle.close()
  const spy = vi.spyOn(prototype, 'chmod').mockImplementation(() => Promise.reject(Object.assign(new Error(`${code}: fchmod`), { code, syscall: 'fchmod' })))
  onTestFinished(() => spy.mockRestore())
}

/** A file system whose modes are those of its mount. */
const FIXED_MODES: Files = {
  ...nodeFiles,
  info: async (path) => {
    const info = await nodeFiles.info(path)
    return info && { ...info, mode: info.mode | 0o055 }
  },
}

describe('fsDestination() on a file system that keeps no permissions', () => {
  test.each(['ENOTSUP', 'EPERM', 'EINVAL'])('goes on when chmod answers %s, warns once, and leaves nothing else', async (code) => {
    await refuseChmod(code)
    const path = await tempDir()
    const destination = fsDestination({ path, files: FIXED_MODES })
    const [first, second] = [await runBackup({ store: FakeStore.of(1), destination }), await runBackup({ store: FakeStore.of(1), destination })]
    deepEqual(first.warnings.map((warning) => 'code' in warning && warning.code), ['permissions_not_kept'])
    deepEqual(second.warnings, [])
    deepEqual((await readdir(path)).toSorted(), [first.backupId, second.backupId])
    deepEqual(codesOf(await destination.validate()), ['permissions_not_kept'])
    deepEqual(codesOf(destination.takeWarnings?.()), [])
    deepEqual(codesOf(await fsDestination({ path, files: FIXED_MODES }).validate()), ['permissions_not_kept'])
  })

  test('does not warn where modes are kept', async () => {
    const destination = fsDestination({ path: await tempDir() })
    await publish(destination)
    deepEqual(destination.takeWarnings?.(), [])
  })

  test('a chmod that fails otherwise leaves neither the file nor the directory that it was for', async () => {
    await refuseChmod('EIO')
    const path = await tempDir()
    await rejects(nodeFiles.create(join(path, 'file')), { code: 'EIO', path: join(path, 'file') })
    await rejects(nodeFiles.makeDirectory(join(path, 'directory')), { code: 'EIO', path: join(path, 'directory') })
    deepEqual(await readdir(path), [])
  })
})

describe('fsDestination() on a file system that cannot sync directories', () => {
  test.each(['EINVAL', 'ENOTSUP', 'EBADF'])('publishes, deletes and cleans up when fsync answers %s, and warns once', async (code) => {
    const path = join(await tempDir(), 'made', 'root')
    const destination = fsDestination({ path, files: refusing('syncDirectory', code) })
    const { backupId, warnings } = await runBackup({ store: FakeStore.of(1), destination })
    deepEqual(warnings.map((warning) => 'code' in warning && warning.code), ['directories_not_synced'])
    const other = await publish(destination)
    deepEqual(await collect(destination.list()), [backupId, other])
    await destination.delete(other)
    await mkdir(join(path, newUlid()))
    equal((await destination.cleanUp(FUTURE)).removed.length, 1)
    deepEqual(codesOf(destination.takeWarnings?.()), [])
    deepEqual(codesOf(await destination.validate()), ['directories_not_synced'])
    deepEqual(await readdir(path), [backupId])
  })

  test('an fsync of a directory that fails with EIO fails the backup all the same', async () => {
    const path = await tempDir()
    await rejects(publish(fsDestination({ path, files: refusing('syncDirectory', 'EIO') })), { code: 'destination_unreachable' })
  })
})

describe('fsDestination() where the system answers what Node has no name for', () => {
  test.each([
    [constants.errno.EDQUOT, 'EDQUOT', 'destination_no_space'],
    [constants.errno.ESTALE, 'ESTALE', 'destination_unreachable'],
  ] as const)('%i is told as %s', async (errno, name, code) => {
    const [path, said] = [await tempDir(), `Unknown system error -${errno}`]
    const failure = Object.assign(new Error(said), { code: said, errno: -errno, syscall: 'open' })
    const destination = fsDestination({ path, files: { ...nodeFiles, create: () => Promise.reject(failure) } })
    await rejects(publish(destination), (error: Error) => isHoldfastError(error) && error.code === code && error.message.endsWith(`open failed with ${name}`))
    equal(asHoldfastError(failure, 'write "x"').code, code)
    ok(asHoldfastError(failure, 'write "x"').message.includes(`(${name})`))
  })
})

describe('fsDestination() over NFS, where the answer to a rename is lost', () => {
  /** Renames as told, and then answers as the repetition of a rename that was done, or as a server that cannot be reached. */
  function losing(renames: (from: string, to: string) => Promise<unknown>, code = 'ENOENT'): Files {
    return {
      ...nodeFiles,
      rename: async (from, to) => {
        await renames(from, to)
        throw systemError(code, 'rename', from)
      },
    }
  }

  test.each(['ENOENT', 'EIO', 'ETIMEDOUT', 'ESTALE'])('a backup that was published counts as published when the answer is %s', async (code) => {
    const path = await tempDir()
    const destination = fsDestination({ path, files: losing(rename, code) })
    const { backupId } = await runBackup({ store: FakeStore.of(1), destination })
    deepEqual(await collect(fsDestination({ path }).list()), [backupId])
    deepEqual(await readdir(path), [backupId])
  })

  test.each([
    ['nothing was done', async () => undefined],
    ['the upload is gone, and nothing is there', (from: string) => rm(from, { recursive: true })],
    ['the upload is gone, and another backup is there', async (from: string, to: string) => {
      await rm(from, { recursive: true })
      await mkdir(to)
      await writeFile(join(to, 'manifest.json'), '{"other":1}')
    }],
  ])('a backup is not published when %s', async (_, renames) => {
    const path = await tempDir()
    const backupId = newUlid()
    const upload = await fsDestination({ path, files: losing(renames) }).put(backupId)
    await rejects(upload.publish(MANIFEST), { code: 'destination_not_found', message: `Cannot publish "${join(path, backupId)}": rename failed with ENOENT` })
    await upload.abort()
    ok(!(await readdir(path)).includes(`${backupId}.tmp`))
  })

  test('a clean-up removes a leftover in the same call', async () => {
    const path = await tempDir()
    const leftover = `${newUlid()}.tmp`
    await mkdir(join(path, leftover))
    await writeFile(join(path, leftover, 'payload'), 'x')
    deepEqual((await fsDestination({ path, files: losing(rename) }).cleanUp(FUTURE)).removed, [leftover])
    deepEqual(await readdir(path), [])
  })
})

describe('fsDestination() and files of others in a backup', () => {
  test('a delete removes what is Holdfast\'s and names the rest; once that is gone, a clean-up ends it', async () => {
    const path = await tempDir()
    const destination = fsDestination({ path })
    const backupId = await publish(destination)
    await writeFile(join(path, backupId, 'NOTE.txt'), 'of the operator')
    const { wasListed, warnings } = await deleteBackup({ destination, backupId, force: true })
    ok(wasListed)
    deepEqual(warnings.map((warning) => 'code' in warning && warning.code), ['foreign_files_left'])
    equal(warnings[0]?.message, `"${join(path, backupId)}" stays, because it has files in it that are not Holdfast's: "NOTE.txt"`)
    deepEqual(await readdir(join(path, backupId)), ['NOTE.txt'])
    deepEqual((await destination.cleanUp(FUTURE)).removed, [])
    await unlink(join(path, backupId, 'NOTE.txt'))
    deepEqual((await destination.cleanUp(FUTURE)).removed, [backupId])
    deepEqual(await readdir(path), [])
  })

  test('a clean-up leaves a leftover with a file of others as it is, names both, and removes it once that is gone', async () => {
    const path = await tempDir()
    const destination = fsDestination({ path })
    const leftovers = [`${newUlid()}.tmp`, newUlid()].toSorted()
    for (const name of leftovers) {
      await mkdir(join(path, name))
      await writeFile(join(path, name, 'payload'), 'x')
      await writeFile(join(path, name, 'NOTE.txt'), 'of the operator')
    }
    deepEqual((await destination.cleanUp(FUTURE)).removed, [])
    deepEqual(destination.takeWarnings?.(), leftovers.map((name) => ({
      code: 'foreign_files_left',
      message: `"${join(path, name)}" stays, because it has files in it that are not Holdfast's: "NOTE.txt"`,
    })))
    for (const name of leftovers) {
      equal(await readFile(join(path, name, 'NOTE.txt'), 'utf8'), 'of the operator')
      await unlink(join(path, name, 'NOTE.txt'))
    }
    deepEqual((await destination.cleanUp(FUTURE)).removed, leftovers)
    deepEqual([await readdir(path), destination.takeWarnings?.()], [[], []])
  })

  test('a file that NFS keeps for a reader is not told of; once it has vanished, a clean-up ends the delete', async () => {
    const path = await tempDir()
    const destination = fsDestination({ path })
    const backupId = await publish(destination)
    const kept = join(path, backupId, '.nfs00000001')
    await writeFile(kept, 'open elsewhere')
    await destination.delete(backupId)
    deepEqual([(await destination.cleanUp(FUTURE)).removed, await readdir(path), destination.takeWarnings?.()], [[], [backupId], []])
    await unlink(kept)
    deepEqual((await destination.cleanUp(FUTURE)).removed, [backupId])
  })
})

test.skipIf(!canMount)('cleanUp() removes a leftover in a lower layer of overlayfs, which cannot be renamed', async (context) => {
  const disk = await smallDisk('size=4m')
  const [lower, upper, work, root] = ['lower', 'upper', 'work', 'root'].map((name) => join(disk, name)) as [string, string, string, string]
  const leftover = join(lower, `${newUlid()}.tmp`)
  for (const path of [leftover, upper, work, root]) await mkdir(path, { recursive: true })
  await writeFile(join(leftover, 'payload'), 'x')
  try {
    execFileSync('mount', ['-t', 'overlay', '-o', `lowerdir=${lower},upperdir=${upper},workdir=${work},redirect_dir=off`, 'overlay', root], { stdio: 'ignore' })
  } catch {
    context.skip()
  }
  try {
    await rejects(rename(join(root, basename(leftover)), join(root, 'x')), { code: 'EXDEV' })
    deepEqual((await fsDestination({ path: root }).cleanUp(FUTURE)).removed, [basename(leftover)])
    deepEqual(await readdir(root), [])
    await publish(fsDestination({ path: root }))
  } finally {
    execFileSync('umount', [root])
  }
})

