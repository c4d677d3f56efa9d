import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { restoreSubtree } from '../../../src/restore/subtree/restore-subtree.ts'
import { openLevelStore } from '../../../src/stores/level/index.ts'
import { openPostgresTrial } from '../../../src/stores/postgres/index.ts'
import { newPlace } from '../../backup/backups.ts'
import { publish, takeBackup } from '../../restore/publish.ts'
import { fillTree, subtreeTests, treeAt } from '../../restore/subtree/subtrees.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { rowsOf, schemaName, storeIn } from './homes.ts'
import { sharedPool } from './schemas.ts'

const openStore = async (): ReturnType<typeof storeIn> => await storeIn(await schemaName())
const openTrial = async (): ReturnType<typeof openPostgresTrial> => await openPostgresTrial(await sharedPool())

describe('in Postgres', () => subtreeTests({ openStore, openTrial }))

it('restoreSubtree() brings what a Postgres store held into a LevelDB store, and leaves no schema', async () => {
  const from = await openStore()
  await fillTree(from)
  const { destination } = await newPlace()
  const backupId = await publish(destination, await takeBackup(from))
  const store = await openLevelStore(join(await tempDir(), 'store'))
  onTestFinished(() => store.close())
  // A restore of another machine may be under way in the one, and not in the other.
  expect([from.isAlone, store.isAlone]).toEqual([false, true])
  await store.createShare('here')
  await restoreSubtree({ store, destination, backupId, openTrial, path: 's/dir', toPath: 'here/dir', allowStoreId: true })
  expect(await treeAt(store, 'here/dir')).toEqual(await treeAt(from, 's/dir'))
  expect(await rowsOf(`SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 'holdfast_trial_')`)).toEqual([])
})
