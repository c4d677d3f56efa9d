import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { thisProcess } from '../../../src/util/job-owner.ts'
import { openLevelTrial } from '../../../src/stores/level/level-trial.ts'
import type { MetadataStore } from '../../../src/contracts/metadata-store.ts'
import { restoreBackup } from '../../../src/restore/restore-backup.ts'
import { type ReadableTrial, restoreSubtree } from '../../../src/restore/subtree/restore-subtree.ts'
import { openLevelStore } from '../../../src/stores/level/index.ts'
import { type MemoryStore, openMemoryStore } from '../../../src/stores/memory/index.ts'
import { newPlace } from '../../backup/backups.ts'
import { altered } from '../../support/altered.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { publish, takeBackup } from '../publish.ts'
import { fillTree, subtreeTests, treeAt } from './subtrees.ts'

async function memoryStore(): Promise<MemoryStore> {
  const store = await openMemoryStore()
  onTestFinished(() => store.close())
  return store
}

async function memoryTrial(): Promise<ReadableTrial> {
  const store = await openMemoryStore()
  return Object.assign(altered<MetadataStore>(store, {}), { discard: () => store.close() })
}

async function levelStore(): Promise<MetadataStore> {
  const store = await openLevelStore(join(await tempDir(), 'store'))
  onTestFinished(() => store.close())
  return store
}

async function levelTrial(): Promise<ReadableTrial> {
  return await openLevelTrial(await tempDir(), { onWarning: () => expect.fail('warned') })
}

describe('in memory', () => subtreeTests({ openStore: memoryStore, openTrial: memoryTrial }))
describe('in LevelDB', () => subtreeTests({ openStore: levelStore, openTrial: levelTrial }))

it('restoreSubtree() reads the backup of a store in memory through a trial in LevelDB', async () => {
  const store = await memoryStore()
  const { destination } = await newPlace()
  await fillTree(store)
  const backupId = await publish(destination, await takeBackup(store))
  await restoreSubtree({ store, destination, backupId, openTrial: levelTrial, path: 's/dir', toPath: 't/dir' })
  expect(await treeAt(store, 't/dir')).toEqual(await treeAt(store, 's/dir'))
})

describe('what a restore that did not end has left', () => {
  const DEAD = { host: hostname(), pid: 2 ** 22 + 1, bootId: thisProcess().bootId, start: '1' }
  const prefix = '.holdfast-restore-'
  const ELSEWHERE = JSON.stringify({ ...DEAD, host: 'elsewhere' })
  const cases: readonly (readonly [why: string, share: string, options: Record<string, string>, stays: boolean, warnings: number])[] = [
    ['a process that has ended: removed', `${prefix}01M7XRJ7912R2RCAZQ1ZTDCFNH`, { 'holdfast.owner': JSON.stringify(DEAD) }, false, 0],
    ['this process, in which it is not under way: removed', `${prefix}01M7XRJ7912R2RCAZQ1ZTDCFNH`, { 'holdfast.owner': JSON.stringify(thisProcess()) }, false, 0],
    ['a process that runs: stays', `${prefix}01M7XRJ7912R2RCAZQ1ZTDCFNH`, { 'holdfast.owner': JSON.stringify(parentProcess()) }, true, 0],
    ['another machine: removed, for only this process has the store', `${prefix}01M7XRJ7912R2RCAZQ1ZTDCFNH`, { 'holdfast.owner': ELSEWHERE }, false, 0],
    ['no owner: stays', `${prefix}of-mine`, {}, true, 0],
    ['a malformed owner: stays', `${prefix}of-mine`, { 'holdfast.owner': '{"host":1}' }, true, 0],
    ['an owner that is not JSON: stays', `${prefix}of-mine`, { 'holdfast.owner': '{' }, true, 0],
    ['a share of another name: stays', 'restore', { 'holdfast.owner': JSON.stringify(DEAD) }, true, 0],
  ]

  it.each(cases)('of %s', async (_, share, options, stays, warned) => {
    const store = await memoryStore()
    const { destination } = await newPlace()
    await fillTree(store)
    const backupId = await publish(destination, await takeBackup(store))
    const { root } = await store.createShare(share, { options })
    const { inode } = await store.create({ parent: root, name: 'restored' }, { type: 'directory' })
    await store.create({ parent: inode, name: 'file' }, { type: 'file', content: { payloadId: 'p' } })
    const { warnings } = await restoreSubtree({ store, destination, backupId, openTrial: memoryTrial, path: 's/dir', toPath: 's/x' })
    expect([(await store.share(share)) !== undefined, warnings.length]).toEqual([stays, warned])
  })

  it('of another machine stays where other processes may have the store open, with a warning, until it is released', async () => {
    const store = altered<MetadataStore>(await memoryStore(), { isAlone: false })
    const { destination } = await newPlace()
    await fillTree(store)
    const backupId = await publish(destination, await takeBackup(store))
    const names = ['01M7XRJ7912R2RCAZQ1ZTDCFNH', '01M7XRJ7912R2RCAZQ1ZTDCFNJ'].map((id) => `${prefix}${id}`)
    for (const name of names) await store.createShare(name, { options: { 'holdfast.owner': ELSEWHERE } })
    await store.createShare(`${prefix}at work`, { options: { 'holdfast.owner': JSON.stringify(parentProcess()) } })
    const again = async (toPath: string, release?: string): Promise<string[]> => {
      const { warnings } = await restoreSubtree({ store, destination, backupId, openTrial: memoryTrial, path: 's/dir/one', toPath, release })
      return warnings.map(({ message }) => message)
    }
    const warningOf = (name = ''): unknown => expect.stringMatching(new RegExp(`^The share "${name}" belongs to a restore that may still be running.*--release ${name} \\(release: "${name}"\\)$`)) as unknown
    expect(await again('s/1')).toEqual(names.map(warningOf))
    expect(await again('s/2', names[0])).toEqual([warningOf(names[1])])
    for (const released of [names[0], 's', `${prefix}at work`]) await expect(again('s/3', released)).rejects.toMatchObject({ code: 'invalid_argument' })
    expect((await store.shares()).map(({ name }) => name)).toEqual([names[1], `${prefix}at work`, 's', 't'])
  })
})

it('restoreSubtree() and restoreBackup() of one store exclude each other', async () => {
  const store = await memoryStore()
  const { destination } = await newPlace()
  await fillTree(store)
  const backupId = await publish(destination, await takeBackup(store))
  const attempt = { store, destination, backupId, path: 's/dir', toPath: 's/x' }
  const refused: unknown[] = []
  const openTrial = async (): Promise<ReadableTrial> => {
    refused.push(await restoreBackup({ target: store, destination, backupId }).catch((error: unknown) => error))
    refused.push(await restoreSubtree({ ...attempt, openTrial: memoryTrial }).catch((error: unknown) => error))
    return await memoryTrial()
  }
  await restoreSubtree({ ...attempt, openTrial })
  expect(refused).toMatchObject([{ code: 'restore_in_progress' }, { code: 'restore_in_progress' }])
})

/** The process that runs this one: it goes on. */
function parentProcess(): unknown {
  const stat = readFileSync(`/proc/${process.ppid}/stat`, 'latin1')
  return { ...thisProcess(), pid: process.ppid, start: stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] }
}
