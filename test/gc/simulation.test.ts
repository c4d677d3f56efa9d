/** No payload that is needed is ever deleted, whatever comes between what; and what nothing needs goes. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { runs, seed } from '../support/seed.ts'
import { type Outcome, program, simulate } from './simulation.ts'

test('a payload that a store or a listed backup refers to is never deleted, and one that nothing needs is, in any order of steps', { timeout: 600_000 }, async () => {
  const totals = { schedules: 0, steps: 0, deleted: 0, backups: 0, counts: new Map<string, number>() }
  const count = ({ steps, deleted, backups, counts }: Outcome): void => {
    totals.schedules += 1
    totals.steps += steps
    totals.deleted += deleted
    totals.backups += backups
    for (const [what, times] of counts) totals.counts.set(what, (totals.counts.get(what) ?? 0) + times)
  }
  await fc.assert(
    fc.asyncProperty(program, async (program) => {
      count(await simulate(program))
    }),
    { seed, numRuns: runs(10_000) },
  )
  const happened = [...totals.counts].toSorted(([left], [right]) => (left < right ? -1 : 1)).map(([what, times]) => `${what}: ${times}`)
  console.log(`simulated ${totals.schedules} schedules, ${totals.steps} steps: ${totals.deleted} payloads deleted, ${totals.backups} backups left; ${happened.join(', ')}`)
  // Far from nothing came of it, and everything happened that is said to.
  expect(totals.deleted).toBeGreaterThan(totals.schedules / 4)
  expect(EVENTS.filter((event) => (totals.counts.get(event) ?? 0) < totals.schedules / 1000)).toEqual([])
})

/** What must happen in one schedule of a thousand at least. */
const EVENTS = (
  'backup dead, restore dead, rollback dead, delete dead, sweep dead, write over, unlink over, recover over, clock over, mount over, restore made, rollback made, ' +
  'sweep that deletes, sweep held off, backup catalog_unavailable, backup destination_unreachable, sweep hold_unavailable, delete backup_protected, ' +
  'lease-taken, lease-narrowed, lease-suspected, lease-released as handed-over, lease-released as failed, lease-released as recovered, ' +
  'backup-recorded, backup-deleted, sweep-acknowledged, sweep-ended'
).split(', ')
