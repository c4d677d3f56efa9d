import { ok } from 'node:assert/strict'
import { afterAll, describe, test } from 'vitest'
import { SCENARIOS } from './destination-scenarios.ts'
import { runKills } from './harness.ts'

let [points, kills] = [0, 0]
afterAll(() => console.log(`kill -9: ${points} I/O points, ${kills} kills`))

describe.each(SCENARIOS)('$name', (scenario) => {
  test('survives SIGKILL before the first step, during every write, and after every step that changes something', async () => {
    const report = await runKills(scenario, 'dist/test/crash/destination-scenarios.js')
    points += report.points
    kills += report.kills
    ok(report.points > 5 && report.kills > 0)
  })
})
