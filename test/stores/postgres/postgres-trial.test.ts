import { expect, onTestFinished, test } from 'vitest'
import { openPostgresTrial, type PostgresTrial } from '../../../src/stores/postgres/index.ts'
import { lockKey } from '../../../src/stores/postgres/connection/advisory-locks.ts'
import { refused } from '../../conformance/backupable-fixture.ts'
import { quote, sharedPool } from './schemas.ts'
import { serverUrl } from './server.ts'
import { statementPool } from './statement-pool.ts'

test('a trial whose connection breaks while it is removed says store_unavailable, and does not end the process', async () => {
  const admin = await sharedPool()
  const dropped: string[] = []
  const { pool, close } = statementPool(await serverUrl(), {
    before: async ({ text, processId }) => {
      const [, schema] = /DROP SCHEMA "(\w+)"/.exec(text) ?? []
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

test('a trial that cannot be opened, at whichever statement its connection breaks, leaves no schema; that nothing could be swept stops none', async () => {
  const before = await trials()
  let isBroken = true
  let refusals = 0
  const warnings: string[] = []
  for (let breaks = 0; isBroken; breaks++) {
    isBroken = false
    const { pool, close } = statementPool(await serverUrl(), {
      before: async ({ index, text, processId }) => {
        if (index !== breaks) return
        isBroken = true
        if (!text.includes('DROP SCHEMA') && !text.includes('advisory_unlock')) await (await sharedPool()).query('SELECT pg_terminate_backend($1, 5000)', [processId])
      },
    })
    const opened = await openPostgresTrial(pool, { onWarning: ({ message }) => void warnings.push(message) }).catch((error: unknown) => {
      expect(error).toMatchObject({ code: 'store_unavailable' })
      refusals += 1
    })
    await opened?.discard()
    await close()
    expect(await trials()).toEqual(before)
  }
  expect(refusals).toBeGreaterThan(5)
  expect(warnings).toEqual(Array.from({ length: 3 }, () => expect.stringMatching(/^Cannot remove what trial restores have left: /) as unknown))
})

test('the next trial removes what a killed one has left; a trial under way stays, and so does a schema of another name', async () => {
  const admin = await sharedPool()
  const before = await trials()
  const foreign = 'holdfast_trial_of_mine'
  await admin.query(`CREATE SCHEMA ${foreign}`)
  onTestFinished(async () => void (await admin.query(`DROP SCHEMA ${foreign}`)))
  const killed = statementPool(await serverUrl(), {})
  const opened: PostgresTrial[] = []
  onTestFinished(async () => {
    // Once more where the test failed.
    await Promise.allSettled(opened.map((trial) => trial.discard()))
    await killed.close()
  })
  const lost = await openPostgresTrial(killed.pool)
  opened.push(lost)
  const left = (await trials()).filter((schema) => !before.includes(schema) && schema !== foreign)
  expect(left).toHaveLength(1)
  const warnings: Error[] = []
  const open = async (): ReturnType<typeof openPostgresTrial> => await openPostgresTrial(admin, { onWarning: (warning) => void warnings.push(warning) })
  const other = await open()
  opened.push(other)
  expect(await trials()).toEqual(expect.arrayContaining(left))

  await admin.query(`SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND (classid, objid) IN
    (SELECT ($1::int8 & 4294967295)::oid, ($2::int8 & 4294967295)::oid)`, [...lockKey('trials', left[0] ?? '')])
  await (await open()).discard()
  await other.discard()
  expect(await trials()).toEqual([...before, foreign].toSorted())
  expect(warnings).toEqual([])
  await expect(lost.discard()).rejects.toThrow(left[0])
})

async function trials(): Promise<string[]> {
  const { rows } = await (await sharedPool()).query<{ nspname: string }>(`SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 'holdfast_trial_') ORDER BY nspname`)
  return rows.map(({ nspname }) => nspname)
}
