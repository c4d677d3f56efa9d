/** What the command line says of backups that are not as they were taken, and how an operator goes on. */
import { execFileSync } from 'node:child_process'
import { cp, mkdir, readFile, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type Outcome, holdfast, holdfastJson, writeTree } from './holdfast.ts'
import { tempDir } from '../support/temp-dir.ts'

interface Place {
  readonly cwd: string
  /** IDs of backups, the oldest first. */
  readonly ids: readonly string[]
  readonly run: (...words: readonly string[]) => Promise<Outcome>
}

const FROM = ['--from', 'file:backups'] as const
const STORE = ['--store', 'level:store'] as const

/** A store with some backups, each of another tree. */
async function newPlace({ backups = 2 }: { readonly backups?: number } = {}): Promise<Place> {
  const cwd = await tempDir()
  const ids: string[] = []
  for (let at = 0; at < backups; at++) {
    await rm(join(cwd, 'tree'), { recursive: true, force: true })
    await writeTree(join(cwd, 'tree'), { [`file${at}`]: `content ${at}` })
    await holdfastJson(['import', 'tree', ...STORE, '--payloads', 'payloads', '--share', `s${at}`], { cwd })
    ids.push((await holdfastJson<{ backupId: string }>(['backup', ...STORE, '--to', 'file:backups'], { cwd })).backupId)
  }
  return { cwd, ids, run: (...words) => holdfast(words, { cwd }) }
}

/** Puts a whole, older backup in place of a newer one: every digest is right, but those in the catalog. */
async function replaceBy({ cwd }: Place, backupId: string, older: string): Promise<void> {
  const directory = join(cwd, 'backups', backupId)
  await rm(directory, { recursive: true })
  await cp(join(cwd, 'backups', older), directory, { recursive: true })
  const manifest = join(directory, 'manifest.json')
  await writeFile(manifest, (await readFile(manifest, 'utf8')).replaceAll(older, backupId))
}

describe('an ID that no clock can have made', () => {
  it.each(['7ZZZZZZZZZZZZZZZZZZZZZZZZZ', '3ZZZZZZZZZ0000000000000001'])('%s in the way: backups go on and say how to be rid of it, and "delete" is that', async (stray) => {
    const { cwd, ids: [first = ''], run } = await newPlace({ backups: 1 })
    await mkdir(join(cwd, 'backups', stray))
    await writeFile(join(cwd, 'backups', stray, 'manifest.json'), '{}')
    const backup = await run('backup', ...STORE, '--to', 'file:backups')
    expect(backup).toMatchObject({ code: 0, stderr: expect.stringMatching(new RegExp(`^warning: Backup ${stray} at "file:[^\n]*run "holdfast delete ${stray} --from file:[^\n]*"\n`, 'm')) as unknown })
    const listed = await run('list', ...FROM)
    expect(listed).toMatchObject({ code: 3, stdout: expect.stringMatching(new RegExp(`^${stray} +damaged: manifest_invalid$`, 'm')) as unknown })
    expect(await run('delete', stray, ...FROM, '--yes')).toMatchObject({ code: 0 })
    const { backupId } = await holdfastJson<{ backupId: string }>(['backup', ...STORE, '--to', 'file:backups'], { cwd })
    const { backups } = await holdfastJson<{ backups: readonly { readonly backupId: string }[] }>(['list', ...FROM, ...STORE], { cwd })
    expect(backups).toHaveLength(3)
    expect([backups[0]?.backupId, backups[2]?.backupId]).toEqual([first, backupId])
  })
})

describe('something else in place of a file', () => {
  const plants: readonly (readonly [what: string, plant: (path: string) => unknown])[] = [
    ['a FIFO', (path) => execFileSync('mkfifo', [path])],
    ['a link', async (path) => {
      await rename(`${path}.away`, `${path}.elsewhere`)
      await symlink(`${path}.elsewhere`, path)
    }],
    ['a directory', (path) => mkdir(path)],
    ['a socket', async (path) => {
      const server = createServer()
      onTestFinished(() => void server.close())
      await new Promise<void>((listening) => server.listen(path, listening))
    }],
  ]
  it.each(plants)('%s: "list" tells it with exit code 3, and the other commands refuse it with the same code', async (_, plant) => {
    const place = await newPlace()
    const { cwd, ids: [older = '', newer = ''], run } = place
    for (const [name, code] of [['manifest.json', 'manifest_invalid'], ['payload', 'backup_incomplete']] as const) {
      const path = join(cwd, 'backups', newer, name)
      await rename(path, `${path}.away`)
      await plant(path)
      const list = await run('list', ...FROM)
      expect(list, name).toMatchObject({ code: 3, stdout: expect.stringMatching(new RegExp(`^${newer} +damaged: ${code}$`, 'm')) as unknown, stderr: expect.stringContaining(`error: ${code}: `) as unknown })
      expect(list.stdout).toContain(older)
      for (const words of [['verify', newer, ...FROM], ['show', 'latest', ...FROM], ['restore', newer, ...FROM, ...STORE, '--yes']]) expect(await run(...words), words[0]).toMatchObject({ code: 3, stderr: expect.stringContaining(code) as unknown })
      expect(await run('gc', ...STORE, '--payloads', 'payloads', ...FROM, '--apply', '--min-age', '0')).toMatchObject({ code: 1, stderr: expect.stringContaining('hold_unavailable') as unknown })
      await rm(path, { recursive: true })
      await rename((await readdir(join(cwd, 'backups', newer))).includes(`${name}.away`) ? `${path}.away` : `${path}.elsewhere`, path)
      expect(await run('verify', newer, ...FROM)).toMatchObject({ code: 0 })
    }
  })
})

describe('a backup that was replaced by another whole one', () => {
  it('is restored where the operator allows it with --allow-altered', async () => {
    const { cwd, ids: [, newer = ''], run } = await newPlace()
    const path = join(cwd, 'backups', newer, 'manifest.json')
    await writeFile(path, JSON.stringify({ ...(JSON.parse(await readFile(path, 'utf8')) as object), labels: { why: 'moved' } }))
    const restore = ['restore', newer, ...FROM, ...STORE, '--yes']
    expect(await run(...restore)).toMatchObject({ code: 3, stderr: expect.stringContaining('error: backup_altered: ') as unknown })
    expect(await run(...restore, '--allow-altered')).toMatchObject({ code: 0 })
  })

  it('is refused by every command that is told where it was recorded; "restore --allow-altered" and "catalog rebuild" are the ways on', async () => {
    const place = await newPlace()
    const { ids: [older = '', newer = ''], run } = place
    await replaceBy(place, newer, older)
    const record = ['--catalog', 'store/catalog']
    const commands: readonly (readonly string[])[] = [
      ['list', ...FROM], ['show', 'latest', ...FROM], ['ls', newer, ...FROM], ['diff', older, newer, ...FROM], ['verify', newer, ...FROM], ['delete', newer, ...FROM, '--yes'],
    ]
    for (const words of commands) {
      for (const where of [record, STORE]) expect(await run(...words, ...where), `${words[0]} ${where[0]}`).toMatchObject({ code: 3, stderr: expect.stringContaining('error: backup_altered: ') as unknown })
    }
    for (const words of [['restore', newer, ...FROM, ...STORE, '--yes'], ['restore', newer, ...FROM, ...STORE, '--path', 's0', '--to-path', 's1/copy', '--yes']]) {
      expect(await run(...words), words.join(' ')).toMatchObject({ code: 3, stderr: expect.stringContaining('error: backup_altered: ') as unknown })
    }
    for (const words of [['holds', ...FROM, ...record], ['gc', ...STORE, '--payloads', 'payloads', ...FROM, '--apply', '--min-age', '0']]) {
      expect(await run(...words), words[0]).toMatchObject({ code: 1, stderr: expect.stringContaining('hold_unavailable') as unknown })
    }
    // Its stream names the backup that it is of.
    expect(await run('restore', newer, ...FROM, ...STORE, '--allow-altered', '--yes')).toMatchObject({ code: 3, stderr: expect.stringContaining('checksum_mismatch') as unknown })
    expect(await run('catalog', 'rebuild', ...FROM, ...record)).toMatchObject({ code: 0, stdout: expect.stringContaining(`~ ${newer}`) as unknown })
    expect(await run('list', ...FROM, ...record)).toMatchObject({ code: 0 })
    expect(await run('gc', ...STORE, '--payloads', 'payloads', ...FROM)).toMatchObject({ code: 0 })
  })
})

describe('a backup that is gone without a record of its deletion', () => {
  it.each(['one', 'all'])('%s: "list" names it, until "delete" has recorded that it is gone', async (which) => {
    const { cwd, ids, run } = await newPlace()
    const gone = which === 'all' ? ids : ids.slice(1)
    for (const id of gone) await rm(join(cwd, 'backups', id), { recursive: true })
    const list = ['list', ...FROM, ...STORE]
    const listed = await run(...list)
    expect(listed).toMatchObject({ code: 1, stderr: expect.stringMatching(new RegExp(`^error: manifest_missing: Not listed at "[^"]*", but the catalog has it: backup ${gone[0]}\\n`, 'm')) as unknown })
    for (const id of gone) expect(listed.stdout).toMatch(new RegExp(`^${id} +missing: manifest_missing$`, 'm'))
    const document = JSON.parse((await run(...list, '--json')).stdout) as { readonly missing: readonly unknown[] }
    expect(document.missing).toMatchObject(gone.map((backupId) => ({ backupId, error: { code: 'manifest_missing' } })))
    expect(await run('list', ...FROM)).toMatchObject({ code: 0 })
    expect(await run('delete', ...gone, ...FROM, ...STORE, '--yes')).toMatchObject({ code: 1, stderr: expect.stringContaining('its deletion is recorded') as unknown })
    expect(await run(...list)).toMatchObject({ code: 0, stderr: '' })
  })
})

describe('a backup that the catalog does not have', () => {
  it('is told by "list", and recorded by the next sweep, which sees every later change', async () => {
    const place = await newPlace()
    const { cwd, ids: [older = '', newer = ''], run } = place
    const away = join(cwd, 'away')
    await mkdir(away)
    await rename(join(cwd, 'backups', newer), join(away, newer))
    await rename(join(cwd, 'store/catalog'), join(cwd, 'lost'))
    await holdfastJson(['catalog', 'rebuild', ...FROM, '--catalog', 'store/catalog'], { cwd })
    await rename(join(away, newer), join(cwd, 'backups', newer))

    expect(await run('list', ...FROM, ...STORE)).toMatchObject({ code: 0, stderr: expect.stringContaining(`warning: The catalog has no record of ${newer}; `) as unknown })
    const gc = ['gc', ...STORE, '--payloads', 'payloads', ...FROM]
    expect(await run(...gc)).toMatchObject({ code: 0 })
    expect(await run('list', ...FROM, ...STORE)).toMatchObject({ stderr: expect.stringContaining('no record') as unknown })
    expect(await run(...gc, '--apply')).toMatchObject({ code: 0 })
    expect(await run('list', ...FROM, ...STORE)).toMatchObject({ code: 0, stderr: '' })
    await replaceBy(place, newer, older)
    expect(await run(...gc, '--apply')).toMatchObject({ code: 1, stderr: expect.stringMatching(/hold_unavailable[^\n]*differs from what the catalog recorded/) as unknown })
  })
})

describe('what "verify" found', () => {
  it('is in "list" and "show" where the catalog is named, and nothing that was never verified looks good', async () => {
    const { cwd, ids: [older = '', newer = ''], run } = await newPlace()
    const listed = async (...where: readonly string[]): Promise<Outcome> => await run('list', ...FROM, ...where)
    const rowsOf = ({ stdout }: Outcome): readonly string[] => stdout.trimEnd().split('\n')
    expect(rowsOf(await listed())[0]).not.toContain('VERIFIED')
    expect((await run('show', newer, ...FROM)).stdout).toMatch(/^verified +not known here; name the store with --store$/m)

    const backedUp = await listed(...STORE)
    expect(backedUp).toMatchObject({ code: 0, stderr: '' })
    expect(rowsOf(backedUp)[0]).toMatch(/ SIZE +VERIFIED +LABELS$/)
    for (const row of rowsOf(backedUp).slice(1)) expect(row).toMatch(/ checksum \d{4}-\d\d-\d\d$/)

    await rename(join(cwd, 'store/catalog'), join(cwd, 'lost'))
    await holdfastJson(['catalog', 'rebuild', ...FROM, '--catalog', 'store/catalog'], { cwd })
    expect(rowsOf(await listed(...STORE)).slice(1).map((row) => row.slice(-6))).toEqual([' never', ' never'])
    expect((await run('show', newer, ...FROM, ...STORE)).stdout).toMatch(/^verified +never$/m)
    const never = { verifiedAt: null, verification: null }
    expect((await holdfastJson<{ backups: readonly unknown[] }>(['list', ...FROM, ...STORE], { cwd })).backups).toMatchObject([never, never])
    expect(await holdfastJson(['show', newer, ...FROM, ...STORE], { cwd })).toMatchObject(never)

    const payload = join(cwd, 'backups', older, 'payload')
    const bytes = await readFile(payload)
    await writeFile(payload, bytes.with(bytes.length >> 1, (bytes[bytes.length >> 1] ?? 0) ^ 1))
    expect(await run('verify', older, ...FROM, ...STORE)).toMatchObject({ code: 3 })
    expect(await run('verify', newer, ...FROM, ...STORE)).toMatchObject({ code: 0 })
    // It looks at less than the verification that failed.
    expect(await run('verify', older, ...FROM, ...STORE, '--level', 'manifest')).toMatchObject({ code: 0 })
    const failed = await listed(...STORE)
    expect(failed).toMatchObject({ code: 3, stderr: expect.stringContaining(`error: checksum_mismatch: Failed its last verification: backup ${older}\n`) as unknown })
    expect(rowsOf(failed)[1]).toMatch(/ failed: restore_corrupt$/)
    expect(rowsOf(failed)[2]).toMatch(/ content \d{4}-\d\d-\d\d$/)
    const document = JSON.parse((await listed(...STORE, '--json')).stdout) as { readonly backups: readonly unknown[] }
    expect(document.backups).toMatchObject([{ backupId: older, verification: { level: 'content', error: { code: 'restore_corrupt' } } }, { backupId: newer, verification: { level: 'content' } }])
    const shown = await run('show', older, ...FROM, ...STORE)
    expect(shown).toMatchObject({ code: 0, stdout: expect.stringMatching(/^verified +failed at level content, [-\d]+ [:\d]+Z: restore_corrupt: /m) as unknown })

    await writeFile(payload, bytes)
    expect(await run('verify', older, ...FROM, ...STORE)).toMatchObject({ code: 0 })
    expect(await listed(...STORE)).toMatchObject({ code: 0, stderr: '' })
  })
})
