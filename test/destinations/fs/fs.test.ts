import { deepEqual, equal, match, ok, rejects, throws } from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmod, chown, link, lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { describe, onTestFinished, test } from 'vitest'
import { fsDestination } from '../../../destinations/fs/index.ts'
import { newUlid } from '../../../src/util/ulid.ts'
import type { CleanUpReport, Destination } from '../../../src/contracts/destination.ts'
import { isHoldfastError } from '../../../src/errors/errors.ts'
import { type Files, nodeFiles, systemError } from '../../../src/util/files.ts'
import { BAD_BACKUP_IDS, testDestination } from '../../conformance/destination.ts'
import { interceptFiles } from '../../support/faulty-files.ts'
import { tempDir } from '../../support/temp-dir.ts'

function leftoversOf({ removed, kept }: CleanUpReport): readonly (readonly string[])[] {
  return [removed, kept]
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)
const MANIFEST = encode('{}')
const FUTURE = { graceMs: 0, nowMs: Date.now() + 10 ** 9 }

testDestination({
  name: 'fs',
  runner: { describe, test },
  factory: async () => {
    const parent = await mkdtemp(join(tmpdir(), 'holdfast-test-'))
    const path = join(parent, 'root')
    return {
      destination: fsDestination({ path }),
      reopen: () => fsDestination({ path }),
      names: async () => ((await readdir(parent)).length === 0 ? [] : (await readdir(path, { recursive: true })).toSorted()),
      plant: (name, content) => writeFile(join(path, name), content),
      damage: async (backupId, object, content) => {
        await rm(join(path, backupId, object))
        if (content !== undefined) await writeFile(join(path, backupId, object), content)
      },
      cleanup: () => rm(parent, { recursive: true }),
    }
  },
})

async function publish(destination: Destination, backupId: string = newUlid()): Promise<string> {
  const upload = await destination.put(backupId)
  await upload.write('payload', encode('payload'))
  await upload.write('payload-ids', encode('a\n'))
  await upload.publish(MANIFEST)
  return backupId
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const result: T[] = []
  for await (const item of items) result.push(item)
  return result
}

const NOBODY = 65534

/** Runs as a user whom permissions bind, who owns the directory: root is another user meanwhile, anyone else stays who they are. */
async function asUnprivileged<T>(directory: string, body: () => Promise<T>): Promise<T> {
  if (process.geteuid?.() !== 0) return await body()
  await chown(directory, NOBODY, NOBODY)
  process.seteuid?.(NOBODY)
  try {
    return await body()
  } finally {
    process.seteuid?.(0)
  }
}

/** Every method that takes an ID, and the two that take none. */
function everyCall(destination: Destination, backupId: string): Record<string, () => Promise<unknown>> {
  return {
    put: () => destination.put(backupId),
    manifest: () => destination.manifest(backupId),
    open: () => collect(destination.open(backupId, 'payload')),
    stat: () => destination.stat(backupId),
    delete: () => destination.delete(backupId),
    list: () => collect(destination.list()),
    cleanUp: () => destination.cleanUp(FUTURE),
  }
}

describe('fsDestination()', () => {
  test('touches nothing before the first call', async () => {
    const calls: string[] = []
    const spy = new Proxy(nodeFiles, { get: (_, name) => () => calls.push(String(name)) })
    const destination = fsDestination({ path: '/nowhere/at/all', files: spy })
    equal(destination.url, 'file:/nowhere/at/all')
    equal(destination.scheme, 'file')
    deepEqual(calls, [])
  })

  test('refuses an ID that is not a ULID before it touches the file system', async () => {
    const calls: string[] = []
    const spy = new Proxy(nodeFiles, { get: (_, name) => () => calls.push(String(name)) })
    const destination = fsDestination({ path: '/nowhere/at/all', files: spy })
    for (const bad of BAD_BACKUP_IDS) {
      for (const [name, call] of Object.entries(everyCall(destination, bad))) {
        if (name !== 'list' && name !== 'cleanUp') await rejects(call(), { code: 'invalid_argument' })
      }
    }
    deepEqual(calls, [])
  })

  test('refuses a path and options that cannot be', () => {
    throws(() => fsDestination({ path: '' }), { code: 'destination_config_invalid' })
    for (const flushBytes of [0, -1, Number.NaN]) throws(() => fsDestination({ path: 'x', flushBytes }), RangeError)
    throws(() => fsDestination({ path: 'a\0b' }), { code: 'destination_config_invalid' })
  })

  test('rejects with destination_not_found on a missing root, except where put() and validate() make it', async () => {
    const path = join(await tempDir(), 'a', 'b', 'root')
    const destination = fsDestination({ path })
    for (const name of ['manifest', 'open', 'stat', 'delete', 'list', 'cleanUp']) {
      await rejects(everyCall(destination, newUlid())[name]?.() ?? Promise.resolve(), { code: 'destination_not_found', hint: /a backup makes a missing directory/ }, name)
    }
    await destination.validate()
    deepEqual(await readdir(join(path, '..', '..', '..')), [])
    await publish(destination)
    equal((await collect(destination.list())).length, 1)
  })

  test('lets several uploads make the same missing root at once', async () => {
    const path = join(await tempDir(), 'a', 'b', 'root')
    const ids = await Promise.all(Array.from({ length: 10 }, () => publish(fsDestination({ path }))))
    deepEqual(await collect(fsDestination({ path }).list()), ids.toSorted())
    // As a network file system may give names while a directory changes.
    const twice: Files = { ...nodeFiles, list: async (at) => (await nodeFiles.list(at)).flatMap((name) => [name, name]) }
    deepEqual(await collect(fsDestination({ path, files: twice }).list()), ids.toSorted())
  })
})

describe('fsDestination() and planted links', () => {
  test('a root that is a symbolic link or a file is destination_path_conflict, with and without a slash at the end', async () => {
    const parent = await tempDir()
    await mkdir(join(parent, 'elsewhere'))
    await symlink(join(parent, 'elsewhere'), join(parent, 'link'))
    await symlink(join(parent, 'gone'), join(parent, 'dangling'))
    await writeFile(join(parent, 'file'), 'x')
    for (const name of ['link', 'link/', 'link/.', 'dangling', 'file']) {
      const destination = fsDestination({ path: `${parent}/${name}` })
      for (const [call, run] of Object.entries(everyCall(destination, newUlid()))) {
        await rejects(run(), { code: 'destination_path_conflict' }, `${call} at ${name}`)
      }
      await rejects(destination.validate(), { code: 'destination_path_conflict' })
    }
    deepEqual(await readdir(join(parent, 'elsewhere')), [])
  })

  test('a directory above the root may be a link', async () => {
    const parent = await tempDir()
    await mkdir(join(parent, 'real'))
    await symlink('real', join(parent, 'link'))
    const backupId = await publish(fsDestination({ path: join(parent, 'link', 'new', 'root') }))
    deepEqual(await collect(fsDestination({ path: join(parent, 'real', 'new', 'root') }).list()), [backupId])
  })

  test('an ID that is a link to a whole backup, a file or a FIFO is refused by every call and passed over by list() and cleanUp()', async () => {
    const root = await tempDir()
    const outside = await tempDir()
    const whole = await publish(fsDestination({ path: outside }))
    const destination = fsDestination({ path: root })
    const [link, file, fifo] = [newUlid(), newUlid(), newUlid()]
    await symlink(join(outside, whole), join(root, link))
    await writeFile(join(root, file), 'x')
    execFileSync('mkfifo', [join(root, fifo)])
    for (const backupId of [link, file, fifo]) {
      for (const [name, call] of Object.entries(everyCall(destination, backupId))) {
        if (name === 'list') deepEqual(await call(), [])
        else if (name === 'cleanUp') deepEqual(await call(), { removed: [], kept: [], newest: null })
        else await rejects(call(), { code: 'destination_path_conflict' }, name)
      }
    }
    destination.takeWarnings?.()
    for (let listings = 0; listings < 2; listings++) deepEqual(await collect(destination.list()), [])
    deepEqual((destination.takeWarnings?.() ?? []).map(({ code, message }) => [code, message.slice(0, message.indexOf(' is not'))]), [link, file, fifo].toSorted().map((name) => ['not_a_backup', `"${join(root, name)}"`]))
    deepEqual(await collect(destination.list()), [])
    equal(destination.takeWarnings?.().length, 3)
    equal((await readdir(join(outside, whole))).length, 3)
    equal((await readdir(root)).length, 3)
  })

  test('a link at ID.tmp is refused by put() and left by cleanUp(), and what it points to is not touched', async () => {
    const root = await tempDir()
    const outside = await tempDir()
    await writeFile(join(outside, 'payload'), 'precious')
    const backupId = newUlid()
    await symlink(outside, join(root, `${backupId}.tmp`))
    const destination = fsDestination({ path: root })
    await rejects(destination.put(backupId), { code: 'destination_path_conflict' })
    deepEqual((await destination.cleanUp(FUTURE)).removed, [])
    equal(await readFile(join(outside, 'payload'), 'utf8'), 'precious')
  })

  test('a link or a FIFO at payload, payload-ids or manifest.json is listed, refused, never followed, and delete() removes the link alone', async () => {
    const root = await tempDir()
    const outside = join(await tempDir(), 'precious')
    await writeFile(outside, 'precious')
    const destination = fsDestination({ path: root })
    const plants: readonly ((path: string) => unknown)[] = [(path) => symlink(outside, path), (path) => execFileSync('mkfifo', [path])]
    for (const plant of plants) {
      for (const object of ['payload', 'payload-ids'] as const) {
        const backupId = await publish(destination)
        await rm(join(root, backupId, object))
        await plant(join(root, backupId, object))
        await rejects(collect(destination.open(backupId, object)), { code: 'backup_incomplete' })
        await rejects(destination.stat(backupId), { code: 'backup_incomplete' })
        await rejects(destination.manifest(backupId), { code: 'backup_incomplete' })
        await destination.delete(backupId)
      }
      const backupId = await publish(destination)
      await rm(join(root, backupId, 'manifest.json'))
      await plant(join(root, backupId, 'manifest.json'))
      await rejects(destination.manifest(backupId), { code: 'manifest_invalid' })
      deepEqual(await collect(destination.list()), [backupId])
      await destination.delete(backupId)
    }
    equal(await readFile(outside, 'utf8'), 'precious')
    deepEqual(await readdir(root), [])
  })

  test('hard links planted into the upload or over a backup are refused, or lose their name alone: the file elsewhere keeps its content', async () => {
    const root = await tempDir()
    const outside = join(await tempDir(), 'precious')
    await writeFile(outside, 'precious')
    const destination = fsDestination({ path: root })
    const upload = await destination.put(newUlid())
    const [temporary = ''] = await readdir(root)
    await link(outside, join(root, temporary, 'payload'))
    await rejects(upload.write('payload', encode('x')), { code: 'destination_path_conflict' })
    await upload.abort()
    const backupId = await publish(destination)
    await rm(join(root, backupId, 'payload'))
    await link(outside, join(root, backupId, 'payload'))
    await destination.delete(backupId)
    equal(await readFile(outside, 'utf8'), 'precious')
    deepEqual(await readdir(root), [])
  })

  test('files planted into the upload are refused by write() and publish(), not written through', async () => {
    const root = await tempDir()
    const outside = join(await tempDir(), 'precious')
    await writeFile(outside, 'precious')
    const destination = fsDestination({ path: root })
    for (const name of ['payload', 'payload-ids', 'manifest.json']) {
      const backupId = newUlid()
      const upload = await destination.put(backupId)
      await symlink(outside, join(root, `${backupId}.tmp`, name))
      const writing = (async () => {
        await upload.write('payload', encode('x'))
        await upload.write('payload-ids', encode('x'))
        await upload.publish(MANIFEST)
      })()
      await rejects(writing, { code: 'destination_path_conflict' })
      await upload.abort()
    }
    equal(await readFile(outside, 'utf8'), 'precious')
    deepEqual(await readdir(root), [])
  })

  test('publish() refuses when its directory was replaced by a link, or the ID taken by a file, meanwhile', async () => {
    const root = await tempDir()
    const destination = fsDestination({ path: root })
    const [replaced, taken] = [newUlid(), newUlid()]
    const files: Files = {
      ...nodeFiles,
      syncDirectory: async (path) => {
        await nodeFiles.syncDirectory(path)
        if (basename(path) !== `${replaced}.tmp`) return
        await rm(path, { recursive: true })
        await symlink(await tempDir(), path)
      },
    }
    await rejects(publish(fsDestination({ path: root, files }), replaced), { code: 'destination_path_conflict' })
    const upload = await destination.put(taken)
    await writeFile(join(root, taken), 'x')
    await rejects(upload.publish(MANIFEST), { code: 'destination_path_conflict' })
    await upload.abort()
    deepEqual(await collect(destination.list()), [])
    equal(await readFile(join(root, taken), 'utf8'), 'x')
  })

  test('delete() ends well when another delete, or a clean-up, comes between any two of its steps', async () => {
    for (const rival of ['delete', 'cleanUp'] as const) {
      for (let at = 0, reached = true; reached; at++) {
        const path = await tempDir()
        const other = fsDestination({ path })
        const backupId = await publish(other)
        let steps = 0
        const files = interceptFiles(nodeFiles, async (_step, run) => {
          if (steps++ === at) await (rival === 'delete' ? other.delete(backupId) : other.cleanUp(FUTURE))
          return await run()
        })
        await fsDestination({ path, files }).delete(backupId)
        deepEqual(await readdir(path), [], `${rival} before step ${at}`)
        reached = steps > at
      }
    }
  })

  test('cleanUp() and delete() leave a directory that holds what is not Holdfast\'s', async () => {
    const root = await tempDir()
    const destination = fsDestination({ path: root })
    const [left, deleted] = [newUlid(), await publish(destination)]
    await mkdir(join(root, `${left}.tmp`))
    await writeFile(join(root, `${left}.tmp`, 'thesis.txt'), 'precious')
    await writeFile(join(root, deleted, 'thesis.txt'), 'precious')
    deepEqual(leftoversOf(await destination.cleanUp(FUTURE)), [[], []])
    await destination.delete(deleted)
    deepEqual(await readdir(join(root, deleted)), ['thesis.txt'])
    deepEqual(await collect(destination.list()), [])
    equal(await readFile(join(root, `${left}.tmp`, 'thesis.txt'), 'utf8'), 'precious')
    equal(await readFile(join(root, deleted, 'thesis.txt'), 'utf8'), 'precious')
  })
})

describe('fsDestination() permissions', () => {
  test.each([0o000, 0o022, 0o077, 0o177, 0o777])('directories have mode 0700 and files 0600 under umask %i', async (umask) => {
    const parent = await tempDir()
    const root = join(parent, 'missing', 'root')
    const before = process.umask(umask)
    onTestFinished(() => void process.umask(before))
    const destination = fsDestination({ path: root })
    const [backupId, upload] = await asUnprivileged(parent, async () => {
      const begun = await destination.put(newUlid())
      await begun.write('payload', encode('x'))
      return [await publish(destination), begun] as const
    })
    process.umask(before)
    const names = (await readdir(parent, { recursive: true })).toSorted()
    ok(names.length === 2 + 1 + 1 + 4 && names.some((name) => name.endsWith('.tmp')) && names.some((name) => name.endsWith(backupId)))
    for (const name of names) {
      const stats = await lstat(join(parent, name))
      equal(stats.mode & 0o7777, stats.isDirectory() ? 0o700 : 0o600, name)
    }
    await upload.abort()
  })

  test('a directory without write permission is destination_permission_denied', async () => {
    const root = await tempDir()
    await asUnprivileged(root, async () => {
      await chmod(root, 0o500)
      await rejects(fsDestination({ path: root }).put(newUlid()), { code: 'destination_permission_denied' })
      await rejects(fsDestination({ path: root }).validate(), { code: 'destination_permission_denied' })
      await chmod(root, 0o700)
    })
  })

  test('a backup at a root without write permission is not deleted, not even in part', async () => {
    const root = await tempDir()
    await asUnprivileged(root, async () => {
      const destination = fsDestination({ path: root })
      const backupId = await publish(destination)
      await chmod(root, 0o500)
      await rejects(destination.delete(backupId), { code: 'destination_permission_denied', message: `Cannot write to "${root}": mkdir failed with EACCES` })
      deepEqual((await readdir(join(root, backupId))).toSorted(), ['manifest.json', 'payload', 'payload-ids'])
      await chmod(root, 0o700)
      await destination.delete(backupId)
      deepEqual(await readdir(root), [])
    })
  })

  test('a backup can be deleted from a disk that is full', async () => {
    const root = await tempDir()
    const backupId = await publish(fsDestination({ path: root }))
    const files: Files = { ...nodeFiles, makeDirectory: (path) => Promise.reject(systemError('ENOSPC', 'mkdir', path)) }
    await fsDestination({ path: root, files }).delete(backupId)
    deepEqual(await readdir(root), [])
  })

  test('a backup that belongs to another user and is private is destination_permission_denied, and stays', async () => {
    const [root, other] = [await tempDir(), await tempDir()]
    const backupId = await publish(fsDestination({ path: root }))
    await chmod(root, 0o755)
    await asUnprivileged(other, async () => {
      if (process.getuid?.() !== 0) await chmod(join(root, backupId), 0)
      await rejects(fsDestination({ path: root }).manifest(backupId), { code: 'destination_permission_denied' })
      await rejects(fsDestination({ path: root }).delete(backupId), { code: 'destination_permission_denied' })
      if (process.getuid?.() !== 0) await chmod(join(root, backupId), 0o700)
    })
    deepEqual(await collect(fsDestination({ path: root }).list()), [backupId])
  })

  test('validate() warns of a root that others may write to', async () => {
    const root = await tempDir()
    await chmod(root, 0o777)
    deepEqual(
      (await fsDestination({ path: root }).validate()).map(({ code }) => code),
      ['root_world_writable'],
    )
    await chmod(root, 0o700)
    deepEqual(await fsDestination({ path: root }).validate(), [])
  })

  test('validate() warns of a root that belongs to another user', async () => {
    const path = await tempDir()
    const files: Files = {
      ...nodeFiles,
      info: async (at) => {
        const info = await nodeFiles.info(at)
        return info === undefined ? undefined : { ...info, ownerId: 4242 }
      },
    }
    const [warning] = await fsDestination({ path, files }).validate()
    equal(warning?.code, 'root_owner')
    match(warning.message, /user 4242/)
  })

  test.each([
    [0x6969, 'network_file_system'],
    [0x517b, 'network_file_system'],
    [0xff534d42, 'network_file_system'],
    [0xff534d42 | 0, 'network_file_system'],
    [0xfe534d42, 'network_file_system'],
    [0x65735546, 'user_space_file_system'],
    [0x01021994, 'volatile_file_system'],
  ])('validate() warns of a root on file system type %i: %s', async (type, code) => {
    const files: Files = { ...nodeFiles, space: async () => ({ freeBytes: undefined, type }) }
    deepEqual(
      (await fsDestination({ path: await tempDir(), files }).validate()).map((warning) => warning.code),
      [code],
    )
  })
})

describe('fsDestination() errors', () => {
  const EXPECTED: readonly (readonly [string, string])[] = [
    ['EIO', 'destination_unreachable'],
    ['EMFILE', 'destination_unreachable'],
    ['EAGAIN', 'destination_unreachable'],
    ['ESTALE', 'destination_unreachable'],
    ['ENOSPC', 'destination_no_space'],
    ['EDQUOT', 'destination_no_space'],
    ['EFBIG', 'destination_no_space'],
    ['EACCES', 'destination_permission_denied'],
    ['EPERM', 'destination_permission_denied'],
    ['EROFS', 'destination_permission_denied'],
    ['ELOOP', 'destination_path_conflict'],
  ]

  test.each(EXPECTED)('%s is %s, with the operation, the path and the cause', async (systemCode, code) => {
    const path = await tempDir()
    const cause = (at: string): Error => systemError(systemCode, 'open', at)
    const files: Files = {
      ...nodeFiles,
      create: (at) => Promise.reject(cause(at)),
    }
    const upload = await fsDestination({ path, files }).put(newUlid())
    const error = await upload.write('payload', encode('x')).catch((error: unknown) => error)
    ok(isHoldfastError(error))
    equal(error.code, code)
    equal(error.details['operation'], 'create')
    equal(error.details['systemCode'], systemCode)
    match(String(error.details['path']), /\.tmp\/payload$/)
    ok(error.message.includes(String(error.details['path'])) && error.message.includes(systemCode))
    ok(error.cause instanceof Error)
    await upload.abort()
  })

  test.each(['makeDirectory', 'create', 'write', 'sync', 'close', 'read', 'syncDirectory', 'removeFile', 'removeDirectory'])(
    'validate() tries %s, and tells when it fails',
    async (call) => {
      const path = await tempDir()
      const files = interceptFiles(nodeFiles, async (step, run) => {
        if (step.call !== call) return await run()
        if (call === 'close') await run()
        throw systemError('EACCES', call, step.path)
      })
      await rejects(fsDestination({ path, files }).validate(), { code: 'destination_permission_denied' })
    },
  )

  test('validate() does not trust a file system that reads back other bytes than were written', async () => {
    const path = await tempDir()
    const files: Files = {
      ...nodeFiles,
      async *read() {
        yield encode('holdfast prob3\n')
      },
    }
    await rejects(fsDestination({ path, files }).validate(), { code: 'destination_unreachable' })
    deepEqual(await readdir(path), [])
  })

  test('cleanUp() tells the newest backup that is listed, whatever else there is', async () => {
    const path = await tempDir()
    const destination = fsDestination({ path })
    equal((await destination.cleanUp()).newest, null)
    const ids = [newUlid(), newUlid(), newUlid()]
    for (const backupId of ids.slice(0, 2)) await publish(destination, backupId)
    await destination.put(ids[2] ?? '')
    await mkdir(join(path, newUlid()))
    equal((await destination.cleanUp()).newest, ids[1])
  })

  test.each(['payload', 'payload-ids', 'manifest.json', 'ID.tmp', 'root'])('an fsync of %s that fails is never tried again, and the upload is not published', async (name) => {
    const path = await tempDir()
    const backupId = newUlid()
    const target = { root: path, 'ID.tmp': join(path, `${backupId}.tmp`) }[name] ?? join(path, `${backupId}.tmp`, name)
    let failing = true
    const syncs: string[] = []
    const failOnce = async (at: string, sync: () => Promise<void>): Promise<void> => {
      syncs.push(at)
      if (at !== target || !failing) return await sync()
      failing = false
      throw systemError('EIO', 'fsync', at)
    }
    const files: Files = {
      ...nodeFiles,
      create: async (at) => {
        const file = await nodeFiles.create(at)
        return { ...file, sync: () => failOnce(at, () => file.sync()) }
      },
      syncDirectory: (at) => failOnce(at, () => nodeFiles.syncDirectory(at)),
    }
    const destination = fsDestination({ path, files })
    const upload = await destination.put(backupId)
    await upload.write('payload', encode('x'))
    const first = await upload.publish(MANIFEST).catch((error: unknown) => error)
    ok(isHoldfastError(first) && first.code === 'destination_unreachable' && first.message.includes(target))
    await rejects(upload.publish(MANIFEST), first)
    await rejects(upload.write('payload', encode('x')), first)
    equal(syncs.filter((at) => at === target).length, 1)
    await upload.abort()
    deepEqual(await readdir(path), [])
    deepEqual(await collect(destination.list()), [])
  })

  test('a flush that fails in the background fails the upload, though the last fsync would succeed', async () => {
    const path = await tempDir()
    let flushes = 0
    const files: Files = {
      ...nodeFiles,
      create: async (at) => {
        const file = await nodeFiles.create(at)
        return {
          ...file,
          flush: () => {
            flushes += 1
            return flushes === 1 ? Promise.reject(systemError('EIO', 'fdatasync', at)) : file.flush()
          },
        }
      },
    }
    const upload = await fsDestination({ path, files }).put(newUlid())
    const chunk = new Uint8Array(40 * 1024 * 1024)
    await upload.write('payload', chunk)
    await rejects(upload.publish(MANIFEST), { code: 'destination_unreachable' })
    equal(flushes, 1)
    await upload.abort()
    deepEqual(await readdir(path), [])
  })

  test('abort() waits for the call under way', async () => {
    const path = await tempDir()
    const upload = await fsDestination({ path }).put(newUlid())
    const writing = upload.write('payload', new Uint8Array(10_000_000))
    await upload.abort()
    await writing
    deepEqual(await readdir(path), [])
  })

  test('list() that cannot look at a backup rejects rather than leave it out', async () => {
    const path = await tempDir()
    const bad = await publish(fsDestination({ path }))
    await publish(fsDestination({ path }))
    const files: Files = {
      ...nodeFiles,
      info: (at) => (dirname(at) === join(path, bad) ? Promise.reject(systemError('EACCES', 'lstat', at)) : nodeFiles.info(at)),
    }
    await rejects(collect(fsDestination({ path, files }).list()), { code: 'destination_permission_denied' })
  })

  test.each(['rename', 'removeFile', 'removeDirectory'])('cleanUp() of an upload that publishes at its %s leaves it whole or unlisted', async (call) => {
    for (let nth = 0; nth < 3; nth++) {
      const path = await tempDir()
      const backupId = newUlid()
      const upload = await fsDestination({ path }).put(backupId)
      await upload.write('payload', encode('payload'))
      let publishing: Promise<unknown> | undefined
      let seen = 0
      const files = interceptFiles(nodeFiles, async (step, run) => {
        if (step.call === call && seen++ === nth) await (publishing ??= Promise.allSettled([upload.publish(MANIFEST)]))
        return await run()
      })
      await fsDestination({ path, files }).cleanUp(FUTURE)
      await publishing
      const steady = fsDestination({ path })
      for (const listed of await collect(steady.list())) deepEqual((await steady.stat(listed)).bytes, { payload: 7, 'payload-ids': 0 })
      await upload.abort()
      await steady.cleanUp(FUTURE)
      deepEqual(await readdir(path), await collect(steady.list()))
    }
  })

  test('cleanUp() counts the age of an upload from the last write to any of its files', async () => {
    const path = await tempDir()
    const destination = fsDestination({ path })
    const backupId = newUlid()
    const upload = await destination.put(backupId)
    await upload.write('payload', encode('x'))
    const old = new Date(Date.now() - 3 * 24 * 60 * 60 * 1000)
    await utimes(join(path, `${backupId}.tmp`), old, old)
    deepEqual(leftoversOf(await destination.cleanUp()), [[], [`${backupId}.tmp`]])
    await utimes(join(path, `${backupId}.tmp`, 'payload'), old, old)
    deepEqual(leftoversOf(await destination.cleanUp()), [[`${backupId}.tmp`], []])
    await upload.abort()
  })
})
