import * as fc from 'fast-check'
import { program, simulate } from '../dist/test/holds/simulation.js'
const n = Number(process.argv[2] ?? 1500)
const c0 = process.cpuUsage(); const t0 = performance.now()
let steps = 0
await fc.assert(fc.asyncProperty(program, async (p) => { steps += (await simulate(p)).steps }), { seed: 42, numRuns: n })
const c = process.cpuUsage(c0)
console.log(n, 'schedules', steps, 'steps', 'cpu', (c.user + c.system) / 1e6, 'wall', (performance.now() - t0) / 1000)
