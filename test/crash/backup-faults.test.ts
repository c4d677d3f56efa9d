import { ok } from 'node:assert/strict'
import { afterAll, describe, test } from 'vitest'
import { isHoldfastError } from '../../src/errors.ts'
import { FAULTS } from '../support/faulty-files.ts'
import { SCENARIOS } from './backup-scenarios.ts'
import { runFaults } from './harness.ts'

let [points, injected] = [0, 0]
afterAll(() => console.log(`faults of whole attempts: ${points} I/O points, ${injected} failures injected`))

describe.each(SCENARIOS)('$name', (scenario) => {
  test.each(FAULTS)('survives $code $times at every step, with a typed error and a job that ended', async (fault) => {
    const report = await runFaults(scenario, fault, (error) => ok(isHoldfastError(error) && error.code.startsWith('destination_'), String(error)))
    if (fault === FAULTS[0]) points += report.points
    injected += report.injected
    ok(report.points > 5)
  })
})
