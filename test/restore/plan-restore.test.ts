import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { fsDestination } from '../../destinations/fs/index.ts'
import type { Destination } from '../../src/contracts/destination.ts'
import { describePlan, planRestore, type RestorePlan } from '../../src/restore/plan-restore.ts'
import { restoreBackup } from '../../src/restore/restore-backup.ts'
import { rollback } from '../../src/restore/rollback.ts'
import { type LevelStore, openLevelHome, openLevelStore } from '../../src/stores/level/index.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'
import { altered } from '../support/altered.ts'
import { tempDir } from '../support/temp-dir.ts'
import { publish, takeBackup } from './publish.ts'
import { dump, fillStore } from './trees.ts'

interface Setting {
  readonly path: string
  readonly target: LevelStore
  readonly destination: Destination
  readonly backupId: string
  /** What the store held when it was backed up. */
  readonly original: string
}

async function setUp(): Promise<Setting> {
  const path = await tempDir()
  const target = await openLevelStore(join(path, 'store'))
  const destination = fsDestination({ path: join(path, 'backups') })
  onTestFinished(async () => {
    await target.close()
    await destination.close()
  })
  await fillStore(target, { seed: 1 })
  const original = await dump(target)
  const backupId = await publish(destination, await takeBackup(target))
  await target.setSetting('since', 'then')
  return { path, target, destination, backupId, original }
}

/** A destination that counts what is asked of it. */
function counting(destination: Destination): { readonly destination: Destination; readonly calls: { manifest: number; stat: number } } {
  const calls = { manifest: 0, stat: 0 }
  const counted = altered(destination, {
    manifest: async (backupId, options) => (calls.manifest++, await destination.manifest(backupId, options)),
    stat: async (backupId, options) => (calls.stat++, await destination.stat(backupId, options)),
  })
  return { destination: counted, calls }
}

describe('planRestore()', () => {
  it('takes the sections of a target in whatever order it names them, and refuses others', async () => {
    const { target, destination, backupId } = await setUp()
    const sections = target.sections ?? []
    expect(sections.length).toBeGreaterThan(1)
    const { manifest } = await planRestore({ target: altered(target, { sections: sections.toReversed() }), destination, backupId })
    expect(Object.keys(manifest.records).toSorted()).toEqual(sections)
    for (const others of [sections.slice(1), [...sections, 'more'], sections.with(0, 'other')]) {
      await expect(planRestore({ target: altered(target, { sections: others }), destination, backupId })).rejects.toMatchObject({
        code: 'store_kind_mismatch',
        details: { expected: others },
      })
    }
  })

  it('says what a restore will do, as plain data, and touches nothing', async () => {
    const { target, destination, backupId } = await setUp()
    const before = [await target.engines(), await dump(target)]
    const plan = await planRestore({ target, destination, backupId })
    expect(plan).toMatchObject({
      backupId,
      destination: destination.url,
      manifest: { backupId, storeId: target.storeId },
      target: { kind: 'level', storeId: target.storeId, live: (await target.engines()).live },
      storeId: target.storeId,
      space: { neededBytes: expect.any(Number) as number, freeBytes: expect.any(Number) as number },
    })
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan)
    expect([await target.engines(), await dump(target)]).toEqual(before)
    const [backup, replaced, space] = describePlan(plan, 'level:store')
    expect(backup).toMatch(new RegExp(`^Backup ${backupId} of .*: level store ${target.storeId}, [0-9,]+ records?, [0-9,]+ payload IDs?, .*B$`))
    expect(replaced).toBe(`It replaces everything in level:store (store ${target.storeId}), which is kept for "holdfast rollback"`)
    expect(space).toMatch(/^It needs about .*B next to the store, where .*B are free$/)
  })

  it('says when there is no store yet, and when an engine that was kept goes', async () => {
    const { path, target, destination, backupId } = await setUp()
    const home = await openLevelHome(join(path, 'new'))
    onTestFinished(() => home.close())
    const plan = await planRestore({ target: home, destination, backupId })
    expect([plan.storeId, plan.target.storeId, plan.target.live]).toEqual([target.storeId, undefined, undefined])
    expect(describePlan(plan)).toContain('There is no store at the store yet: it will be created')
    await restoreBackup({ target, destination, backupId })
    expect(describePlan(await planRestore({ target, destination, backupId }))).toContain('The store kept from an earlier restore will be removed')
  })

  it('refuses what a restore would refuse', async () => {
    const { target, destination, backupId, path } = await setUp()
    const other = await openMemoryStore()
    onTestFinished(() => other.close())
    await expect(planRestore({ target: other, destination, backupId })).rejects.toMatchObject({ code: 'store_id_mismatch' })
    expect((await planRestore({ target: other, destination, backupId, allowStoreId: true })).storeId).toBe(other.storeId)
    await expect(planRestore({ target: altered(target, { freeBytes: async () => 1 }), destination, backupId })).rejects.toMatchObject({ code: 'destination_no_space' })
    writeFileSync(join(path, 'backups', backupId, 'payload'), 'short')
    await expect(planRestore({ target, destination, backupId })).rejects.toMatchObject({ code: 'backup_incomplete' })
  })
})

describe('restoreBackup() by a plan', () => {
  it('runs that very plan, also one that was sent as JSON: the manifest is read once, and the sizes are looked at once', async () => {
    const { target, original, backupId, ...setting } = await setUp()
    const { destination, calls } = counting(setting.destination)
    const plan = JSON.parse(JSON.stringify(await planRestore({ target, destination, backupId }))) as RestorePlan
    const { live } = await target.engines()
    expect(await restoreBackup({ target, destination, plan })).toMatchObject({ backupId, previous: live, storeId: target.storeId })
    expect(calls).toEqual({ manifest: 1, stat: 1 })
    expect(await dump(target)).toBe(original)
    await restoreBackup({ target, destination, backupId })
    expect(calls).toEqual({ manifest: 2, stat: 2 })
  })

  it('is refused when the store is not as it was planned, and nothing is changed', async () => {
    const { target, destination, backupId } = await setUp()
    const plan = await planRestore({ target, destination, backupId })
    await restoreBackup({ target, destination, backupId })
    const before = [await target.engines(), await dump(target)]
    const error: unknown = await restoreBackup({ target, destination, plan }).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'restore_plan_stale', hint: expect.stringMatching(/"holdfast restore" again, .* planRestore\(\)/) as unknown, details: { expected: plan.target, actual: { previous: plan.target.live } } })
    expect([await target.engines(), await dump(target)]).toEqual(before)
    await target.setSetting('writes', 'go on')
    // As it was again, but for the engine that is kept.
    await rollback({ target })
    await expect(restoreBackup({ target, destination, plan })).rejects.toMatchObject({ code: 'restore_plan_stale' })
  })

  it('is refused, before the swap, when the backup is not as it was planned', async () => {
    const { path, target, destination, backupId } = await setUp()
    const plan = await planRestore({ target, destination, backupId })
    const before = [await target.engines(), await dump(target)]
    const payload = join(path, 'backups', backupId, 'payload')
    writeFileSync(payload, 'another'.repeat(10))
    await expect(restoreBackup({ target, destination, plan })).rejects.toMatchObject({ code: expect.stringMatching(/^(?:restore_corrupt|backup_incomplete|checksum_mismatch)$/) as string })
    await destination.delete(backupId)
    await expect(restoreBackup({ target, destination, plan })).rejects.toMatchObject({ code: 'manifest_missing' })
    expect([await target.engines(), await dump(target)]).toEqual(before)
    await target.setSetting('writes', 'go on')
  })

  it('is refused for another destination, and for another store', async () => {
    const { path, target, destination, backupId } = await setUp()
    const plan = await planRestore({ target, destination, backupId })
    const elsewhere = fsDestination({ path: join(path, 'elsewhere') })
    await expect(restoreBackup({ target, destination: elsewhere, plan })).rejects.toMatchObject({ code: 'invalid_argument' })
    const other = await openLevelStore(join(path, 'other'))
    onTestFinished(() => other.close())
    await expect(restoreBackup({ target: other, destination, plan })).rejects.toMatchObject({ code: 'restore_plan_stale' })
  })

  it('is refused, before anything is touched, when it is not as it was made', async () => {
    const { target, destination, backupId } = await setUp()
    const plan = await planRestore({ target, destination, backupId })
    const { payload: _, ...noPayload } = plan.manifest
    const before = [await target.engines(), await dump(target)]
    const changes = [
      { manifest: undefined },
      { manifest: noPayload },
      { manifest: { ...plan.manifest, records: null } },
      { manifest: { ...plan.manifest, manifestVersion: 9 } },
      { manifest: { ...plan.manifest, payload: { ...plan.manifest.payload, bytes: 1e300 } } },
      { storeId: 'another' },
      { storeId: undefined },
      { allowStoreId: 'no' },
      { allowAltered: undefined },
    ]
    for (const change of changes) {
      const edited = { ...plan, ...change } as unknown as RestorePlan
      await expect(restoreBackup({ target, destination, plan: edited }), JSON.stringify(change)).rejects.toMatchObject({ code: 'invalid_argument' })
    }
    await expect(restoreBackup({ target, destination, plan: { ...plan, target: null } as unknown as RestorePlan })).rejects.toMatchObject({ code: 'restore_plan_stale' })
    expect([await target.engines(), await dump(target)]).toEqual(before)
    await restoreBackup({ target, destination, plan })
  })
})
