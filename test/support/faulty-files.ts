/**
 * The file system with a hand on every step: count the steps, fail one, cut a write short, or kill the process at it.
 *
 * A step is one call of `Files` or of a file it created. Their order is the same in every run of the same scenario.
 */
import { type Files, nodeFiles, systemError, type WritableFile } from '../../src/util/files.ts'

export type Call = keyof Files | 'write' | 'flush' | 'sync' | 'close'

export interface Step {
  /** From 0. */
  readonly index: number
  readonly call: Call
  readonly path: string
  /** Where a rename goes to. */
  readonly to?: string | undefined
  /** What a write writes. */
  readonly chunk?: Uint8Array | undefined
}

/** The calls that change nothing. */
export const READ_ONLY_CALLS: readonly Call[] = ['read', 'info', 'list', 'space']

/** Does a step, or does not, or does something else. A write may be given fewer bytes than it was asked for. */
export type Intercept = <T>(step: Step, run: (chunk?: Uint8Array) => Promise<T>) => Promise<T>

/** The same files, each step of which goes through `intercept`. */
export function interceptFiles(files: Files, intercept: Intercept): Files {
  let index = 0
  const step = <T>(call: Call, path: string, run: (chunk?: Uint8Array) => Promise<T>, rest: Partial<Step> = {}): Promise<T> =>
    intercept({ index: index++, call, path, ...rest }, run)
  const writable = (file: WritableFile, path: string): WritableFile => ({
    write: (chunk) => step('write', path, (part = chunk) => file.write(part), { chunk }),
    flush: () => step('flush', path, () => file.flush()),
    sync: () => step('sync', path, () => file.sync()),
    close: () => step('close', path, () => file.close()),
  })
  return {
    create: async (path) => writable(await step('create', path, () => files.create(path)), path),
    async *read(path, options) {
      const chunks = files.read(path, options)[Symbol.asyncIterator]()
      try {
        for (;;) {
          const { done, value } = await step('read', path, () => chunks.next())
          if (done === true) return
          yield value
        }
      } finally {
        await chunks.return?.()
      }
    },
    info: (path) => step('info', path, () => files.info(path)),
    list: (path) => step('list', path, () => files.list(path)),
    makeDirectory: (path) => step('makeDirectory', path, () => files.makeDirectory(path)),
    rename: (from, to) => step('rename', from, () => files.rename(from, to), { to }),
    renewFile: (path) => step('renewFile', path, () => files.renewFile(path)),
    removeFile: (path) => step('removeFile', path, () => files.removeFile(path)),
    removeDirectory: (path) => step('removeDirectory', path, () => files.removeDirectory(path)),
    syncDirectory: (path) => step('syncDirectory', path, () => files.syncDirectory(path)),
    syncFile: (path) => step('syncFile', path, () => files.syncFile(path)),
    space: (path) => step('space', path, () => files.space(path)),
  }
}

/** The real file system without its fsyncs, for tests of what is there, not of what is durable. */
export const quickFiles: Files = {
  ...nodeFiles,
  create: async (path) => {
    const file = await nodeFiles.create(path)
    return { ...file, flush: async () => undefined, sync: async () => undefined }
  },
  syncDirectory: async () => undefined,
  syncFile: async () => undefined,
}

export interface Fault {
  readonly code: 'EIO' | 'ENOSPC' | 'EACCES' | 'EMFILE'
  /** At that step alone, which was done or not, or at it and all after it that the code can hit. An answer is lost so over NFS. */
  readonly times: 'once' | 'once, though it was done,' | 'forever'
  /** Half of what a write was given reaches the disk before it fails. */
  readonly shortWrite?: boolean | undefined
}

/** The faults every scenario must survive at every step. */
export const FAULTS: readonly Fault[] = [
  { code: 'EIO', times: 'once' },
  { code: 'EIO', times: 'forever' },
  { code: 'ENOSPC', times: 'once', shortWrite: true },
  { code: 'ENOSPC', times: 'forever', shortWrite: true },
  { code: 'EACCES', times: 'once' },
  { code: 'EACCES', times: 'forever' },
  { code: 'EMFILE', times: 'once' },
  { code: 'EIO', times: 'once, though it was done,' },
]

/** The calls a code can come out of; EIO can come out of any. */
const CALLS_OF: Readonly<Record<Exclude<Fault['code'], 'EIO'>, readonly Call[]>> = {
  ENOSPC: ['create', 'write', 'flush', 'sync', 'makeDirectory', 'rename', 'syncDirectory', 'syncFile'],
  EMFILE: ['create', 'read', 'list', 'makeDirectory', 'syncDirectory', 'syncFile'],
  EACCES: ['create', 'read', 'info', 'list', 'makeDirectory', 'rename', 'renewFile', 'removeFile', 'removeDirectory', 'syncDirectory', 'syncFile', 'space'],
}

/** The calls that are done though their answer is lost. */
const ANSWERED: readonly Call[] = ['rename', 'makeDirectory', 'renewFile', 'removeFile', 'removeDirectory']

/** Whether a fault can come of such a call. */
export function canHit({ code, times }: Fault, call: Call): boolean {
  if (times === 'once, though it was done,') return ANSWERED.includes(call)
  return code === 'EIO' || CALLS_OF[code].includes(call)
}

export interface FaultyFiles {
  readonly files: Files
  /** Steps so far. */
  readonly steps: () => number
  /** The steps that were failed. */
  readonly injected: readonly Step[]
  /** No faults from now on. */
  readonly heal: () => void
}

/** The same files, which fail from step `at` on. Where the code cannot hit that step, `once` does nothing and `forever` waits for the next it can. */
export function faultyFiles(files: Files, at: number, fault: Fault): FaultyFiles {
  let steps = 0
  let healed = false
  const injected: Step[] = []
  const intercept: Intercept = async (step, run) => {
    steps = step.index + 1
    const due = fault.times === 'forever' ? step.index >= at : step.index === at
    if (healed || !due || !canHit(fault, step.call)) return await run()
    injected.push(step)
    if (fault.shortWrite === true && step.chunk !== undefined) await run(step.chunk.subarray(0, step.chunk.byteLength >> 1))
    // A handle is gone after close, whatever close says.
    if (step.call === 'close' || fault.times === 'once, though it was done,') await run()
    throw systemError(fault.code, step.call, step.path)
  }
  return { files: interceptFiles(files, intercept), steps: () => steps, injected, heal: () => void (healed = true) }
}

/** Runs a scenario for step 0, 1, 2 and so on, until it is done before its step comes. Resolves with the number of steps. */
export async function forEachStep(scenario: (at: number) => Promise<{ readonly steps: number }>): Promise<number> {
  for (let at = 0; ; at++) {
    const { steps } = await scenario(at)
    if (at >= steps) return steps
  }
}
