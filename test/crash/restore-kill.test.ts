import { ok } from 'node:assert/strict'
import { afterAll, describe, test } from 'vitest'
import { runKills } from './harness.ts'
import { SCENARIOS, removeTemplates } from './restore-scenarios.ts'

let [points, kills] = [0, 0]
afterAll(() => {
  removeTemplates()
  console.log(`kill -9 of a store: ${points} I/O points, ${kills} kills`)
})

describe.each(SCENARIOS)('$name', (scenario) => {
  test('survives SIGKILL before the first step, during every write, and after every step that changes something', async () => {
    const report = await runKills(scenario, 'dist/test/crash/restore-scenarios.js')
    points += report.points
    kills += report.kills
    ok(report.points > 5 && report.kills > 0)
  })
})
