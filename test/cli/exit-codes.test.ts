import { describe, expect, it } from 'vitest'
import { EXIT, exitCodeFor } from '../../src/cli/exit-codes.ts'
import { ERROR_CODES, ERROR_TRAITS } from '../../src/errors/errors.ts'

describe('exitCodeFor()', () => {
  it('has a code for every error', () => {
    for (const code of ERROR_CODES) expect([1, 2, 3, 4], code).toContain(exitCodeFor(code))
  })

  it('gives 3 for what is stored damaged and 2 for what was typed wrong', () => {
    for (const code of ['restore_corrupt', 'checksum_mismatch', 'manifest_invalid', 'backup_incomplete'] as const) {
      expect(exitCodeFor(code), code).toBe(EXIT.corrupt)
    }
    // A backup of a newer release is not damaged.
    for (const code of ['manifest_version_unsupported', 'manifest_feature_unsupported'] as const) expect(exitCodeFor(code), code).toBe(EXIT.refused)
    expect(exitCodeFor('invalid_argument')).toBe(EXIT.usage)
    expect(exitCodeFor('destination_config_invalid')).toBe(EXIT.usage)
  })

  it('never calls a conflict of states anything but refused, but for mistaken paths', () => {
    const mistakenPaths = new Set(['not_a_directory', 'is_a_directory'])
    const conflicts = ERROR_CODES.filter((code) => [409, 423].includes(ERROR_TRAITS[code].httpStatus) && !mistakenPaths.has(code))
    for (const code of conflicts) expect(exitCodeFor(code), code).toBe(EXIT.refused)
  })
})
