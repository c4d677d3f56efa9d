/** Payload garbage collection as an operator runs it: real stores, real directories, a process for each command. */
import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { nodeFiles, systemError } from '../../src/util/files.ts'
import { Leases } from '../../src/gc/leases/leases.ts'
import { openLevelCatalog } from '../../src/catalog/level/index.ts'
import { thisProcess } from '../../src/util/job-owner.ts'
import { newUlid } from '../../src/util/ulid.ts'
import { tempDir } from '../support/temp-dir.ts'
import { holdfast, holdfastJson, holdfastOnTerminal, writeTree } from './holdfast.ts'

interface Sweep {
  readonly live: { readonly payloads: number }
  readonly held: { readonly payloads: number }
  readonly waiting: { readonly payloads: number }
  readonly deleted: { readonly payloads: number }
}

const PLACES = ['--store', 'level:metadata', '--payloads', 'payloads', '--from', 'file:backups'] as const

/** A store with two files, backed up. */
async function backedUp(): Promise<{ readonly cwd: string; readonly backupId: string }> {
  const cwd = await tempDir()
  await writeTree(join(cwd, 'tree'), { 'a.txt': 'alpha', 'sub/b.txt': 'beta' })
  await holdfastJson(['import', 'tree', '--store', 'level:metadata', '--payloads', 'payloads'], { cwd })
  const { backupId } = await holdfastJson<{ backupId: string }>(['backup', '--store', 'level:metadata', '--to', 'file:backups'], { cwd })
  return { cwd, backupId }
}

function payloadsIn(cwd: string): number {
  return readdirSync(join(cwd, 'payloads')).filter((name) => name !== 'stores').flatMap((name) => readdirSync(join(cwd, 'payloads', name))).length
}

describe('holdfast gc', () => {
  test.each([
    ['gc', ['gc', ...PLACES, '--apply']],
    ['import', ['import', 'tree', '--store', 'level:metadata', '--payloads', 'payloads', '--share', 'again']],
  ])('%s removes what killed imports left half written long ago, and nothing of one that may be running', async (_, words) => {
    const { cwd } = await backedUp()
    const [directory = ''] = readdirSync(join(cwd, 'payloads')).filter((name) => name !== 'stores')
    const pathOf = (name: string): string => join(cwd, 'payloads', directory, name)
    const [payload = ''] = readdirSync(pathOf(''))
    const DAY_S = 24 * 60 * 60
    const put = (name: string, ageS: number): void => {
      writeFileSync(pathOf(name), 'half')
      utimesSync(pathOf(name), Date.now() / 1000 - ageS, Date.now() / 1000 - ageS)
    }
    const left = `${'a'.repeat(62)}.${randomUUID()}.tmp`
    const [running, other] = [`${payload}.${randomUUID()}.tmp`, `${payload}.tmp`]
    put(left, DAY_S + 60)
    put(running, DAY_S - 600)
    put(other, 2 * DAY_S)
    if (words[0] === 'gc') {
      await holdfastJson(words.filter((word) => word !== '--apply'), { cwd })
      expect(readdirSync(pathOf(''))).toContain(left)
    }
    await holdfastJson(words, { cwd })
    expect(readdirSync(pathOf('')).toSorted()).toEqual([payload, running, other].toSorted())
  })

  test('keeps what a backup needs when the store has lost it, so that a restore brings the content back; deletes it after the backup', async () => {
    const { cwd, backupId } = await backedUp()
    const gc = (...words: string[]): Promise<Sweep> => holdfastJson<Sweep>(['gc', ...PLACES, '--min-age', '0', ...words], { cwd })
    for (const path of readdirSync(join(cwd, 'metadata/engines'), { recursive: true, encoding: 'utf8' })) {
      const file = join(cwd, 'metadata/engines', path)
      if (statSync(file).isFile()) writeFileSync(file, 'this is no database any more. '.repeat(100))
    }
    const refused = await holdfast(['gc', ...PLACES, '--min-age', '0', '--apply'], { cwd })
    expect([refused.code, payloadsIn(cwd)]).toEqual([1, 2])
    await holdfastJson(['restore', 'latest', '--from', 'file:backups', '--store', 'level:metadata', '--yes'], { cwd })
    const kept = await holdfast(['gc', ...PLACES, '--min-age', '0', '--apply'], { cwd })
    expect(kept.stderr).toMatch(/^error: hold_unavailable: Cannot tell what the store "\w+" refers to/)
    expect(await gc('--apply', '--ignore-kept')).toMatchObject({ live: { payloads: 2 }, deleted: { payloads: 0 } })
    await holdfastJson(['export', 'exported', '--store', 'level:metadata', '--payloads', 'payloads'], { cwd })
    expect(readFileSync(join(cwd, 'exported/sub/b.txt'), 'utf8')).toBe('beta')
    const empty = await emptied(cwd)
    expect(await gc('--apply')).toMatchObject({ live: { payloads: 0 }, held: { payloads: 2 }, deleted: { payloads: 0 } })
    await holdfastJson(['delete', backupId, '--from', 'file:backups', '--catalog', 'metadata/catalog', '--force', '--yes'], { cwd })
    expect(await gc()).toMatchObject({ deleted: { payloads: 2 } })
    expect(payloadsIn(cwd)).toBe(2)
    expect(await gc('--apply')).toMatchObject({ deleted: { payloads: 2 } })
    expect([payloadsIn(cwd), empty]).toEqual([0, true])
  })

  test('marks first, by default, and says so; before, which backup keeps how much', async () => {
    const { cwd, backupId } = await backedUp()
    await emptied(cwd)
    expect((await holdfast(['gc', ...PLACES], { cwd })).stdout).toMatch(new RegExp(`\n {2}backup ${backupId} of .*: 2 payloads \\(9 B\\), 2 payloads \\(9 B\\) of it alone\n`))
    await holdfastJson(['delete', backupId, '--from', 'file:backups', '--catalog', 'metadata/catalog', '--force', '--yes'], { cwd })
    const { code, stdout } = await holdfast(['gc', ...PLACES, '--apply'], { cwd })
    expect(code).toBe(0)
    expect(stdout).toMatch(/Unused, but not for .* yet: 2 payloads \(9 B\); a later run deletes them\nDeleted: 0 payloads/)
    expect(payloadsIn(cwd)).toBe(2)
  })

  test('deletes nothing when a backup of the catalog is not where it was', async () => {
    const { cwd } = await backedUp()
    await emptied(cwd)
    rmSync(join(cwd, 'backups'), { recursive: true })
    await writeTree(join(cwd, 'backups'), {})
    const { code, stderr } = await holdfast(['gc', ...PLACES, '--min-age', '0', '--apply'], { cwd })
    expect([code, payloadsIn(cwd)]).toEqual([1, 2])
    expect(stderr).toMatch(/^error: hold_unavailable: Cannot tell what is held: backup \w+ is not listed at/)
  })

  test('deletes nothing when the catalog was lost and a destination is empty, unless told that it is', async () => {
    const { cwd, backupId } = await backedUp()
    await emptied(cwd)
    await writeTree(join(cwd, 'other-backups'), {})
    rmSync(join(cwd, 'metadata/catalog'), { recursive: true })
    await holdfastJson(['backup', '--store', 'level:metadata', '--to', 'file:other-backups'], { cwd })
    renameSync(join(cwd, 'backups'), join(cwd, 'mounted'))
    await writeTree(join(cwd, 'backups'), {})
    const gc = ['gc', ...PLACES, '--from', 'file:other-backups', '--min-age', '0', '--apply']
    const { code, stderr } = await holdfast(gc, { cwd })
    expect([code, payloadsIn(cwd)]).toEqual([1, 2])
    expect(stderr).toMatch(/^error: hold_unavailable: Cannot tell what is held: "[^"]*\/backups" lists no backup, and the catalog never had one there\nhint: [^\n]+--allow-empty \(mayBeEmpty: true\)\n$/)
    rmSync(join(cwd, 'backups'), { recursive: true })
    renameSync(join(cwd, 'mounted'), join(cwd, 'backups'))
    expect(await holdfastJson(gc, { cwd })).toMatchObject({ held: { payloads: 2 }, deleted: { payloads: 0 } })
    rmSync(join(cwd, 'backups', backupId), { recursive: true })
    expect(await holdfastJson([...gc, '--allow-empty'], { cwd })).toMatchObject({ deleted: { payloads: 2 } })
  })

  test('fails in the end when a payload cannot be deleted, and deletes the others', async () => {
    const { cwd, backupId } = await backedUp()
    await emptied(cwd)
    await holdfastJson(['delete', backupId, '--from', 'file:backups', '--catalog', 'metadata/catalog', '--force', '--yes'], { cwd })
    let stuck: string | undefined
    const unhindered = { ...nodeFiles }
    const remove = vi.spyOn(nodeFiles, 'removeFile').mockImplementation((path) => {
      if (path.startsWith(join(cwd, 'payloads'))) stuck ??= path
      return path === stuck ? Promise.reject(systemError('EPERM', 'unlink', path)) : unhindered.removeFile(path)
    })
    onTestFinished(() => remove.mockRestore())
    const { code, stderr } = await holdfastOnTerminal(['gc', '--store', `level:${cwd}/metadata`, '--payloads', join(cwd, 'payloads'), '--from', `file:${cwd}/backups`, '--min-age', '0', '--apply', '--quiet'])
    expect([code, payloadsIn(cwd)]).toEqual([1, 1])
    expect(stderr).toMatch(/^error: destination_permission_denied: Cannot delete 1 payload that nothing needs, the first of them "[^"]+": operation not permitted \(EPERM\)\n/)
  })

  test('says what holds everything, and how that ends', async () => {
    const { cwd } = await backedUp()
    const catalog = await openLevelCatalog(join(cwd, 'metadata/catalog'))
    const { leaseId } = await new Leases({ catalog }).protect({ purpose: 'restore' })
    await catalog.close()
    const { code, stdout } = await holdfast(['gc', ...PLACES], { cwd })
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`^Nothing was marked or deleted: everything is held\n  lease ${leaseId} of a restore, taken [^\n]+\nA lease ends with its work\\. [^\n]+--apply, a minute or more apart; [^\n]+"holdfast holds --release ID --from URL --store URL"\n$`))
  })

  test('warns of a lease whose owner cannot be asked, with the command that releases it', async () => {
    const { cwd } = await backedUp()
    const catalog = await openLevelCatalog(join(cwd, 'metadata/catalog'))
    await catalog.append({ type: 'lease-taken', at: new Date().toISOString(), leaseId: newUlid(), purpose: 'restore', owner: { ...thisProcess(), host: 'elsewhere' } })
    await catalog.close()
    const { stderr } = await holdfast(['gc', ...PLACES, '--apply'], { cwd })
    const [, command = ''] = /^warning: .* still holds payloads; .*"holdfast (holds --release [^"]+)"/.exec(stderr) ?? []
    const words = command.replace('--from URL', '--from file:backups').replace('--store URL', '--store level:metadata').split(' ')
    expect(await holdfast(words, { cwd })).toMatchObject({ code: 0 })
    expect(await holdfast(['gc', ...PLACES, '--apply'], { cwd })).toMatchObject({ code: 0, stderr: '' })
  })

  test('refuses payloads that another store refers to as well', async () => {
    const { cwd } = await backedUp()
    await holdfastJson(['import', 'tree', '--store', 'level:other', '--payloads', 'payloads'], { cwd })
    await emptied(cwd)
    const { code, stderr } = await holdfast(['gc', ...PLACES, '--min-age', '0', '--apply'], { cwd })
    expect([code, payloadsIn(cwd)]).toEqual([1, 2])
    expect(stderr).toMatch(/the store "\w+" at "level:\/[^"]+\/other" refers to payloads there too/)
  })

  test('refuses for a copy of the store, of which the payload directory knows nothing', async () => {
    const { cwd } = await backedUp()
    await holdfastJson(['restore', 'latest', '--from', 'file:backups', '--store', 'level:copy', '--yes'], { cwd })
    await writeTree(join(cwd, 'more'), { 'c.txt': 'gamma' })
    await holdfastJson(['import', 'more', '--store', 'level:metadata', '--payloads', 'payloads'], { cwd })
    const gc = ['gc', '--store', 'level:copy', '--payloads', 'payloads', '--from', 'file:backups', '--min-age', '0', '--apply']
    const { code, stderr } = await holdfast(gc, { cwd })
    expect([code, payloadsIn(cwd)]).toEqual([1, 3])
    expect(stderr).toMatch(/^error: hold_unavailable: Cannot sweep "payloads" for the store "\w+" at "level:\/[^"]+\/copy": a copy of it at "level:\/[^"]+\/metadata" refers to payloads there too\nhint: [^\n]+ remove "payloads\/stores\/[^"]+"\. Nothing was deleted\n$/)
  })

  test.each([
    ['a store made by it', 'level:copy', false],
    ['a store of another ID', 'level:other', true],
  ])('refuses once a restore noted that %s needs the payloads', async (_, store, isThere) => {
    const { cwd, backupId } = await backedUp()
    await writeTree(join(cwd, 'empty'), {})
    if (isThere) await holdfastJson(['import', 'empty', '--store', store], { cwd })
    const restore = ['restore', 'latest', '--from', 'file:backups', '--store', store, '--allow-store-id', '--yes']
    expect((await holdfast(restore, { cwd })).stderr).toMatch(/^If its payloads are in a payload directory, name it with --payloads: /m)
    const { stderr: told } = await holdfast([...restore, '--payloads', 'payloads'], { cwd })
    expect(told).not.toMatch(/--payloads/)
    expect(told).toMatch(/^warning: (?:a copy of this store|the store "\w+") at "level:[^"]+\/metadata" refers to payloads in this directory too: no "holdfast gc" of it runs [^\n]+ remove "payloads\/stores\/[^"]+"; /m)
    await emptied(cwd)
    await holdfastJson(['delete', backupId, '--from', 'file:backups', '--catalog', 'metadata/catalog', '--force', '--yes'], { cwd })
    const { code, stderr } = await holdfast(['gc', ...PLACES, '--min-age', '0', '--apply'], { cwd })
    expect([code, payloadsIn(cwd)]).toEqual([1, 2])
    expect(stderr).toContain(`/${store.slice(6)}" refers to payloads there too`)
  })

  test('refuses once a conversion noted that the new store needs the payloads', async () => {
    const { cwd } = await backedUp()
    await holdfastJson(['convert', '--from-store', 'level:metadata', '--to-store', 'level:converted', '--payloads', 'payloads'], { cwd })
    expect((await holdfast(['gc', ...PLACES], { cwd })).stderr).toContain('/converted" refers to payloads there too')
  })

  test('refuses once a restore of one file noted that a copy of the store needs the payloads', async () => {
    const { cwd } = await backedUp()
    await writeTree(join(cwd, 'trials'), {})
    const restore = ['restore', 'latest', '--from', 'file:backups', '--store', 'level:copy']
    await holdfastJson([...restore, '--yes'], { cwd })
    await holdfastJson([...restore, '--path', 'tree/a.txt', '--to-path', 'tree/again', '--payloads', 'payloads', '--trial-dir', 'trials'], { cwd })
    expect((await holdfast(['gc', ...PLACES], { cwd })).stderr).toContain('a copy of it at "level:')
  })

  test('goes on when a restore that would note a store was refused', async () => {
    const { cwd } = await backedUp()
    await writeTree(join(cwd, 'empty'), {})
    await holdfastJson(['import', 'empty', '--store', 'level:other'], { cwd })
    const refused = await holdfast(['restore', 'latest', '--from', 'file:backups', '--store', 'level:other', '--payloads', 'payloads', '--yes'], { cwd })
    expect(refused).toMatchObject({ code: 4, stderr: expect.stringMatching(/^error: store_id_mismatch: /) as unknown })
    await holdfastJson(['gc', ...PLACES], { cwd })
  })

  test('takes a store of which only the ID was noted for the one, wherever it is, and notes the place', async () => {
    const { cwd } = await backedUp()
    const [name = ''] = readdirSync(join(cwd, 'payloads/stores'))
    renameSync(join(cwd, 'payloads/stores', name), join(cwd, 'payloads/stores', name.split('@')[0] ?? ''))
    await holdfastJson(['gc', ...PLACES, '--apply'], { cwd })
    expect(readdirSync(join(cwd, 'payloads/stores'))).toContain(name)
  })

  test('knows a store again that is reached by a link', async () => {
    const { cwd } = await backedUp()
    symlinkSync('.', join(cwd, 'linked'))
    expect(await holdfastJson(['gc', '--store', 'level:linked/metadata', ...PLACES.slice(2)], { cwd })).toMatchObject({ live: { payloads: 2 } })
  })

  test('decides nothing for a directory that knows of no store, until told that there is no other', async () => {
    const { cwd } = await backedUp()
    await emptied(cwd)
    rmSync(join(cwd, 'payloads/stores'), { recursive: true })
    const gc = ['gc', ...PLACES, '--min-age', '0']
    const { code, stderr } = await holdfast([...gc, '--apply'], { cwd })
    expect([code, payloadsIn(cwd)]).toEqual([1, 2])
    expect(stderr).toMatch(/: the directory does not record which stores use it\nhint: [^\n]+--register \(register: true\)\. Nothing was deleted\n$/)
    await holdfastJson([...gc, '--register'], { cwd })
    expect(readdirSync(join(cwd, 'payloads'))).not.toContain('stores')
    await holdfastJson([...gc, '--register', '--apply'], { cwd })
    await holdfastJson(gc, { cwd })
  })

  test('decides nothing by a damaged note of a store', async () => {
    const { cwd } = await backedUp()
    const [name = ''] = readdirSync(join(cwd, 'payloads/stores'))
    writeFileSync(join(cwd, 'payloads/stores', name), '')
    expect((await holdfast(['gc', ...PLACES], { cwd })).stderr).toMatch(/^error: hold_unavailable: Cannot tell which store needs payloads: "payloads\/stores\/[^"]+" is damaged\nhint: [^\n]+--register \(register: true\)\. Nothing/)
  })
})

describe('holdfast holds', () => {
  test('lists the holders, and those of one payload', async () => {
    const { cwd, backupId } = await backedUp()
    const [directory = ''] = readdirSync(join(cwd, 'payloads')).filter((name) => name !== 'stores')
    const payloadId = `${directory}${readdirSync(join(cwd, 'payloads', directory))[0]}`
    expect(await holdfastJson(['holds', '--from', 'file:backups', '--catalog', 'metadata/catalog'], { cwd })).toMatchObject({ holders: [{ kind: 'backup', backupId, payloadIds: { count: 2 } }] })
    expect(await holdfastJson(['holds', payloadId, '--from', 'file:backups'], { cwd })).toMatchObject({ payloadId, holders: [{ backupId }] })
    expect(await holdfastJson(['holds', '--from', 'file:backups', '--store', 'level:metadata'], { cwd })).toMatchObject({ holders: [{ kind: 'backup', backupId }] })
    const none = ['holds', '0'.repeat(64), '--from', 'file:backups']
    expect((await holdfast([...none, '--catalog', 'metadata/catalog'], { cwd })).stdout).toBe(`Nothing holds ${'0'.repeat(64)}\n`)
    expect((await holdfast(none, { cwd })).stdout).toMatch(/^No backup holds 0{64}; leases were not checked; [^\n]*--store[^\n]*\n$/)
  })
})

test('holdfast holds refuses what names a backup: that nothing holds such a payload says nothing of the backup', async () => {
  const { cwd, backupId } = await backedUp()
  for (const text of ['latest', backupId, backupId.toLowerCase(), backupId.slice(0, 8)]) {
    const { code, stdout, stderr } = await holdfast(['holds', text, '--from', 'file:backups', '--store', 'level:metadata'], { cwd })
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(new RegExp(`^error: invalid_argument: Cannot use "${text}" as a payload ID: it names a backup\nhint: [^\n]*"holdfast show"\n$`))
  }
  expect((await holdfast(['holds', '--help'])).stdout).toContain('[payload-id]')
})

describe('holdfast verify --level payloads', () => {
  test('says which payloads are gone', async () => {
    const { cwd } = await backedUp()
    const verify = ['verify', 'latest', '--from', 'file:backups', '--level', 'payloads', '--payloads', 'payloads']
    await holdfastJson(verify, { cwd })
    for (const name of readdirSync(join(cwd, 'payloads'))) if (name !== 'stores') rmSync(join(cwd, 'payloads', name), { recursive: true })
    const { code, stderr } = await holdfast(verify, { cwd })
    expect(code).toBe(3)
    expect(stderr).toMatch(/^error: payload_missing: Cannot find 2 payloads, the first of them "[0-9a-f]{64}"/)
  })
})

/** Makes the live store one that refers to nothing: an empty tree is backed up elsewhere and restored over it, twice, so that none is kept. */
async function emptied(cwd: string): Promise<boolean> {
  await writeTree(join(cwd, 'empty'), {})
  await holdfastJson(['import', 'empty', '--store', 'level:empty-store', '--share', 'empty'], { cwd })
  await holdfastJson(['backup', '--store', 'level:empty-store', '--to', 'file:empty-backups'], { cwd })
  for (let time = 0; time < 2; time++) await holdfastJson(['restore', 'latest', '--from', 'file:empty-backups', '--store', 'level:metadata', '--allow-store-id', '--yes'], { cwd })
  return true
}
