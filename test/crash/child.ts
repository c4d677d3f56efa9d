/**
 * Runs a scenario and kills itself at a step: `node child.js MODULE SCENARIO DIRECTORY STEP MOMENT`. With a step that never comes it
 * prints the steps there are.
 */
import { pathToFileURL } from 'node:url'
import { nodeFiles } from '../../src/util/files.ts'
import { interceptFiles, type Step } from '../support/faulty-files.ts'
import type { Scenario } from './harness.ts'

const [modulePath = '', name, directory = '', at, moment] = process.argv.slice(2)
const { SCENARIOS } = (await import(pathToFileURL(modulePath).href)) as { SCENARIOS: readonly Scenario[] }
const scenario = SCENARIOS.find((candidate) => candidate.name === name)
if (scenario === undefined) throw new Error(`There is no scenario "${name}"`)

const steps: Pick<Step, 'call' | 'path'>[] = []

async function die(): Promise<never> {
  process.kill(process.pid, 'SIGKILL')
  return await new Promise(() => undefined)
}

const files = interceptFiles(nodeFiles, async (step, run) => {
  steps.push({ call: step.call, path: step.path })
  if (step.index !== Number(at)) return await run()
  if (moment === 'before') await die()
  // A step that fails, such as removing what is not there, is over too.
  await run(moment === 'during' ? step.chunk?.subarray(0, step.chunk.byteLength >> 1) : undefined).catch(() => undefined)
  return await die()
})

await scenario.run(files, directory, () => undefined)
process.stdout.write(JSON.stringify(steps))
