import { ok } from 'node:assert/strict'
import { afterAll, describe, test } from 'vitest'
import { runs, seed } from '../support/seed.ts'
import { runPowerLoss } from './harness.ts'
import { SCENARIOS, removeTemplates } from './restore-scenarios.ts'

let [points, states] = [0, 0]
afterAll(() => {
  removeTemplates()
  console.log(`power loss of a store: ${points} I/O points, ${states} different states, first seed ${seed}`)
})

describe.each(SCENARIOS)('$name', (scenario) => {
  test('survives a power loss at every step', async () => {
    const report = await runPowerLoss(scenario, { seeds: runs(2), firstSeed: seed })
    if (report.violation !== undefined) throw report.violation
    points += report.points
    states += report.states
    ok(report.states > 1)
  })
})
