import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { holdfast, holdfastJson, holdfastProcess, MAIN, type Outcome, writeTree } from './holdfast.ts'

let base: string
let backupId = ''

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'holdfast-bad-'))
  await writeTree(join(base, 'tree'), { file: 'x' })
  await holdfastJson(['import', 'tree', '--store', 'level:store', '--payloads', 'payloads'], { cwd: base })
  const backup = await holdfastJson<{ backupId: string }>(['backup', '--store', 'level:store', '--to', 'file:backups'], { cwd: base })
  backupId = backup.backupId
})

afterAll(() => rm(base, { recursive: true, force: true }))

function run(...words: string[]): Promise<Outcome> {
  return holdfast(words, { cwd: base })
}

function expectError({ code, stdout, stderr }: Outcome, exitCode: number, errorCode: string, sentence: RegExp = /./): void {
  expect({ code, stdout, stderr }).toMatchObject({ code: exitCode, stdout: '' })
  expect(stderr).toMatch(new RegExp(`^error: ${errorCode}: [A-Z][^\\n]*[^.\\n]\\nhint: [A-Z][^\\n]*\\n$`))
  expect(stderr).toMatch(sentence)
  expect(stderr).not.toMatch(/\n\s+at |node:internal/)
}

describe('a URL that is wrong', () => {
  it.each([
    ['nope:store', /"nope" is not a kind of store/],
    ['store', /has no scheme/],
    ['level:', /no local path/],
    ['level://host/store', /no local path/],
    ['memory:', /a memory store exists only in its server's process/],
    ['__proto__:x', /has no scheme|is not a kind of store/],
    ['constructor:x', /is not a kind of store/],
  ])('of a store, %s, ends with exit code 2', async (url, sentence) => {
    expectError(await run('backup', '--store', url, '--to', 'file:backups'), 2, 'invalid_argument', sentence)
  })

  it('with the home of another user is refused with the way out, and makes nothing', async () => {
    const sentence = /: "~" with a name is not expanded\nhint: Write the path in full; begin it with "\.\/" if a directory has that name\n$/
    expectError(await run('import', 'tree', '--store', 'level:~nobody/m'), 2, 'invalid_argument', sentence)
    expectError(await run('backup', '--store', 'level:store', '--to', 'file:~nobody/b'), 2, 'destination_config_invalid', sentence)
    expectError(await run('gc', '--store', 'level:store', '--from', 'file:backups', '--payloads', '~nobody/p'), 2, 'invalid_argument', sentence)
    expectError(await run('jobs', '--store', 'level:store', '--catalog', '~nobody/c'), 2, 'invalid_argument', sentence)
    expect(await readdir(base)).not.toContain('~nobody')
  })

  it('with a "%" that encodes nothing says so', async () => {
    expectError(await run('list', '--from', 'file:///a%zzb'), 2, 'destination_config_invalid', /: its path has a "%" without two hexadecimal digits\nhint: Write %25 for "%"/)
  })

  it('with a parameter that it cannot have names it, whichever way the path is written', async () => {
    for (const url of ['file:/a?x=1', 'file:///a?x=1']) expectError(await run('list', '--from', url), 2, 'destination_config_invalid', /"x" is not a parameter of "file:" URLs/)
    for (const url of ['level:/a?x=1', 'level:///a?x=1']) expectError(await run('check', '--store', url), 2, 'invalid_argument', /"x" is not a parameter of "level:" URLs/)
    expectError(await run('list', '--from', 'file:///a#b'), 2, 'destination_config_invalid', /its path has a "\?" or "#"\nhint: Write %3F/)
  })

  it.each(['nope:backups', 'backups', 'file:', 's3', 'constructor:x'])('of a destination, %s, ends with exit code 2', async (url) => {
    expectError(await run('list', '--from', url), 2, 'destination_config_invalid')
    expectError(await run('backup', '--store', 'level:store', '--to', url), 2, 'destination_config_invalid')
  })
})

describe('a path that is wrong', () => {
  it('of a destination that is missing ends with exit code 1', async () => {
    expectError(await run('list', '--from', 'file:nowhere'), 1, 'destination_not_found')
    expectError(await run('verify', 'latest', '--from', 'file:nowhere/at/all'), 1, 'destination_not_found')
    expect(await readdir(base)).not.toContain('nowhere')
  })

  it('of a store that is missing ends with exit code 1', async () => {
    for (const words of [['backup', '--to', 'file:backups'], ['export', 'out', '--payloads', 'payloads']]) {
      expectError(await run(...words, '--store', 'level:nowhere'), 1, 'store_unavailable')
    }
    expectError(await run('jobs', '--store', 'level:nowhere'), 1, 'catalog_unavailable')
    expectError(await run('rollback', '--store', 'level:nowhere'), 1, 'store_unavailable')
    expect(await readdir(base)).not.toContain('nowhere')
  })

  it('to a payload file instead of the directory of backups ends with exit code 4', async () => {
    const payload = `file:backups/${backupId}/payload`
    expectError(await run('list', '--from', payload), 4, 'destination_path_conflict')
    expectError(await run('restore', 'latest', '--from', payload, '--store', 'level:store', '--yes'), 4, 'destination_path_conflict')
    expectError(await run('backup', '--store', 'level:store', '--to', payload), 4, 'destination_path_conflict')
  })

  it('to a payload file instead of a store ends with exit code 1', async () => {
    expectError(await run('backup', '--store', `level:backups/${backupId}/payload`, '--to', 'file:backups'), 1, 'store_unavailable')
  })

  it('to one backup instead of the directory of backups finds none there', async () => {
    expectError(await run('show', 'latest', '--from', `file:backups/${backupId}`), 1, 'manifest_missing')
  })

  it('to payloads that are missing, or a file, ends with exit code 1', async () => {
    expectError(await run('export', 'out', '--store', 'level:store', '--payloads', 'nowhere'), 1, 'entry_not_found')
    expectError(await run('export', 'out', '--store', 'level:store', '--payloads', 'tree/file'), 1, 'not_a_directory')
  })

  it('to a symbolic link planted at the root of a destination is refused', async () => {
    await symlink(join(base, 'backups'), join(base, 'linked'))
    expectError(await run('list', '--from', 'file:linked'), 4, 'destination_path_conflict')
  })
})

describe('a share that is wrong', () => {
  it('is told as such when it is empty, and not by the name of the directory', async () => {
    expectError(await run('import', '.', '--store', 'level:store', '--share', ''), 2, 'invalid_argument', /share name/)
  })
})

describe('a manifest that is wrong', () => {
  it.each([
    ['over 64 KiB', () => `{"manifestVersion":1,"labels":{"a":"${'x'.repeat(65_536)}"}}`, 'manifest_invalid'],
    ['of version 2', (text: string) => text.replace('"manifestVersion": 1', '"manifestVersion": 2').replace('"manifestVersion":1', '"manifestVersion":2'), 'manifest_version_unsupported'],
    ['with ".." in its ID', (text: string) => text.replace(/"backupId": ?"[^"]*"/, '"backupId":"../../etc/passwd"'), 'manifest_invalid'],
    ['that is not JSON', () => 'garbage\u001b[2J', 'manifest_invalid'],
    ['that is empty', () => '', 'manifest_invalid'],
    ['that is nested a thousand deep', () => '['.repeat(1000) + ']'.repeat(1000), 'manifest_invalid'],
    ['that is not an object', () => 'null', 'manifest_invalid'],
  ])('%s ends every command that reads it with exit code 3, or 4 where a newer release is needed', async (_, change, code) => {
    const dir = await mkdtemp(join(base, 'manifest-'))
    await mkdir(join(dir, backupId))
    const text = await readFile(join(base, 'backups', backupId, 'manifest.json'), 'utf8')
    const changed = change(text)
    expect(changed).not.toBe(text)
    await writeFile(join(dir, backupId, 'manifest.json'), changed)
    const from = `file:${dir}`
    const isNewer = code === 'manifest_version_unsupported'
    for (const words of [['show', 'latest'], ['verify', backupId], ['ls', 'latest'], ['restore', 'latest', '--store', 'level:store', '--yes', '--quiet']]) {
      expectError(await run(...words, '--from', from), isNewer ? 4 : 3, code)
    }
    // A list is no worse for a backup that needs a newer release.
    expect((await run('list', '--from', from)).code).toBe(isNewer ? 0 : 3)
  })
})

describe('a command line that is wrong', () => {
  it.each([
    [['frobnicate'], /Unknown command/],
    [['backup'], /Required option '--store <url>' not specified/],
    [['backup', '--store', 'level:store', '--to', 'file:backups', '--bogus'], /Unknown option '--bogus'/],
    [['backup', '--sotre', 'level:store', '--to', 'file:backups'], /'--store <url>' not specified, and "--sotre" is not an option/],
    [['list', '-x'], /'--from <url>' not specified, and "-x" is not an option/],
    [['show', '--from', 'file:backups'], /Missing required argument 'id'/],
    [['show', 'a', 'b', '--from', 'file:backups'], /Too many arguments/],
    [['list', '--from'], /Option '--from <url>' argument missing/],
  ])('%j ends with exit code 2, one sentence and a hint', async (words, sentence) => {
    expectError(await run(...words), 2, 'invalid_argument', sentence)
  })

  it('suggests the command that was meant', async () => {
    expect((await run('bakcup')).stderr).toMatch(/^error: invalid_argument: Unknown command 'bakcup'\nhint: Did you mean backup\? Run "holdfast --help"\n$/)
  })

  it.each([['help', 'verfy'], ['verfy', '--help']])('%s %s is answered as the misspelled command is', async (...words) => {
    expect(await run(...words)).toEqual(await run('verfy'))
    expect((await run(...words)).stderr).toMatch(/^error: invalid_argument: Unknown command 'verfy'\nhint: Did you mean verify\? /)
    for (const known of [['help', 'verify'], ['help'], ['help', 'help']]) expect(await run(...known)).toMatchObject({ code: 0, stderr: '' })
    expect((await run('help', 'verify')).stdout).toBe((await run('verify', '--help')).stdout)
  })

  it.each([[['--sotre', 'level:store']], [['--sotre=level:store']]])('suggests the required option that was meant by %j', async (option) => {
    const { code, stderr } = await run('backup', ...option, '--to', 'file:backups')
    expect(code).toBe(2)
    expect(stderr).toMatch(/"--sotre[^"]*" is not an option\nhint: Did you mean --store\? Run "holdfast backup --help"\n$/)
  })

  it('suggests an option that was not required too, and never shows its value', async () => {
    const told = (name: string, meant: string): string => `error: invalid_argument: Unknown option '${name}'\nhint: Did you mean ${meant}? Run "holdfast list --help"\n`
    expect((await run('list', '--from', 'file:backups', '--stroe=postgres://user:secret@host/db')).stderr).toBe(told('--stroe', '--store'))
    expect((await run('list', '--from', 'file:backups', '-json')).stderr).toBe(told('-json', '--json'))
    expect((await run('list', '-from', 'file:backups')).stderr).toMatch(/, and "-from" is not an option\nhint: Did you mean --from\? Run/)
  })

  it.each([
    [['backup', '-help'], /, and "-help" is not an option\nhint: Did you mean --help\? Run "holdfast backup --help"\n$/],
    [['-help'], /: Unknown option '-help'\nhint: Did you mean --help\? Run "holdfast --help"\n$/],
    [['list', '--help=x'], /, and "--help" takes no value\nhint: Run "holdfast list --help"\n$/],
    [['backup', '-h=x'], /, and "-h" takes no value\nhint: /],
    [['--version=1'], /: Option '--version' takes no value\nhint: Run "holdfast --help"\n$/],
    [['holds', '--quiet=1', '--from', 'file:backups'], /: Option '--quiet' takes no value\nhint: Run "holdfast holds --help"\n$/],
    [['holds', '-q=1', '--from', 'file:backups'], /: Unknown option '-'\nhint: /],
  ])('%j does not do what another option or the command does', async (words, sentence) => {
    // In a process of its own: work that was begun by mistake would fail there, unseen.
    const outcome = await holdfastProcess(words, { cwd: base })
    expectError(outcome, 2, 'invalid_argument', sentence)
  })

  it('is told as a document with --json, and nothing else', async () => {
    for (const words of [['list', '-help', '--json'], ['list', '--json', '--help=x']]) {
      const { code, stdout, stderr } = await run(...words)
      expect({ code, stderr }).toEqual({ code: 2, stderr: '' })
      expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'invalid_argument' } })
    }
    const { code, stdout, stderr } = await run('backup', '--json')
    expect({ code, stderr }).toEqual({ code: 2, stderr: '' })
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'invalid_argument', retryable: false } })
  })
})

describe('the program', () => {
  it('prints its version, and help with examples and exit codes for every command', async () => {
    const { version } = JSON.parse(await readFile(join(import.meta.dirname, '../../package.json'), 'utf8')) as { version: string }
    expect(await run('--version')).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
    const help = await run('--help')
    expect(help).toMatchObject({ code: 0, stderr: '' })
    for (const name of ['import', 'export', 'backup', 'list', 'show', 'verify', 'restore', 'rollback', 'ls', 'diff', 'delete', 'gc', 'holds', 'convert', 'jobs', 'catalog']) {
      const { code, stdout } = await run(...(name === 'catalog' ? [name, 'rebuild'] : [name]), '--help')
      expect({ name, code }).toEqual({ name, code: 0 })
      expect(stdout, name).toMatch(/\nExamples:\n {2}# .+\n {2}holdfast .+/)
      expect(stdout, name).toMatch(/\nExit codes:\n {2}0 +done\n(?: .+\n)* {2}130 .+\n {2}143 .+\n/)
      expect(help.stdout).toContain(`\n  ${name} `)
    }
  })

  it('shows stack and causes only when asked for by HOLDFAST_DEBUG=1', async () => {
    const { code, stderr } = await holdfast(['list', '--from', 'file:nowhere'], { cwd: base, env: { HOLDFAST_DEBUG: '1' } })
    expect(code).toBe(1)
    expect(stderr).toMatch(/^error: destination_not_found: [^]+\n {4}at /)
  })

  it('prints nothing that a terminal obeys, as a document and with HOLDFAST_DEBUG=1 too', async () => {
    const words = ['list', '--from', 'file:\u009b31m\u202egnp']
    for (const env of [{ HOLDFAST_DEBUG: '' }, { HOLDFAST_DEBUG: '1' }]) {
      const { stdout, stderr } = await holdfast([...words, '--json'], { cwd: base, env })
      expect(JSON.parse(stdout)).toMatchObject({ error: { message: expect.stringContaining('\u009b31m\u202egnp') as unknown } })
      expect(stdout + stderr + (await holdfast(words, { cwd: base, env })).stderr).toMatch(/^[\n\x20-\x7e]+$/)
    }
  })

  it('is content with a reader that has gone', async () => {
    const child = spawn(process.execPath, [MAIN, 'show', 'latest', '--from', 'file:backups'], { cwd: base, stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.destroy()
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    const [code] = (await once(child, 'close')) as [number | null]
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  })
})
