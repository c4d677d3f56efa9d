import { ok } from 'node:assert/strict'
import { afterAll, describe, test } from 'vitest'
import { isHoldfastError } from '../../src/errors/errors.ts'
import { FAULTS } from '../support/faulty-files.ts'
import { everyNth, seed } from '../support/seed.ts'
import { runFaults } from './harness.ts'
import { SCENARIOS, removeTemplates } from './restore-scenarios.ts'

/** Each fault is tried at one step in so many, another one for each fault: in full every step is failed, and with HOLDFAST_RUNS=7 by every fault. */
const STRIDE = everyNth(7)

let [points, injected] = [0, 0]
afterAll(() => {
  removeTemplates()
  console.log(`faults of a store: ${points} I/O points, ${injected} failures injected`)
})

describe.each(SCENARIOS)('$name', (scenario) => {
  test.each(FAULTS)('survives $code $times at every step, with a typed error', async (fault) => {
    const report = await runFaults(scenario, fault, (error) => {
      ok(error instanceof Error)
      if (!isHoldfastError(error)) throw error
      const codes = fault.code === 'ENOSPC' ? ['destination_no_space', 'store_unavailable'] : ['store_unavailable']
      ok(codes.includes(error.code), `${error.code}: ${error.message}`)
      ok(error.message.includes(fault.code) || error.message.includes('is live'), error.message)
    }, { isTried: (at) => (at + seed + FAULTS.indexOf(fault)) % STRIDE === 0 })
    points += report.points
    injected += report.injected
    ok(report.points > 5)
  })
})
