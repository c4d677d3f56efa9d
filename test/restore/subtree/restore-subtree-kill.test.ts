import { cp, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { fsDestination } from '../../../destinations/fs/index.ts'
import { openLevelTrial } from '../../../src/stores/level/level-trial.ts'
import { checkTree } from '../../../src/metadata/check-tree.ts'
import { restoreSubtree } from '../../../src/restore/subtree/restore-subtree.ts'
import { openLevelStore } from '../../../src/stores/level/index.ts'
import { startChild } from '../../support/child.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { publish, takeBackup } from '../publish.ts'
import { removeAt, treeAt } from './subtrees.ts'

const CHILD = new URL('../../../dist/test/restore/subtree/subtree-child.js', import.meta.url)

it.each([true, false])('restoreSubtree() killed before each change of the store leaves what was there, or the whole, and the next one completes it; something was there: %s', async (isThere) => {
  const dir = await tempDir()
  const [original, backups, trials] = [join(dir, 'original'), join(dir, 'backups'), join(dir, 'trials')]
  await mkdir(trials)
  const destination = fsDestination({ path: backups })
  const store = await openLevelStore(original)
  const { root } = await store.createShare('s')
  const { inode } = await store.create({ parent: root, name: 'dir' }, { type: 'directory' })
  const { inode: sub } = await store.create({ parent: inode, name: 'sub' }, { type: 'directory' })
  const file = await store.create({ parent: sub, name: 'file' }, { type: 'file', size: 1, content: { payloadId: 'p' } })
  await store.link({ parent: inode, name: 'same' }, file.inode)
  const backupId = await publish(destination, await takeBackup(store))
  const whole = await treeAt(store, 's/dir')
  await (isThere ? store.create({ parent: sub, name: 'since' }, { type: 'symlink', symlinkTarget: 'x' }) : removeAt(store, 's/dir'))
  const before = await treeAt(store, 's/dir')
  await store.close()

  const outcomes = { before: 0, whole: 0 }
  for (let fatal = 0; ; fatal++) {
    const path = join(dir, `store-${fatal}`)
    await cp(original, path, { recursive: true })
    const child = startChild(CHILD, [path, backups, trials, backupId, String(fatal)])
    onTestFinished(() => child.kill())
    if ((await child.ended) === 0) break
    const killed = await openLevelStore(path)
    try {
      const found = await treeAt(killed, 's/dir')
      const isWhole = JSON.stringify(found, bigints) === JSON.stringify(whole, bigints)
      expect(found).toEqual(isWhole ? whole : before)
      outcomes[isWhole ? 'whole' : 'before'] += 1
      expect(await checkTree(killed)).toEqual([])
      const openTrial = (): ReturnType<typeof openLevelTrial> => openLevelTrial(trials, { onWarning: () => expect.fail('warned') })
      await restoreSubtree({ store: killed, destination, backupId, path: 's/dir', overwrite: true, openTrial })
      expect(await treeAt(killed, 's/dir')).toEqual(whole)
      expect((await killed.shares()).map(({ name }) => name)).toEqual(['s'])
      expect(await killed.usedBytes()).toBe(1)
    } finally {
      await killed.close()
    }
  }
  console.log(`kill -9 of restoreSubtree(): ${outcomes.before} times as it was, ${outcomes.whole} times whole`)
  expect(outcomes).toEqual(isThere ? { before: 6, whole: 6 } : { before: 7, whole: 1 })
})

function bigints(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `${value}` : value
}
