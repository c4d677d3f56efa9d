/**
 * The seed and the size of random tests. HOLDFAST_SEED replays a run. HOLDFAST_RUNS is the share of the cases that is tried: a tenth by default,
 * 1 in `npm run test:full`, more to search longer.
 */
import { createHash } from 'node:crypto'
import { randomFrom } from '../conformance/random.ts'

export { randomFrom }

/** One seed for the whole run, which prints it as it starts. */
export const seed: number = Number(process.env['HOLDFAST_SEED'] ?? Math.floor(Math.random() * 2 ** 31))

const share = Number(process.env['HOLDFAST_RUNS'] ?? 0.1)

/** Whether every case is tried. */
export const isFull: boolean = share >= 1

/** Whether to try the case of this name, of all that are tried in full. */
export function isTried(name: string): boolean {
  return createHash('sha256').update(`${seed} ${name}`).digest().readUInt32LE() < share * 2 ** 32
}

/** How many cases to try where `count` are tried in full. */
export function runs(count: number): number {
  return Math.max(1, Math.round(count * share))
}

/** One case in how many to try where one in `count` is tried in full. */
export function everyNth(count: number): number {
  return Math.max(1, Math.round(count / share))
}

/** The cases to try of a list that is tried whole in full: evenly spread, others with each seed, at least one. */
export function sample<T>(cases: readonly T[]): readonly T[] {
  const every = Math.min(cases.length, everyNth(1))
  return cases.filter((_, at) => at % every === seed % every)
}
