import * as fc from 'fast-check'
import { underWay, program, simulate } from '../dist/test/holds/simulation.js'
for (const [n, p] of [['underWay', underWay], ['program', program]]) for (const seed of [1,2]) {
    const d = await fc.check(fc.asyncProperty(p, async (x) => { await simulate(x) }), { seed, numRuns: 3000, endOnFailure: true })
    console.log(n, d.failed, d.numRuns, String(d.errorInstance))
}
