/** What vitest does once before a run and once after: refuses a stale build, gives the run one seed, and lets nothing outlive the run. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { TestProject } from 'vitest/node'
import { staleBuild } from './stale-build.ts'

const ROOT = resolve(import.meta.dirname, '../../..')

export async function setup({ tmpDir }: TestProject): Promise<() => Promise<void>> {
  const refusal = staleBuild(ROOT)
  if (refusal !== undefined) throw plain(refusal)
  process.env['HOLDFAST_SEED'] ??= String(Math.floor(Math.random() * 2 ** 31))
  process.env['HOLDFAST_RUNS'] ??= '0.1'
  console.log(` HOLDFAST_SEED=${process.env['HOLDFAST_SEED']} HOLDFAST_RUNS=${process.env['HOLDFAST_RUNS']}`)
  return await startKeeper(tmpDir)
}

/** Starts the keeper of the run, and puts the run's temporary files into its folder. Returns what ends it, and everything with it. `own` is the runner's own folder. */
async function startKeeper(own: string): Promise<() => Promise<void>> {
  const { HOLDFAST_TEST_RUN: _, ...env } = process.env
  // Not of this process's group, so that Ctrl-C does not reach it.
  const keeper = spawn(process.execPath, [resolve(ROOT, 'dist/test/support/run/keeper.js'), own], { stdio: ['pipe', 'pipe', 'inherit'], env, detached: true })
  const ended = once(keeper, 'exit')
  for await (const directory of createInterface({ input: keeper.stdout })) {
    process.env['HOLDFAST_TEST_RUN'] = process.env['TMPDIR'] = directory
    return async () => {
      keeper.stdin.end()
      await ended
    }
  }
  throw plain('The keeper of the run ended before it said which folder it made.')
}

/** An error that is shown as its message alone. */
function plain(message: string): Error {
  const error = new Error(message)
  error.stack = message
  return error
}
