import { ok } from 'node:assert/strict'
import { afterAll, describe, test } from 'vitest'
import { SCENARIOS } from './backup-scenarios.ts'
import { runKills } from './harness.ts'

let [points, kills] = [0, 0]
afterAll(() => console.log(`kill -9 of whole attempts: ${points} I/O points, ${kills} kills`))

describe.each(SCENARIOS)('$name', (scenario) => {
  test('survives SIGKILL during and after every step, and its job is interrupted at the next opening', async () => {
    const report = await runKills(scenario, 'dist/test/crash/backup-scenarios.js')
    points += report.points
    kills += report.kills
    ok(report.points > 5 && report.kills > 0)
  })
})
