/** Runs a scenario through everything that can cut it off: faults, SIGKILL and power loss at every step. */
import { execFile, type ExecFileException } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import type { Files } from '../../src/util/files.ts'
import { CrashFiles, type CrashOptions, type CrashState, materialise } from '../support/crash-files.ts'
import { sample } from '../support/seed.ts'
import { type Call, type Fault, canHit, faultyFiles, interceptFiles, quickFiles, READ_ONLY_CALLS, type Step } from '../support/faulty-files.ts'

/** Tells the harness that a promise was made from here on, such as `published`. */
export type Mark = (promise: string) => void

export interface Scenario {
  readonly name: string
  /** Makes the durable state the scenario starts from, in an empty directory. */
  readonly prepare: (directory: string) => void | Promise<void>
  /** The work that is cut off; every step that matters goes through `files`. */
  readonly run: (files: Files, directory: string, mark: Mark) => Promise<void>
  /**
   * Throws unless the directory is in a state that a crash may leave, given the promises that were made, and unless the next start
   * can go on with it. May change the directory.
   */
  readonly check: (directory: string, promises: ReadonlySet<string>) => Promise<void>
  /** For power loss: what is not tracked. */
  readonly crashOptions?: CrashOptions | undefined
}

export interface FaultReport {
  /** Steps of the scenario when nothing fails. */
  readonly points: number
  /** Runs in which a step was failed. */
  readonly injected: number
}

export interface FaultOptions {
  /** Whether a step is tried. @default every step */
  readonly isTried?: ((at: number) => boolean) | undefined
}

/** Fails each step in turn that the fault can hit. `checkError` sees what the scenario rejected with. */
export async function runFaults(scenario: Scenario, fault: Fault, checkError: (error: unknown) => void, { isTried = () => true }: FaultOptions = {}): Promise<FaultReport> {
  const calls = await callsOf(scenario)
  const hits = [...calls.keys()].filter((at) => canHit(fault, calls[at] as Call) && isTried(at))
  for (const at of hits) {
    await inDirectory(async (directory) => {
      await scenario.prepare(directory)
      const faulty = faultyFiles(quickFiles, at, fault)
      const promises = new Set<string>()
      const before = openHandles()
      const error: unknown = await scenario.run(faulty.files, directory, (promise) => promises.add(promise)).then(
        () => undefined,
        (reason: unknown) => reason ?? new Error('rejected with nothing'),
      )
      await explain(`${scenario.name}: ${fault.code} ${fault.times} at ${describeStep(faulty.injected[0], directory)}`, async () => {
        if (error !== undefined) checkError(error)
        if (error !== undefined && fault.times === 'once, though it was done,' && faulty.injected[0]?.call === 'rename') {
          throw new Error('a rename that was done is told as failed', { cause: error })
        }
        if (faulty.injected.length === 0) throw new Error(`step ${at} did not come`)
        if (openHandles() > before) throw new Error('a file was left open')
        await scenario.check(directory, promises)
      })
    })
  }
  return { points: calls.length, injected: hits.length }
}

/** The steps of a scenario when nothing fails. */
async function callsOf(scenario: Scenario): Promise<readonly Call[]> {
  return await inDirectory(async (directory) => {
    await scenario.prepare(directory)
    const calls: Call[] = []
    const files = interceptFiles(quickFiles, async (step, run) => {
      calls.push(step.call)
      return await run()
    })
    await scenario.run(files, directory, () => undefined)
    return calls
  })
}

export interface KillReport {
  readonly points: number
  readonly kills: number
}

/**
 * When a process is killed: before the first step, halfway through each write, after each step that changes something. Before any other step is
 * the moment after the one before it.
 */
const KILL_MOMENTS = ['before', 'during', 'after'] as const

const CHILD = resolve('dist/test/crash/child.js')
const PROCESSES = 2

/** Kills a child process at each step in turn, or at a sample of them. `module` is the built module that exports the scenario in `SCENARIOS`. */
export async function runKills(scenario: Scenario, module: string): Promise<KillReport> {
  const steps = await inDirectory(async (directory) => {
    await scenario.prepare(directory)
    const { stdout } = await runChild([resolve(module), scenario.name, directory, '-1', 'before'])
    return JSON.parse(stdout) as { readonly call: Call }[]
  })
  const all = steps.flatMap(({ call }, at) => {
    const applies = { before: at === 0, during: call === 'write', after: !READ_ONLY_CALLS.includes(call) }
    return KILL_MOMENTS.filter((moment) => applies[moment]).map((moment) => ({ at, moment }))
  })
  const jobs = sample(all)
  const queue = jobs.values()
  const work = async (): Promise<void> => {
    for (const { at, moment } of queue) {
      await inDirectory(async (directory) => {
        await scenario.prepare(directory)
        const { signal, stderr } = await runChild([resolve(module), scenario.name, directory, String(at), moment])
        await explain(`${scenario.name}: killed ${moment} step ${at} (${steps[at]?.call})`, async () => {
          if (signal !== 'SIGKILL') throw new Error(`the child was not killed: ${stderr}`)
          await scenario.check(directory, new Set())
        })
      })
    }
  }
  // Every child has ended before a failure is told.
  const results = await Promise.allSettled(Array.from({ length: PROCESSES }, work))
  for (const result of results) if (result.status === 'rejected') throw result.reason
  return { points: steps.length, kills: jobs.length }
}

export interface PowerLossOptions {
  /** States tried at each step. */
  readonly seeds: number
  readonly firstSeed: number
  /** Steps that are left out, to show that they are needed. The power is then cut only after the first of them. */
  readonly skip?: ((step: Step, description: string) => boolean) | undefined
}

export interface PowerLossReport {
  readonly points: number
  /** Different states that were checked. */
  readonly states: number
  /** What did not hold, of the first state in which something did not. */
  readonly violation: Error | undefined
}

/** Cuts the power before each step and after the last; checks what each seed makes of it. Goes on to the end without a violation, and stops checking at the first. */
export async function runPowerLoss(scenario: Scenario, { seeds, firstSeed, skip }: PowerLossOptions): Promise<PowerLossReport> {
  return await inDirectory(async (directory) => {
    await scenario.prepare(directory)
    const crash = new CrashFiles(directory, scenario.crashOptions)
    const promises = new Set<string>()
    const seen = new Set<string>()
    let points = 0
    let violation: Error | undefined
    let differs = skip === undefined
    const cut = async (where: string): Promise<void> => {
      if (!differs) return
      for (let seed = firstSeed; seed < firstSeed + seeds && violation === undefined; seed++) {
        const state = crash.crash(seed)
        const key = digest(state, promises)
        if (seen.has(key)) continue
        seen.add(key)
        violation = await inDirectory(async (copy) => {
          materialise(state, copy)
          return await failure(() => explain(`${scenario.name}: power lost ${where}, seed ${seed}`, () => scenario.check(copy, promises)))
        })
      }
    }
    const files = interceptFiles(crash.files, async (step, run) => {
      points += 1
      const description = describeStep(step, directory)
      await cut(`before ${description}`)
      if (skip?.(step, description) !== true) return await run()
      differs = true
      return undefined as Awaited<ReturnType<typeof run>>
    })
    const outcome = await failure(() => scenario.run(files, directory, (promise) => promises.add(promise)))
    await cut('at the end')
    return { points, states: seen.size, violation: violation ?? outcome }
  })
}

/** What a step does, the same for every backup: `sync ID.tmp/payload`. */
export function describeStep(step: Step | undefined, directory: string): string {
  if (step === undefined) return 'no step'
  return `${step.call} ${relative(directory, step.path) || '.'}`.replace(/\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b/g, 'ID')
}

/** Runs a function with a temporary directory. */
export async function inDirectory<T>(body: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-crash-'))
  try {
    return await body(directory)
  } finally {
    rmSync(directory, { recursive: true })
  }
}

async function explain(where: string, body: () => Promise<void>): Promise<void> {
  try {
    await body()
  } catch (cause) {
    throw new Error(`${where}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}

async function failure(body: () => Promise<void>): Promise<Error | undefined> {
  try {
    await body()
    return undefined
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

function openHandles(): number {
  return readdirSync('/proc/self/fd').length
}

function digest(state: CrashState, promises: ReadonlySet<string>): string {
  const hash = createHash('sha256').update([...promises].join())
  for (const path of [...state.keys()].sort()) {
    const content = state.get(path)
    hash.update(`\0${path}\0${content?.byteLength}\0`)
    if (content !== undefined) hash.update(content)
  }
  return hash.digest('hex')
}

async function runChild(args: readonly string[]): Promise<{ signal: string | undefined; stdout: string; stderr: string }> {
  return await new Promise((done) => {
    execFile(process.execPath, [CHILD, ...args], (error: ExecFileException | null, stdout, stderr) => {
      done({ signal: error?.signal, stdout, stderr })
    })
  })
}
