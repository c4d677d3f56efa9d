import { describe, expect, test } from 'vitest'
import { jobErrorOf } from '../../src/catalog/job-log.ts'
import { MetadataError } from '../../src/errors/errors.ts'
import { systemError } from '../../src/util/files.ts'

describe('jobErrorOf()', () => {
  test('gives an error of the file system its code, and only what comes from elsewhere internal', () => {
    expect(jobErrorOf(systemError('EIO', 'read', '/srv/x'))).toMatchObject({ code: 'destination_unreachable', message: 'Cannot read "/srv/x": input or output error (EIO)' })
    expect(jobErrorOf(systemError('ENOSPC', 'write', '/srv/x'))).toMatchObject({ code: 'destination_no_space' })
    expect(jobErrorOf(new MetadataError('entry_exists', 'It is there'))).toMatchObject({ code: 'entry_exists', message: 'It is there' })
    expect(jobErrorOf(new Error('of a stranger'))).toMatchObject({ code: 'internal', message: 'of a stranger' })
  })
})
