import { ok } from 'node:assert/strict'
import { afterAll, describe, test } from 'vitest'
import { isHoldfastError } from '../../src/errors/errors.ts'
import { FAULTS } from '../support/faulty-files.ts'
import { everyNth, seed } from '../support/seed.ts'
import { SCENARIOS } from './backup-scenarios.ts'
import { runFaults } from './harness.ts'

/** In full, each fault hits every third step, another third each, so that every step is hit by several; HOLDFAST_RUNS=3 hits all by all. */
const STRIDE = everyNth(3)

let [points, injected] = [0, 0]
afterAll(() => console.log(`faults of whole attempts: ${points} I/O points, ${injected} failures injected`))

describe.each(SCENARIOS)('$name', (scenario) => {
  test.each(FAULTS.map((fault, index) => ({ ...fault, index })))('survives $code $times at any step, with a typed error and a job that ended', async ({ index, ...fault }) => {
    const checkError = (error: unknown): void => ok(isHoldfastError(error) && error.code.startsWith('destination_'), String(error))
    const report = await runFaults(scenario, fault, checkError, { isTried: (at) => (at + seed + index) % STRIDE === 0 })
    if (index === 0) points += report.points
    injected += report.injected
    ok(report.points > 5)
  })
})
