import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Pace, ServerLoad } from '../../../src/stores/worker/pace.ts'
import { runs, seed } from '../../support/seed.ts'

describe('Pace', () => {
  it('never rests beside an idle server', () => {
    const pace = new Pace(0)
    for (const [nowMs, load] of [[10, 0], [1000, 0.1], [5000, 0.3]] as const) {
      pace.load = load
      expect(pace.restMs(nowMs)).toBe(0)
    }
  })

  it('rests twice as long as it worked beside a server that has no time left, and in proportion to its load before that', () => {
    const pace = new Pace(0)
    pace.load = 1
    expect(pace.restMs(10)).toBe(20)
    // The rest is no work.
    expect(pace.restMs(34)).toBe(0)
    expect(pace.restMs(40)).toBe(20)
    pace.load = 0.5
    expect(pace.restMs(70)).toBe(10)
  })

  it('works for no less than a third of the time, whatever the load', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ load: fc.double({ min: 0, max: 1, noNaN: true }), workMs: fc.integer({ min: 0, max: 50 }) }), { minLength: 1 }), (steps) => {
        const pace = new Pace(0)
        let nowMs = 0
        let workedMs = 0
        for (const { load, workMs } of steps) {
          pace.load = load
          nowMs += workMs
          workedMs += workMs
          const restMs = pace.restMs(nowMs)
          expect(Number.isFinite(restMs) && restMs >= 0).toBe(true)
          nowMs += restMs
        }
        // Rests are whole milliseconds.
        expect(nowMs - workedMs).toBeLessThanOrEqual(2 * workedMs + steps.length)
      }),
      { seed, numRuns: runs(200) },
    )
  })
})

describe('ServerLoad', () => {
  it('tells a thread that computes from one that waits', async () => {
    const load = new ServerLoad()
    const endMs = performance.now() + 100
    while (performance.now() < endMs);
    await new Promise((resolve) => setImmediate(resolve))
    const busy = load.measure()
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(busy).toBeGreaterThan(load.measure())
    expect(busy).toBeGreaterThan(0.5)
  })
})
