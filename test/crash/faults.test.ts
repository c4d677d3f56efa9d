import { equal, ok } from 'node:assert/strict'
import { afterAll, describe, test } from 'vitest'
import { isHoldfastError } from '../../src/errors/errors.ts'
import { isSystemError } from '../../src/util/files.ts'
import { type Fault, FAULTS } from '../support/faulty-files.ts'
import { SCENARIOS } from './destination-scenarios.ts'
import { runFaults } from './harness.ts'

const CODES: Readonly<Record<Fault['code'], string>> = {
  EIO: 'destination_unreachable',
  EMFILE: 'destination_unreachable',
  ENOSPC: 'destination_no_space',
  EACCES: 'destination_permission_denied',
}

let [points, injected] = [0, 0]
afterAll(() => console.log(`faults: ${points} I/O points, ${injected} failures injected`))

describe.each(SCENARIOS)('$name', (scenario) => {
  test.each(FAULTS)('survives $code $times at every step, with a typed error that names the path', async (fault) => {
    const report = await runFaults(scenario, fault, (error) => {
      ok(error instanceof Error)
      if (isHoldfastError(error)) {
        equal(error.code, CODES[fault.code])
        ok(typeof error.details['path'] === 'string' && error.message.includes(error.details['path']))
        ok(typeof error.details['operation'] === 'string' && error.details['systemCode'] === fault.code)
        ok(isSystemError(error.cause, fault.code))
      } else {
        // What src/util/files.ts does for others is told in the file system's own words.
        ok(isSystemError(error, fault.code) && typeof error.path === 'string' && typeof error.syscall === 'string')
      }
    })
    if (fault === FAULTS[0]) points += report.points
    injected += report.injected
    // Removing takes no space.
    ok(report.injected > 0 || (scenario.name === 'clean up leftovers' && fault.code === 'ENOSPC'))
    ok(report.points > 5)
  })
})
