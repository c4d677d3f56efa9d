import { deepEqual, ok } from 'node:assert/strict'
import { afterAll, describe, test } from 'vitest'
import { systemError } from '../../src/util/files.ts'
import { type Call, type Step, interceptFiles, quickFiles } from '../support/faulty-files.ts'
import { SCENARIOS as DESTINATION_SCENARIOS } from './destination-scenarios.ts'
import { describeStep, inDirectory, type Scenario } from './harness.ts'
import { SCENARIOS as STORE_SCENARIOS, removeTemplates } from './restore-scenarios.ts'

const SYNCS: readonly Call[] = ['sync', 'syncFile', 'flush']
const NAMES = ['publish beside another', 'replace a small file', 'restore over a live store', 'roll back', 'make a store']

let failed = 0
afterAll(() => {
  removeTemplates()
  console.log(`fsync: ${failed} failed once each, none was tried again`)
})

/** Runs a scenario whose fsync at a step fails once; gives the step that failed, and those that came after it. */
async function failAt(scenario: Scenario, at: number, directory: string): Promise<{ readonly step: Step | undefined; readonly later: readonly Step[]; readonly error: unknown }> {
  let failing: Step | undefined
  let syncs = 0
  const later: Step[] = []
  const files = interceptFiles(quickFiles, async (step, run) => {
    if (failing !== undefined) later.push(step)
    if (!SYNCS.includes(step.call) || syncs++ !== at) return await run()
    failing = step
    throw systemError('EIO', 'fsync', step.path)
  })
  const error = await scenario.run(files, directory, () => undefined).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  return { step: failing, later, error }
}

describe.each([...DESTINATION_SCENARIOS, ...STORE_SCENARIOS].filter(({ name }) => NAMES.includes(name)))('$name', (scenario) => {
  test('an fsync of a file that fails once is not tried again: the file is abandoned, never renamed, and the error is told', async () => {
    for (let at = 0; ; at++) {
      const step = await inDirectory(async (directory) => {
        await scenario.prepare(directory)
        const { step, later, error } = await failAt(scenario, at, directory)
        if (step === undefined) return undefined
        const where = `${scenario.name}: ${describeStep(step, directory)}`
        ok(error !== undefined, `${where}: passed over`)
        const isMadeAnew = later.findIndex(({ call, path }) => call === 'create' && path === step.path)
        const wrong = later.slice(0, isMadeAnew < 0 ? undefined : isMadeAnew).filter((next) => trusts(next, step.path))
        deepEqual(wrong, [], where)
        await scenario.check(directory, new Set(['failed']))
        return step
      })
      if (step === undefined) break
      failed += 1
    }
    ok(failed > 0)
  })
})

/** Whether a step goes on as if the file could still be made durable. */
function trusts({ call, path }: Step, file: string): boolean {
  if (call === 'rename') return file.startsWith(path)
  return path === file && (call === 'write' || SYNCS.includes(call))
}
