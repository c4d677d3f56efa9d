import { cp, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { fsDestination } from '../../destinations/fs/index.ts'
import { SECTION_NAMES } from '../../src/stores/level/store/keys.ts'
import { compareTrees } from '../../src/trees/compare-trees.ts'
import { nodeFiles, systemError } from '../../src/util/files.ts'
import { publishCrafted } from '../support/rebuilt-stream.ts'
import { payloadIdsObject, writeStream } from '../support/streams.ts'
import { tempDir } from '../support/temp-dir.ts'
import { holdfast, holdfastProcess, holdfastJson, holdfastOnTerminal, type Outcome, writeTree } from './holdfast.ts'

/** One directory with a store, its payloads and two backups, for all tests; those that change something copy it first. */
let base: string
let [first, second] = ['', '']

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'holdfast-cli-'))
  await writeTree(join(base, 'tree'), { 'a.txt': 'first', 'docs/read me.md': 'text', 'docs/sub/deep': 'x'.repeat(5000), gone: 'bye' })
  await symlink('a.txt', join(base, 'tree/link'))
  await holdfastJson(['import', 'tree', '--store', 'level:store', '--payloads', 'payloads'], { cwd: base })
  first = await backUp(base)
  await writeTree(join(base, 'other'), { 'b.txt': 'second', 'evil\u001b[2J': 'x' })
  await holdfastJson(['import', 'other', '--store', 'level:store', '--payloads', 'payloads'], { cwd: base })
  second = await backUp(base)
})

afterAll(() => rm(base, { recursive: true, force: true }))

async function backUp(cwd: string): Promise<string> {
  const { backupId } = await holdfastJson<{ backupId: string }>(['backup', '--store', 'level:store', '--to', 'file:backups'], { cwd })
  return backupId
}

/** A copy of the directory, removed with the rest. */
async function copy(): Promise<string> {
  const path = await mkdtemp(join(base, 'copy-'))
  for (const name of ['store', 'payloads', 'backups', 'tree']) await cp(join(base, name), join(path, name), { recursive: true, preserveTimestamps: true, verbatimSymlinks: true })
  return path
}

function run(...words: string[]): Promise<Outcome> {
  return holdfast(words, { cwd: base })
}

/** What every failure looks like: its code, a sentence, a hint; and no stack trace. */
function expectError({ code, stdout, stderr }: Outcome, exitCode: number, errorCode: string, sentence: RegExp = /./): void {
  expect({ code, stdout }).toEqual({ code: exitCode, stdout: '' })
  expect(stderr).toMatch(new RegExp(`^error: ${errorCode}: [A-Z][^\\n]*[^.\\n]\\nhint: [A-Z][^\\n]*\\n$`))
  expect(stderr).toMatch(sentence)
  expect(stderr).not.toMatch(/\n\s+at |node:internal/)
}

describe('holdfast backup', () => {
  it("prints the manifest's fields as one JSON document, and publishes exactly that manifest", async () => {
    const dir = await copy()
    const { code, stdout, stderr } = await holdfast(['backup', '--store', 'level:store', '--to', 'file:backups', '--json', '--label', 'why=test'], { cwd: dir })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const printed = JSON.parse(stdout) as { backupId: string }
    const manifest = JSON.parse(await readFile(join(dir, 'backups', printed.backupId, 'manifest.json'), 'utf8')) as Record<string, unknown>
    expect(printed).toMatchObject(manifest)
    expect(manifest).toMatchObject({ storeKind: 'level', labels: { why: 'test' }, records: { shares: 2, inodes: 11, entries: 9 } })
  })

  it('compresses when asked to, which the manifest says, and reads it back', async () => {
    const dir = await copy()
    const to = ['backup', '--store', 'level:store', '--to', 'file:backups', '--json']
    const plain = await holdfastJson<{ compression: string; payload: { bytes: number } }>(to, { cwd: dir })
    const zstd = await holdfastJson<typeof plain & { backupId: string }>([...to, '--compress'], { cwd: dir })
    expect([plain.compression, zstd.compression]).toEqual(['none', 'zstd'])
    expect(zstd.payload.bytes).toBeLessThan(plain.payload.bytes)
    expect((await holdfast(['verify', zstd.backupId, '--from', 'file:backups', '--level', 'restore'], { cwd: dir })).code).toBe(0)
    expect((await holdfast([...to, '--compress', 'lzma'], { cwd: dir })).code).toBe(2)
  })

  it('says in a few lines what was done', async () => {
    const dir = await copy()
    const { code, stdout, stderr } = await holdfast(['backup', '--store', 'level:store', '--to', 'file:backups'], { cwd: dir })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^Backed up level:store as [0-9A-Z]{26}: /)
  })

  it('refuses a store that does not exist, and makes none', async () => {
    expectError(await run('backup', '--store', 'level:no-store', '--to', 'file:backups'), 1, 'store_unavailable', /there is none/)
    expect(await readdir(base)).not.toContain('no-store')
  })

  it('refuses a store that another process has open, with exit code 4', async () => {
    const dir = await copy()
    const { openLevelStore } = await import('../../src/stores/level/index.ts')
    await using _held = await openLevelStore(join(dir, 'store'))
    expectError({ ...(await holdfast(['backup', '--store', 'level:store', '--to', 'file:backups'], { cwd: dir })) }, 4, 'store_not_drained')
  })
})

describe('holdfast list and show', () => {
  it('list the manifests in order', async () => {
    const { backups, damaged } = await holdfastJson<{ backups: { backupId: string }[]; damaged: unknown[] }>(['list', '--from', 'file:backups'], { cwd: base })
    expect(backups.map(({ backupId }) => backupId)).toEqual([first, second])
    expect(damaged).toEqual([])
    expect(await holdfastJson(['show', 'latest', '--from', 'file:backups'], { cwd: base })).toEqual(backups[1])
    expect((await holdfast(['show', 'latest', '--from', 'file:backups'], { cwd: base })).stdout).toMatch(/^stream +[^\n]+ bytes\), sha256 /m)
  })

  it('print a table and a list of facts for people', async () => {
    const { stdout } = await run('list', '--from', 'file:backups')
    const [heading, ...rows] = stdout.trimEnd().split('\n')
    expect(heading).toMatch(/^BACKUP +CREATED +STORE +KIND +RECORDS +PAYLOADS +SIZE +LABELS$/)
    expect(rows.map((row) => row.slice(0, 26))).toEqual([first, second])
    expect((await run('show', first, '--from', 'file:backups')).stdout).toMatch(/^backupId +[0-9A-Z]{26}\ncreatedAt +\d{4}-/)
  })

  it('say that there are none at an empty destination', async () => {
    const dir = await mkdtemp(join(base, 'empty-'))
    expect(await holdfast(['list', '--from', `file:${dir}`])).toEqual({ code: 0, stdout: 'There are no backups yet.\n', stderr: '' })
    expect(await holdfastJson(['list', '--from', `file:${dir}`])).toEqual({ backups: [], newer: [], altered: [], damaged: [], missing: [] })
    expectError(await holdfast(['show', 'latest', '--from', `file:${dir}`]), 1, 'manifest_missing')
  })

  it('warn where there are none, but other files', async () => {
    const dir = await mkdtemp(join(base, 'other-'))
    for (const name of ['lost+found', '.hidden', 'b.txt', 'a.txt']) await writeFile(join(dir, name), 'x')
    expect(await holdfast(['list', '--from', `file:${dir}`])).toEqual({
      code: 0,
      stdout: 'There are no backups yet.\n',
      stderr: `warning: "${dir}" has other files in it, such as "a.txt": check that it is the right directory\n`,
    })
    for (const name of ['a.txt', 'b.txt']) await rm(join(dir, name))
    expect(await holdfast(['list', '--from', `file:${dir}`])).toMatchObject({ code: 0, stderr: '' })
  })

  it('say where to look when the directory of one backup is listed', async () => {
    const { code, stdout, stderr } = await run('list', '--from', `file:backups/${first}`)
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'There are no backups yet.\n' })
    expect(stderr).toBe(`This URL names a single backup; list its parent directory: holdfast list --from file:${join(base, 'backups')}\n`)
  })

  it('list what is whole beside what is damaged, and end with exit code 3', async () => {
    const dir = await copy()
    await writeFile(join(dir, 'backups', first, 'manifest.json'), '{}')
    const text = await holdfast(['list', '--from', 'file:backups'], { cwd: dir })
    expect(text.code).toBe(3)
    expect(text.stdout).toContain(`${first}  damaged: manifest_invalid`)
    expect(text.stdout).toContain(second)
    expect(text.stderr).toMatch(/^error: manifest_invalid: /)
    const json = await holdfast(['list', '--from', 'file:backups', '--json'], { cwd: dir })
    expect(JSON.parse(json.stdout)).toMatchObject({ backups: [{ backupId: second }], damaged: [{ backupId: first, error: { code: 'manifest_invalid' } }] })
    expect(json).toMatchObject({ code: 3, stderr: '' })
  })
})

describe('the ID of a backup', () => {
  it('may be cut short, in either case, while it names one', async () => {
    const prefix = commonPrefix(first, second)
    expect((await holdfastJson<{ backupId: string }>(['show', second.slice(0, prefix.length + 1).toLowerCase(), '--from', 'file:backups'], { cwd: base })).backupId).toBe(second)
    expectError(await run('show', prefix, '--from', 'file:backups'), 2, 'invalid_argument', /2 begin with it/)
    expectError(await run('show', '7ZZZ', '--from', 'file:backups'), 1, 'manifest_missing')
    expectError(await run('show', '7ZZZZZZZZZZZZZZZZZZZZZZZZZ', '--from', 'file:backups'), 1, 'manifest_missing')
  })

  it.each(['..', '../backups', '/etc/passwd', 'a/../b', 'LATEST!', '', '0'.repeat(27), 'nul\\0', 'two\nlines', '．．'])('is refused as %j, with exit code 2', async (id) => {
    for (const command of ['show', 'verify', 'ls']) expectError(await run(command, id, '--from', 'file:backups'), 2, 'invalid_argument')
    expectError(await run('delete', id, '--from', 'file:backups', '--yes'), 2, 'invalid_argument')
    expectError(await run('restore', id, '--from', 'file:backups', '--store', 'level:store', '--yes'), 2, 'invalid_argument')
  })

  // A process cannot be given a NUL.
  it.each(['\n', '\0', 'a\0'])('that is whole is refused with %j behind it', async (end) => {
    for (const command of ['show', 'verify', 'ls']) {
      const words = [command, second + end, '--from', `file:${join(base, 'backups')}`]
      expectError(await holdfastOnTerminal(words, { stderrIsTTY: false }), 2, 'invalid_argument')
    }
  })
})

describe('holdfast verify', () => {
  it.each(['manifest', 'checksum', 'content', 'restore'])('passes a whole backup at level %s, and leaves nothing behind', async (level) => {
    const temporary = await tempDir()
    const { stdout } = await holdfast(['verify', 'latest', '--from', 'file:backups', '--level', level, '--json'], { cwd: base, env: { TMPDIR: temporary } })
    expect(JSON.parse(stdout)).toMatchObject({ backupId: second, level, checkedContent: { manifest: 'none', checksum: 'none', content: 'all', restore: 'all' }[level] })
    expect(await readdir(temporary)).toEqual([])
  })

  it('at level payloads, and a backup with --payloads, fail with exit code 3 and the payload that is missing; then nothing is published', async () => {
    const dir = await copy()
    const backup = ['backup', '--store', 'level:store', '--to', 'file:backups', '--payloads', 'payloads']
    const verify = ['verify', 'latest', '--from', 'file:backups', '--level', 'payloads', '--payloads', 'payloads']
    await holdfastJson(backup, { cwd: dir })
    await holdfastJson(verify, { cwd: dir })
    const payloadId = (await readdir(join(dir, 'payloads'), { recursive: true })).map((name) => name.replace('/', '')).find((name) => /^[0-9a-f]{64}$/.test(name)) ?? ''
    await rm(join(dir, 'payloads', payloadId.slice(0, 2), payloadId.slice(2)))
    const before = await readdir(join(dir, 'backups'))
    for (const words of [backup, verify]) {
      expectError(await holdfast(words, { cwd: dir }), 3, 'payload_missing', new RegExp(payloadId))
    }
    expect(await readdir(join(dir, 'backups'))).toEqual(before)
    expectError(await holdfast([...backup.slice(0, -1), 'nowhere'], { cwd: dir }), 1, 'entry_not_found')
  })

  it('says that payloads were looked for, and refuses to be given some that it would not look for', async () => {
    const verify = ['verify', 'latest', '--from', 'file:backups', '--payloads', 'payloads'] as const
    expect((await run(...verify, '--level', 'payloads')).stdout).toMatch(/ payload IDs checked in [^\n]*; every payload is there\n$/)
    for (const level of [[], ['--level', 'manifest'], ['--level', 'restore']]) expectError(await run(...verify, ...level), 2, 'invalid_argument', /Cannot look for payloads at level/)
  })

  it('fails with exit code 3 at one flipped bit, a cut stream and a missing object', async () => {
    const dir = await copy()
    const payload = join(dir, 'backups', first, 'payload')
    const bytes = await readFile(payload)
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 4
    await writeFile(payload, bytes)
    for (const level of ['checksum', 'content', 'restore']) {
      const outcome = await holdfast(['verify', first, '--from', 'file:backups', '--level', level], { cwd: dir })
      expectError(outcome, 3, '(?:checksum_mismatch|restore_corrupt)')
    }
    await truncate(payload, 1000)
    expectError(await holdfast(['verify', first, '--from', 'file:backups'], { cwd: dir }), 3, '(?:backup_incomplete|checksum_mismatch|restore_corrupt)')
    await rm(payload)
    expectError(await holdfast(['verify', first, '--from', 'file:backups'], { cwd: dir }), 3, 'backup_incomplete')
    expect((await holdfast(['verify', second, '--from', 'file:backups'], { cwd: dir })).code).toBe(0)
  })

  it('refuses a level that there is not, with exit code 2', async () => {
    expectError(await run('verify', 'latest', '--from', 'file:backups', '--level', 'deep'), 2, 'invalid_argument', /manifest, checksum, content, restore/)
  })

  it('says what it did not look into, and fails with exit code 3 where records are not what a store writes', async () => {
    const dir = await copy()
    const verify = async (backupId: string, ...options: readonly string[]): Promise<Outcome> => await holdfast(['verify', backupId, '--from', 'file:crafted', ...options], { cwd: dir })
    expect((await run('verify', 'latest', '--from', 'file:backups')).stdout).toMatch(/ checked in [^;\n]*\n$/)
    expect((await run('verify', 'latest', '--from', 'file:backups', '--level', 'checksum')).stdout).toMatch(/; what the frames hold was not checked\n$/)
    const destination = fsDestination({ path: join(dir, 'crafted') })
    const write = async (sections: readonly string[], key: string, value: string): Promise<string> => {
      const ids = await payloadIdsObject([])
      const { bytes } = await writeStream([{ section: sections.indexOf(key.split('/')[0] ?? ''), records: [[key, value]] }], { sections }, ids)
      return await publishCrafted(destination, bytes, { ids: ids.bytes })
    }
    expect((await verify(await write(['things'], 'things/1', 'value'))).stdout).toMatch(/^Good: .*; what the records mean was not checked, for the store is of another maker\n$/)
    expect((await verify(await write(SECTION_NAMES, 'settings/name', '"value"'))).stdout).toMatch(/^Good: .* checked in [^;\n]*\n$/)
    const invalid = await write(SECTION_NAMES, 'settings/name', 'value')
    expectError(await verify(invalid), 3, 'record_invalid', /settings\/name/)
    expect((await verify(invalid, '--level', 'checksum')).code).toBe(0)
  })
})

describe('holdfast restore and rollback', () => {
  it('bring a wrecked store back, and the state before it again', async () => {
    const dir = await copy()
    await wreck(join(dir, 'store'))
    expectError(await holdfast(['export', 'out', '--store', 'level:store', '--payloads', 'payloads', '--share', 'tree'], { cwd: dir }), 1, 'store_unavailable')
    const report = await holdfastJson(['restore', first, '--from', 'file:backups', '--store', 'level:store', '--yes'], { cwd: dir })
    expect(report).toMatchObject({ backupId: first })
    await holdfastJson(['export', 'out', '--store', 'level:store', '--payloads', 'payloads'], { cwd: dir })
    expect((await compareTrees(join(base, 'tree'), join(dir, 'out'))).differences).toEqual([])
  })

  it('go back and forth between the state before and after', async () => {
    const dir = await copy()
    const shares = async (): Promise<unknown> => {
      await holdfastJson(['backup', '--store', 'level:store', '--to', 'file:backups'], { cwd: dir })
      return (await holdfastJson<{ shares: { name: string }[] }>(['ls', 'latest', '--from', 'file:backups'], { cwd: dir })).shares.map(({ name }) => name)
    }
    await holdfastJson(['restore', first, '--from', 'file:backups', '--store', 'level:store', '--yes'], { cwd: dir })
    expect(await shares()).toEqual(['tree'])
    await holdfastJson(['rollback', '--store', 'level:store'], { cwd: dir })
    expect(await shares()).toEqual(['other', 'tree'])
    await holdfastJson(['rollback', '--store', 'level:store'], { cwd: dir })
    expect(await shares()).toEqual(['tree'])
  })

  it('say what will be replaced, and refuse without --yes where there is no terminal to ask at', async () => {
    const dir = await copy()
    const { code, stdout, stderr } = await holdfast(['restore', 'latest', '--from', 'file:backups', '--store', 'level:store'], { cwd: dir })
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^Backup [0-9A-Z]{26} of [^\n]*: level store [^\n]*, [0-9,]+ records, [0-9,]+ payload IDs?, [^\n]*B\n/)
    expect(stderr).toContain('It replaces everything in level:store')
    expect(stderr).toMatch(/\nIt needs about [^\n]*B next to the store, where [^\n]*B are free\n/)
    expect(stderr).toMatch(/\nerror: invalid_argument: Cannot ask for confirmation: .*\nhint: Repeat the command with --yes/)
  })

  it('refuse a rollback where nothing was restored, with exit code 4', async () => {
    const dir = await copy()
    expectError(await holdfast(['rollback', '--store', 'level:store'], { cwd: dir }), 4, 'rollback_unavailable')
  })

  it('refuse the backup of another store with exit code 4, unless it is allowed by name', async () => {
    const dir = await copy()
    await holdfastJson(['import', 'tree', '--store', 'level:stranger'], { cwd: dir })
    const words = ['restore', 'latest', '--from', 'file:backups', '--store', 'level:stranger', '--yes']
    const refused = await holdfast([...words, '--quiet'], { cwd: dir })
    expectError(refused, 4, 'store_id_mismatch')
    expect(await holdfastJson([...words, '--allow-store-id'], { cwd: dir })).toMatchObject({ backupId: second })
  })

  it('ask only when the restore would not be refused, and do nothing without a yes', async () => {
    const dir = await copy()
    await holdfastJson(['import', 'tree', '--store', 'level:stranger'], { cwd: dir })
    const restore = (store: string, answer: string): Promise<Outcome> =>
      holdfastOnTerminal(['restore', 'latest', '--from', `file:${join(dir, 'backups')}`, '--store', `level:${join(dir, store)}`], { answer })
    const refused = await restore('stranger', 'y\n')
    expect(refused).toMatchObject({ code: 4, stdout: '' })
    expect(refused.stderr).toMatch(/^error: store_id_mismatch: /)
    expect(refused.stderr).not.toContain('Restore it?')
    const declined = await restore('store', 'n\n')
    expect(declined.code).toBe(1)
    expect(declined.stderr).toContain('Restore it? [y/N]')
    expect(declined.stderr).toContain('Not confirmed; nothing was done')
    expectError(await holdfast(['rollback', '--store', 'level:store'], { cwd: dir }), 4, 'rollback_unavailable')
    expect(await restore('store', 'y\n')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Restored /) })
  })

  it('make a store where there was none', async () => {
    const dir = await copy()
    expect(await holdfastJson(['restore', 'latest', '--from', 'file:backups', '--store', 'level:new', '--yes'], { cwd: dir })).toMatchObject({ backupId: second })
    await holdfastJson(['export', 'out', '--store', 'level:new', '--payloads', 'payloads', '--share', 'tree'], { cwd: dir })
  })

  it('make it also where its catalog was made anew first, and make nothing where the restore is refused', async () => {
    const dir = await copy()
    await holdfastJson(['catalog', 'rebuild', '--from', 'file:backups', '--catalog', 'lost/catalog'], { cwd: dir })
    await holdfastJson(['restore', 'latest', '--from', 'file:backups', '--store', 'level:lost', '--yes'], { cwd: dir })
    expect(await holdfastJson(['jobs', '--store', 'level:lost'], { cwd: dir })).toMatchObject({ jobs: [{ kind: 'restore', state: 'succeeded', backupId: second }] })
    await truncate(join(dir, 'backups', first, 'payload'), 100)
    expectError(await holdfast(['restore', first, '--from', 'file:backups', '--store', 'level:nowhere', '--yes', '--quiet'], { cwd: dir }), 3, 'backup_incomplete')
    expect(await readdir(dir)).not.toContain('nowhere')
  })

  it('do not go on without a lease after a failure that did not last', async () => {
    const dir = await copy()
    await rm(join(dir, 'store/catalog'), { recursive: true })
    const unhindered = { ...nodeFiles }
    let failures = 0
    const read = vi.spyOn(nodeFiles, 'read').mockImplementation((path, options) => {
      if (path === join(dir, 'backups', first, 'manifest.json') && failures++ === 0) throw systemError('EIO', 'read', path)
      return unhindered.read(path, options)
    })
    onTestFinished(() => read.mockRestore())
    const words = ['restore', first, '--from', `file:${dir}/backups`, '--store', `level:${dir}/store`, '--yes', '--quiet']
    expectError(await holdfastOnTerminal(words), 1, 'destination_unreachable')
    expectError(await holdfast(['rollback', '--store', 'level:store'], { cwd: dir }), 4, 'rollback_unavailable')
  })

  it('go on, with a warning, when the catalog cannot be opened', async () => {
    const dir = await copy()
    const { openLevelCatalog } = await import('../../src/catalog/level/index.ts')
    await using _held = await openLevelCatalog(join(dir, 'store/catalog'))
    for (const words of [['restore', first, '--from', 'file:backups', '--yes', '--quiet'], ['rollback']]) {
      const { code, stderr } = await holdfastProcess([...words, '--store', 'level:store'], { cwd: dir })
      expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringMatching(/^warning: This work is not recorded: Cannot open the catalog: another process has it open, at "[^\n]*"\n$/) })
    }
  })
})

/** Garbage over every file of a store's engines. */
async function wreck(store: string): Promise<void> {
  for (const entry of await readdir(join(store, 'engines'), { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) await writeFile(join(entry.parentPath, entry.name), 'garbage '.repeat(64))
  }
}

async function ls(...words: string[]): Promise<Record<string, unknown>> {
  return await holdfastJson(['ls', ...words, '--from', 'file:backups'], { cwd: base })
}

describe('holdfast ls', () => {
  it('lists shares, directories and single entries, without restoring', async () => {
    expect(await ls('latest')).toMatchObject({ backupId: second, shares: [{ name: 'other' }, { name: 'tree' }] })
    expect(await ls(first, 'tree')).toMatchObject({
      path: 'tree',
      entries: [
        { name: 'a.txt', type: 'file', size: 5 },
        { name: 'docs', type: 'directory' },
        { name: 'gone', type: 'file' },
        { name: 'link', type: 'symlink', symlinkTarget: 'a.txt' },
      ],
    })
    expect(await ls(first, '/tree/docs/sub/')).toMatchObject({ entries: [{ name: 'deep', size: 5000 }] })
    expect(await ls(first, 'tree/docs/read me.md')).toMatchObject({ entries: [{ name: 'read me.md', size: 4 }] })
  })

  it('prints a listing with control characters escaped', async () => {
    const { stdout } = await run('ls', 'latest', 'other', '--from', 'file:backups')
    expect(stdout).toContain('evil\\u001b[2J')
    expect(stdout).not.toContain('\u001b')
    expect(stdout).toMatch(/^MODE +LINKS +OWNER +SIZE +MODIFIED +NAME\n-rw-/)
  })

  it('ends with exit code 1 where nothing is', async () => {
    expectError(await run('ls', 'latest', 'nope', '--from', 'file:backups'), 1, 'entry_not_found')
    expectError(await run('ls', 'latest', 'tree/docs/nope/more', '--from', 'file:backups'), 1, 'entry_not_found')
    expectError(await run('ls', 'latest', 'tree/a.txt/below', '--from', 'file:backups'), 1, 'not_a_directory')
  })
})

describe('holdfast ls and diff', () => {
  it('of a damaged backup name it, and speak of no target', async () => {
    const dir = await copy()
    const payload = join(dir, 'backups', first, 'payload')
    const bytes = await readFile(payload)
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
    await writeFile(payload, bytes)
    for (const words of [['ls', first, 'tree'], ['diff', first, second]]) {
      const outcome = await holdfast([...words, '--from', 'file:backups'], { cwd: dir })
      expectError(outcome, 3, 'restore_corrupt', new RegExp(`Cannot use backup ${first}: `))
      expect(outcome.stderr).not.toContain('target')
    }
  })
})

describe('holdfast diff', () => {
  it('tells what was added, removed, renamed and modified', async () => {
    const dir = await copy()
    const { openLevelStore } = await import('../../src/stores/level/index.ts')
    const store = await openLevelStore(join(dir, 'store'))
    const { root } = (await store.share('tree')) ?? { root: 0 }
    const docs = (await store.lookup({ parent: root, name: 'docs' }))?.inode ?? 0
    const text = (await store.lookup({ parent: docs, name: 'read me.md' }))?.inode ?? 0
    await store.unlink({ parent: root, name: 'gone' })
    await store.rename({ parent: root, name: 'a.txt' }, { parent: docs, name: 'b.txt' })
    await store.setContent(text, { payloadId: 'other' }, { size: 7 })
    await store.create({ parent: docs, name: 'new' }, { type: 'file' })
    await store.setSetting('colour', 'blue')
    await store.close()
    const third = await backUp(dir)
    const result = await holdfastJson(['diff', second, third, '--from', 'file:backups'], { cwd: dir })
    expect(result).toMatchObject({ from: second, to: third, records: { settings: { added: 1, removed: 0, changed: 0 } } })
    expect(result['changes']).toMatchObject([
      { change: 'renamed', path: 'tree/docs/b.txt', from: 'tree/a.txt', type: 'file' },
      { change: 'added', path: 'tree/docs/new', type: 'file' },
      { change: 'modified', path: 'tree/docs/read me.md', type: 'file', fields: ['content', 'size', 'modifiedAtNs'] },
      { change: 'removed', path: 'tree/gone', type: 'file' },
    ])
    const { stdout } = await holdfast(['diff', second, third, '--from', 'file:backups'], { cwd: dir })
    expect(stdout).toContain('> tree/a.txt -> tree/docs/b.txt\n+ tree/docs/new\nM tree/docs/read me.md  (content, size, modifiedAtNs)\n- tree/gone\n')
  })

  it('finds a new share, and no difference of a backup with itself', async () => {
    const { stdout } = await run('diff', first, second, '--from', 'file:backups')
    expect(stdout).toContain('+ other/b.txt\n')
    expect((await run('diff', first, first, '--from', 'file:backups')).stdout).toBe('No differences.\n')
  })
})

it('holdfast restore says what a failure leaves in a new place, and a second try succeeds there', async () => {
  const dir = await copy()
  const broken = join(dir, 'backups', second, 'payload')
  const bytes = await readFile(broken)
  await writeFile(broken, bytes.map((byte, at) => (at === bytes.length >> 1 ? byte ^ 1 : byte)))
  const restore = ['restore', second, '--from', 'file:backups', '--store', 'level:fresh', '--yes']
  const { code, stderr } = await holdfast(restore, { cwd: dir })
  expect(code).toBe(3)
  expect(stderr).toMatch(/\nhint: [^\n]+\. level:fresh was made and holds no store yet: restore into it again, or remove it\n$/)
  expect(await readdir(dir)).toContain('fresh')
  await writeFile(broken, bytes)
  expect(await holdfastJson(restore, { cwd: dir })).toMatchObject({ backupId: second })
})

describe('holdfast delete', () => {
  it('deletes with --yes, and refuses without it where there is no terminal to ask at', async () => {
    const dir = await copy()
    expectError(await holdfast(['delete', first, '--from', 'file:backups', '--quiet'], { cwd: dir }), 2, 'invalid_argument', /Cannot ask for confirmation/)
    for (const words of [['delete', '--help'], ['delete', first, '--from', 'file:backups']]) {
      const { stdout, stderr } = await holdfast(words, { cwd: dir })
      expect(stdout + stderr).toMatch(/^Good means: its manifest is readable [^]+\n[^]+"holdfast verify ID --store URL"/m)
    }
    expect(await holdfastJson(['delete', first, '--from', 'file:backups', '--yes'], { cwd: dir })).toMatchObject({ backupId: first })
    expect(await readdir(join(dir, 'backups'))).toEqual([second])
    expectError(await holdfast(['delete', first, '--from', 'file:backups', '--yes', '--quiet'], { cwd: dir }), 1, 'manifest_missing')
  })

  it('refuses the last good backup of a store with exit code 4, unless forced; a damaged one is not good', async () => {
    const dir = await copy()
    await truncate(join(dir, 'backups', first, 'payload'), 100)
    expectError(await holdfast(['delete', second, '--from', 'file:backups', '--yes', '--quiet'], { cwd: dir }), 4, 'backup_protected', /last good one/)
    expect(await readdir(join(dir, 'backups'))).toContain(second)
    await holdfastJson(['delete', second, '--from', 'file:backups', '--yes', '--force'], { cwd: dir })
    await holdfastJson(['delete', first, '--from', 'file:backups', '--yes'], { cwd: dir })
    expect(await holdfastJson(['list', '--from', 'file:backups'], { cwd: dir })).toEqual({ backups: [], newer: [], altered: [], damaged: [], missing: [] })
  })
})

describe('holdfast delete with a store or a catalog that is not there', () => {
  it.each([
    ['--store', 'level:typo'],
    ['--catalog', 'typo/catalog'],
  ])('refuses %s %s, deletes nothing and makes nothing', async (...where) => {
    const dir = await copy()
    const before = await readdir(dir)
    expectError(await holdfast(['delete', first, '--from', 'file:backups', '--yes', '--quiet', ...where], { cwd: dir }), 1, 'catalog_unavailable', /there is none/)
    expect(await readdir(dir)).toEqual(before)
    expect(await readdir(join(dir, 'backups'))).toContain(first)
  })
})

describe('holdfast delete of the backup of a newer release', () => {
  it('does not call it damaged', async () => {
    const dir = await copy()
    const path = join(dir, 'backups', first, 'manifest.json')
    await writeFile(path, (await readFile(path, 'utf8')).replace('"manifestVersion": 1', '"manifestVersion": 2'))
    const { code, stderr } = await holdfast(['delete', first, '--from', 'file:backups', '--yes'], { cwd: dir })
    expect(code).toBe(4)
    expect(stderr).toContain('manifest_version_unsupported')
    expect(stderr).not.toContain('damaged')
  })
})

describe('holdfast jobs and catalog rebuild', () => {
  it('tell how each attempt ended, newest first', async () => {
    const dir = await copy()
    await writeFile(join(dir, 'in-the-way'), '')
    await holdfast(['backup', '--store', 'level:store', '--to', 'file:in-the-way'], { cwd: dir })
    const { jobs } = await holdfastJson<{ jobs: Record<string, unknown>[] }>(['jobs', '--store', 'level:store'], { cwd: dir })
    expect(jobs).toMatchObject([
      { kind: 'backup', state: 'failed', error: { code: 'destination_path_conflict' } },
      { kind: 'backup', state: 'succeeded', backupId: second },
      { kind: 'backup', state: 'succeeded', backupId: first },
    ])
    const { stdout } = await holdfast(['jobs', '--store', 'level:store', '--limit', '1'], { cwd: dir })
    expect(stdout).toMatch(/^JOB +KIND +STATE [^\n]*\n[0-9A-Z]{26} +backup +failed [^\n]*destination_path_conflict: [^\n]*\n$/)
  })

  it('tell of restores and rollbacks, those that failed too', async () => {
    const dir = await copy()
    await holdfast(['rollback', '--store', 'level:store'], { cwd: dir })
    await holdfastJson(['restore', first, '--from', 'file:backups', '--store', 'level:store', '--yes'], { cwd: dir })
    await holdfastJson(['rollback', '--store', 'level:store'], { cwd: dir })
    await truncate(join(dir, 'backups', first, 'payload'), 100)
    await holdfast(['restore', first, '--from', 'file:backups', '--store', 'level:store', '--yes'], { cwd: dir })
    expect((await holdfastJson<{ jobs: unknown[] }>(['jobs', '--store', 'level:store'], { cwd: dir })).jobs).toMatchObject([
      { kind: 'restore', state: 'failed', backupId: first, error: { code: 'backup_incomplete' } },
      { kind: 'rollback', state: 'succeeded' },
      { kind: 'restore', state: 'succeeded', backupId: first },
      { kind: 'rollback', state: 'failed', error: { code: 'rollback_unavailable' } },
      { kind: 'backup' },
      { kind: 'backup' },
    ])
  })

  it('make a lost catalog anew, once', async () => {
    const dir = await copy()
    await rm(join(dir, 'store/catalog'), { recursive: true })
    const words = ['catalog', 'rebuild', '--from', 'file:backups', '--catalog', 'store/catalog']
    const { recorded } = await holdfastJson<{ recorded: { backupId: string }[] }>(words, { cwd: dir })
    expect(recorded.map(({ backupId }) => backupId)).toEqual([first, second])
    expect(await holdfastJson(words, { cwd: dir })).toMatchObject({ recorded: [], known: 2, missing: [], unreadable: [] })
    expect(await holdfastJson(['jobs', '--store', 'level:store'], { cwd: dir })).toEqual({ jobs: [] })
  })

  it('report what a rebuild cannot read, and end with its exit code', async () => {
    const dir = await copy()
    await writeFile(join(dir, 'backups', first, 'manifest.json'), '{}')
    const { code, stdout, stderr } = await holdfast(['catalog', 'rebuild', '--from', 'file:backups', '--catalog', 'other', '--json'], { cwd: dir })
    expect({ code, stderr }).toEqual({ code: 3, stderr: '' })
    expect(JSON.parse(stdout)).toMatchObject({ recorded: [{ backupId: second }], unreadable: [{ backupId: first, error: { code: 'manifest_invalid' } }] })
  })
})

function commonPrefix(a: string, b: string): string {
  let length = 0
  while (a[length] === b[length]) length += 1
  return a.slice(0, length)
}
