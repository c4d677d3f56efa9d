import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import * as fc from 'fast-check'
import { MemoryLevel } from 'memory-level'
import { expect, test } from 'vitest'
import { checkTree } from '../../../src/metadata/check-tree.ts'
import { LevelMetadataStore } from '../../../src/stores/level/store/level-metadata-store.ts'
import type { LevelDatabase } from '../../../src/stores/level/engine/text-database.ts'
import { checkLevelRecords } from '../../support/check-level-records.ts'
import { stateOfModel, stateOfStore } from '../../support/metadata-state.ts'
import { type Step, program, step } from '../../support/metadata-steps.ts'
import { NaiveMetadata } from '../../support/naive-metadata.ts'
import { runs, seed } from '../../support/seed.ts'
import { tempDir } from '../../support/temp-dir.ts'

test('LevelMetadataStore does what a naive model does, operations at once in the order they were asked for', async () => {
  await fc.assert(
    fc.asyncProperty(program, async (groups) => {
      await compare(new MemoryLevel(), groups)
    }),
    { seed, numRuns: runs(300) },
  )
})

test('LevelMetadataStore on LevelDB does what a naive model does', async () => {
  const directory = await tempDir()
  let count = 0
  await fc.assert(
    fc.asyncProperty(program, async (groups) => {
      await compare(new ClassicLevel(join(directory, `${count++}`), { multithreading: true }), groups)
    }),
    { seed, numRuns: runs(25) },
  )
})

async function compare(db: LevelDatabase, groups: readonly (readonly Step[])[]): Promise<void> {
  const store = await LevelMetadataStore.open(db, { kind: 'test', durable: false })
  const model = new NaiveMetadata()
  try {
    for (const share of ['s', 't']) await step('', (model) => model.createShare(share), (store) => store.createShare(share)).run(model, store)
    for (const group of groups) {
      await Promise.all(group.map((step) => step.run(model, store)))
      expect(await stateOfStore(store, model)).toEqual(stateOfModel(model))
    }
    expect(await checkTree(store)).toEqual([])
    expect(await checkLevelRecords(db)).toEqual([])
  } finally {
    await store.close()
  }
}
