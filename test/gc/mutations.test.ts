/** The simulation finds every rule that is broken: each of them is needed. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { seed } from '../support/seed.ts'
import { BREAKAGES } from './breakages.ts'
import { simulate } from './simulation.ts'

/** Far more than it takes. */
const MOST_SCHEDULES = 20_000

test.each(Object.entries(BREAKAGES))('%s is found', { timeout: 600_000 }, async (name, { programs, ...breakage }) => {
  const details = await fc.check(
    fc.asyncProperty(programs, async (program) => {
      await simulate(program, breakage)
    }),
    { seed, numRuns: MOST_SCHEDULES, endOnFailure: true },
  )
  console.log(`${name}: found in schedule ${details.numRuns}: ${String(details.errorInstance)}`)
  expect(details.failed).toBe(true)
  expect(String(details.errorInstance)).toMatch(/was deleted, and|which is deleted/)
})
