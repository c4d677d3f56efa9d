import { deepEqual, ok } from 'node:assert/strict'
import { afterAll, describe, test } from 'vitest'
import { nodeFiles } from '../../src/util/files.ts'
import { type Call, interceptFiles } from '../support/faulty-files.ts'
import { sample, seed } from '../support/seed.ts'
import { SCENARIOS } from './destination-scenarios.ts'
import { describeStep, inDirectory, runPowerLoss, type Scenario } from './harness.ts'

const MAKE_DURABLE: readonly Call[] = ['sync', 'syncDirectory', 'syncFile', 'rename']

const CLEAN_UP_AFTER_A_DELETE = 'clean up what a delete left before its un-listing was durable'

/** Needed otherwise: renames against another process, as the tests of cleanUp() show; the sync where a delete left more to be made durable. */
const NEEDED_OTHERWISE: readonly string[] = [
  'clean up leftovers: rename backups/ID.tmp',
  'clean up leftovers: rename backups/ID',
  'clean up leftovers: syncDirectory backups/ID.tmp',
  `${CLEAN_UP_AFTER_A_DELETE}: rename backups/ID`,
]

let mutations = 0
afterAll(() => console.log(`mutations: ${mutations} fsync and rename steps left out, every one noticed`))

/** Each fsync and rename of a scenario, by what it does. */
async function stepsThatMakeDurable(scenario: Scenario): Promise<readonly string[]> {
  return await inDirectory(async (directory) => {
    await scenario.prepare(directory)
    const found = new Set<string>()
    const files = interceptFiles(nodeFiles, async (step, run) => {
      if (MAKE_DURABLE.includes(step.call)) found.add(describeStep(step, directory))
      return await run()
    })
    await scenario.run(files, directory, () => undefined)
    return [...found]
  })
}

/** Whether a power loss shows that a step was left out; few states show most of them. */
async function isNoticed(scenario: Scenario, left: string): Promise<boolean> {
  for (const seeds of [4, 40, 1000]) {
    const { violation } = await runPowerLoss(scenario, { seeds, firstSeed: seed, skip: (_, description) => description === left })
    if (violation !== undefined) return true
  }
  return false
}

describe.each(SCENARIOS)('$name', (scenario) => {
  test('needs each of its fsyncs and renames: leaving any one out is noticed after a power loss', async () => {
    for (const left of sample(await stepsThatMakeDurable(scenario))) {
      if (NEEDED_OTHERWISE.includes(`${scenario.name}: ${left}`)) continue
      ok(await isNoticed(scenario, left), `"${left}" is not needed by "${scenario.name}"`)
      mutations += 1
    }
  })
})

test('the list of fsyncs and renames of a publish is complete', async () => {
  const [first] = SCENARIOS
  ok(first !== undefined)
  deepEqual(await stepsThatMakeDurable(first), [
    'syncDirectory .',
    'sync backups/ID.tmp/payload',
    'sync backups/ID.tmp/payload-ids',
    'sync backups/ID.tmp/manifest.json',
    'syncDirectory backups/ID.tmp',
    'rename backups/ID.tmp',
    'syncDirectory backups',
  ])
})
