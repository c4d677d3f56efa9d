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

test('a trial that cannot be opened, at whichever statement its connection breaks, leaves no schema', async () => {
  const admin = await sharedPool()
  const trials = async (): Promise<unknown[]> => (await admin.query(`SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 'holdfast_trial_')`)).rows
  const before = await trials()
  let isOpened = false
  let breaks = 0
  for (; !isOpened; breaks++) {
    const { pool, close } = statementPool(await serverUrl(), {
      before: async ({ index, text, processId }) => {
        if (index === breaks && !text.startsWith('DROP')) await admin.query('SELECT pg_terminate_backend($1, 5000)', [processId])
      },
    })
    const opened = await openPostgresTrial(pool).catch((error: unknown) => {
      expect(error).toMatchObject({ code: 'store_unavailable' })
    })
    isOpened = opened !== undefined
    await opened?.discard()
    await close()
    expect(await trials()).toEqual(before)
  }
  expect(breaks).toBeGreaterThan(5)
})
