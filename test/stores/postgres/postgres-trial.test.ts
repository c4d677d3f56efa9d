import { expect, onTestFinished, test } from 'vitest'
import { openPostgresTrial } from '../../../src/stores/postgres/index.ts'
import { refused } from '../../conformance/backupable-fixture.ts'
import { quote, sharedPool } from './schemas.ts'
import { serverUrl } from './server.ts'
import { statementPool } from './statement-pool.ts'

test('a trial whose connection breaks while it is removed says store_unavailable, and does not end the process', async () => {
  const admin = await sharedPool()
  const dropped: string[] = []
  const { pool, close } = statementPool(await serverUrl(), {
    before: async ({ text, processId }) => {
      const [, schema] = /^DROP SCHEMA "(\w+)"/.exec(text) ?? []
      if (schema === undefined) return
      dropped.push(schema)
      await admin.query('SELECT pg_terminate_backend($1, 5000)', [processId])
    },
  })
  onTestFinished(async () => {
    await close()
    for (const schema of dropped) await admin.query(`DROP SCHEMA ${quote(schema)} CASCADE`)
  })
  const trial = await openPostgresTrial(pool)
  await refused(trial.discard(), 'store_unavailable')
  expect(dropped).toHaveLength(1)
})
