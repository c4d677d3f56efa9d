import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { steadyClock } from '../../src/util/steady-clock.ts'

const MODULE = join(import.meta.dirname, '../../dist/src/util/steady-clock.js')

/** The clock of another process, whose machine has this name. */
function clockAt(hostname: string): { readonly epoch: string; readonly nowMs: number } {
  const script = `
    import os from 'node:os'
    import { syncBuiltinESMExports } from 'node:module'
    os.hostname = () => ${JSON.stringify(hostname)}
    syncBuiltinESMExports()
    const { steadyClock } = await import(${JSON.stringify(MODULE)})
    const clock = steadyClock()
    console.log(JSON.stringify({ epoch: clock.epoch, nowMs: clock.nowMs() }))
  `
  return JSON.parse(execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })) as { epoch: string; nowMs: number }
}

test.skipIf(process.platform !== 'linux')('steadyClock() is one clock for all processes of a boot, also in containers, each of which has another name', () => {
  const clock = steadyClock()
  const beforeMs = clock.nowMs()
  for (const hostname of ['4f1c0a9be2d7', 'b83e55a10c46']) {
    const other = clockAt(hostname)
    expect(other.epoch).toBe(clock.epoch)
    expect(other.nowMs).toBeGreaterThanOrEqual(beforeMs)
    expect(other.nowMs).toBeLessThanOrEqual(clock.nowMs())
  }
})
