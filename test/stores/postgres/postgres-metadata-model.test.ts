import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { checkTree } from '../../../src/metadata/check-tree.ts'
import { PostgresMetadataStore } from '../../../src/stores/postgres/store/postgres-metadata-store.ts'
import { stateOfModel, stateOfStore } from '../../support/metadata-state.ts'
import { program, step } from '../../support/metadata-steps.ts'
import { NaiveMetadata } from '../../support/naive-metadata.ts'
import { runs, seed } from '../../support/seed.ts'
import { dropSchema, newSchemaName } from './metadata-stores.ts'
import { sharedPool } from './schemas.ts'

test('PostgresMetadataStore does what a naive model does', async () => {
  const pool = await sharedPool()
  await fc.assert(
    fc.asyncProperty(program, async (groups) => {
      const schema = newSchemaName()
      const store = await PostgresMetadataStore.open(pool, { schema })
      const model = new NaiveMetadata()
      try {
        for (const share of ['s', 't']) await step('', (model) => model.createShare(share), (store) => store.createShare(share)).run(model, store)
        for (const group of groups) {
          // One after another: the server says in which order those at once are done.
          for (const step of group) await step.run(model, store)
          expect(await stateOfStore(store, model)).toEqual(stateOfModel(model))
        }
        expect(await checkTree(store)).toEqual([])
      } finally {
        await store.close()
        await dropSchema(schema)
      }
    }),
    { seed, numRuns: runs(25) },
  )
})
