/** No payload that is needed is ever deleted, whatever comes between what; and what nothing needs goes. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { runs, seed } from '../support/seed.ts'
import { type Outcome, program, simulate } from './simulation.ts'

test('a payload that a store or a listed backup refers to is never deleted, and one that nothing needs is, in any order of steps', { timeout: 600_000 }, async () => {
  const totals = { schedules: 0, steps: 0, deleted: 0, backups: 0, codes: new Map<string, number>() }
  const count = ({ steps, deleted, backups, codes }: Outcome): void => {
    totals.schedules += 1
    totals.steps += steps
    totals.deleted += deleted
    totals.backups += backups
    for (const [code, times] of codes) totals.codes.set(code, (totals.codes.get(code) ?? 0) + times)
  }
  await fc.assert(
    fc.asyncProperty(program, async (program) => {
      count(await simulate(program))
    }),
    { seed, numRuns: runs(10_000) },
  )
  console.log(`simulated ${totals.schedules} schedules, ${totals.steps} steps: ${totals.deleted} payloads deleted, ${totals.backups} backups left, ${JSON.stringify(Object.fromEntries(totals.codes))}`)
  // Far from nothing came of it.
  expect(totals.deleted).toBeGreaterThan(totals.schedules / 4)
})
