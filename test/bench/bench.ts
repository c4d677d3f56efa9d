/** What a row of the bench is, and how one is measured: interleaved with its reference, medians of several rounds. */

/** One line of the table. */
export interface BenchResult {
  readonly name: string
  readonly measured: number
  readonly reference: number | undefined
  /** What both numbers are, such as "entries/s". */
  readonly unit: string
  /** Measured by reference, or the measured number itself where there is no reference. */
  readonly ratio: number
  readonly target: Target | undefined
}

/** What the ratio must reach: at least, or at most. */
export type Target = { readonly atLeast: number } | { readonly atMost: number }

export interface BenchContext {
  /** A directory on a real disk; emptied after the run. */
  readonly directory: string
  /** Entries of the plain size, 1 M unless asked for otherwise. */
  readonly entries: number
  /** How many times both sides are measured. */
  readonly rounds: number
}

export interface BenchRow {
  /** What `npm run bench -- NAME` names. */
  readonly name: string
  run(context: BenchContext): Promise<readonly BenchResult[]>
}

/** Measures several things in turn, round after round, so that a slow moment of the machine hits all; gives the median of each. */
export async function interleaved<Name extends string>(
  rounds: number,
  measures: Readonly<Record<Name, () => Promise<number>>>,
): Promise<Readonly<Record<Name, number>>> {
  const names = Object.keys(measures) as Name[]
  const samples = new Map<Name, number[]>(names.map((name) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      globalThis.gc?.()
      samples.get(name)?.push(await measures[name]())
    }
  }
  return Object.fromEntries(names.map((name) => [name, median(samples.get(name) ?? [])])) as Record<Name, number>
}

/** Seconds that a task takes. */
export async function secondsOf(task: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now()
  await task()
  return (performance.now() - startMs) / 1000
}

export function compared(name: string, values: { measured: number; reference: number; unit: string }, target?: Target): BenchResult {
  return { name, ...values, ratio: values.measured / values.reference, target }
}

export function isMet({ ratio, target }: BenchResult): boolean {
  if (target === undefined) return true
  return 'atLeast' in target ? ratio >= target.atLeast : ratio <= target.atMost
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[middle] ?? NaN) : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2
}

/** The value that this share of the samples does not exceed. */
export function percentile(samples: Float64Array, share: number): number {
  const sorted = samples.toSorted()
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN
}
