import { ok } from 'node:assert/strict'
import { afterAll, describe, test } from 'vitest'
import { nodeFiles } from '../../src/util/files.ts'
import { type Call, interceptFiles } from '../support/faulty-files.ts'
import { sample, seed } from '../support/seed.ts'
import { describeStep, inDirectory, runPowerLoss, type Scenario } from './harness.ts'
import { SCENARIOS, removeTemplates } from './restore-scenarios.ts'

const MAKE_DURABLE: readonly Call[] = ['sync', 'syncDirectory', 'syncFile', 'rename']

/** Files of a closed LevelDB that hold nothing: a seal syncs them with the others and need not. */
const EMPTY_OR_NOTES = /\/(?:LOCK|LOG|LOG\.old|\d+\.log)$/

/** Scenarios in which every step matters; the others have the same steps, some of which a later failure or step makes up for. */
const NAMES = ['restore over a live store', 'roll back', 'restore where no store is', 'make a store', 'open a store whose making was killed', 'adopt a LevelDB']

let mutations = 0
afterAll(() => {
  removeTemplates()
  console.log(`mutations of a store: ${mutations} fsync and rename steps left out, every one noticed`)
})

/** Each fsync and rename of a scenario, by what it does. */
async function stepsThatMakeDurable(scenario: Scenario): Promise<readonly string[]> {
  return await inDirectory(async (directory) => {
    await scenario.prepare(directory)
    const found = new Set<string>()
    const files = interceptFiles(nodeFiles, async (step, run) => {
      if (MAKE_DURABLE.includes(step.call) && !EMPTY_OR_NOTES.test(step.path)) found.add(describeStep(step, directory))
      return await run()
    })
    await scenario.run(files, directory, () => undefined)
    return [...found]
  })
}

/** Whether a power loss shows that a step was left out; few states show most of them. */
async function isNoticed(scenario: Scenario, left: string): Promise<boolean> {
  for (const seeds of [2, 12, 200]) {
    const { violation } = await runPowerLoss(scenario, { seeds, firstSeed: seed, skip: (_, description) => description === left })
    if (violation !== undefined) return true
  }
  return false
}

describe.each(SCENARIOS.filter(({ name }) => NAMES.includes(name)))('$name', (scenario) => {
  test('needs each of its fsyncs and renames: leaving any one out is noticed after a power loss', async () => {
    for (const left of sample(await stepsThatMakeDurable(scenario))) {
      ok(await isNoticed(scenario, left), `"${left}" is not needed by "${scenario.name}"`)
      mutations += 1
    }
  })
})
