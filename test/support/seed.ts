/** The seed and the size of random tests: HOLDFAST_SEED replays a run, HOLDFAST_RUNS multiplies the number of cases. */

const given = process.env['HOLDFAST_SEED']

/** One seed for the whole run; printed with every failure by fast-check. */
export const seed: number = given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given)

/** How many cases to try where `count` is the quick default. */
export function runs(count: number): number {
  return Math.max(1, Math.round(count * Number(process.env['HOLDFAST_RUNS'] ?? 1)))
}

/** Deterministic random numbers in [0, 1) (mulberry32). */
export function randomFrom(start: number): () => number {
  let state = start >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
