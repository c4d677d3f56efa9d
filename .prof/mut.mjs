import * as fc from 'fast-check'
import { BREAKAGES } from '../dist/test/holds/breakages.js'
import { simulate, program } from '../dist/test/holds/simulation.js'
const want = process.argv.slice(2)
for (const [name, { programs, ...breakage }] of Object.entries(BREAKAGES)) {
  if (want.length && !want.some((w) => name.includes(w))) continue
  for (const seed of [1, 2]) {
    const c0 = process.cpuUsage()
    const d = await fc.check(fc.asyncProperty(programs, async (p) => { await simulate(p, breakage) }), { seed, numRuns: 3000, endOnFailure: true })
    const c = process.cpuUsage(c0)
    console.log(name, d.failed, d.numRuns, ((c.user + c.system) / 1e6).toFixed(1) + ' s', String(d.errorInstance).slice(0, 120))
  }
}
