import { constants } from 'node:os'
import { expect, test } from 'vitest'
import { packError, unpackError } from '../../src/errors/error-transfer.ts'
import { BackupAbortedError, ERROR_CODES, HoldfastError, MetadataError, RestoreCorruptError, isHoldfastError } from '../../src/errors/errors.ts'
import { asHoldfastError } from '../../src/util/system-errors.ts'

/** To another thread and back. */
function transferred(error: unknown): Error {
  return unpackError(structuredClone(packError(error)))
}

test('unpackError() rebuilds an error of every code with its hint, retryable, details and HTTP status', () => {
  for (const code of ERROR_CODES) {
    const traits = { code, hint: 'Do this', retryable: true, details: JSON.stringify({ a: [1, { b: 'c' }] }) }
    const error = unpackError({ name: '', message: 'It failed', stack: 'there', code, system: {}, cause: undefined, traits })
    expect(error).toBeInstanceOf(HoldfastError)
    expect(error).toMatchObject({ code, message: 'It failed', hint: 'Do this', retryable: true, stack: 'there', details: { a: [1, { b: 'c' }] } })
    expect([code, MetadataError]).toContain(error instanceof MetadataError ? error.constructor : (error.constructor as typeof HoldfastError).code)
    const again = transferred(error)
    expect([again.constructor, again.name, JSON.stringify(again)]).toEqual([error.constructor, error.name, JSON.stringify(error)])
  }
})

test('unpackError() keeps offset and frame of a fault, also when there are none', () => {
  for (const place of [{ offset: 7, frame: 0 }, { offset: undefined, frame: undefined }]) {
    const error = transferred(new RestoreCorruptError('Damaged', { ...place, details: { more: 1 } }))
    expect(error).toBeInstanceOf(RestoreCorruptError)
    expect(error).toMatchObject({ ...place, details: { more: 1 } })
  }
})

test('packError() keeps name, code and causes of any error, and whatever else was thrown as text', () => {
  const cause = Object.assign(new TypeError('Deep down'), { code: 'E_DEEP' })
  const error = transferred(new BackupAbortedError('Ended', { cause }))
  expect(error.cause).toMatchObject({ name: 'TypeError', message: 'Deep down', code: 'E_DEEP' })
  expect(isHoldfastError(error.cause)).toBe(false)
  expect(transferred('just text')).toMatchObject({ name: 'Error', message: 'just text' })
  expect(transferred(undefined)).toMatchObject({ message: 'undefined' })
})

test('packError() keeps what an error of a system call says, so that one that Node has no name for is told as in its own thread', () => {
  const full = Object.assign(new Error('Unknown system error -122: write'), { code: 'Unknown system error -122', errno: -constants.errno.EDQUOT, syscall: 'write', path: '/spill' })
  const error = transferred(full)
  expect(error).toMatchObject({ code: 'Unknown system error -122', errno: full.errno, syscall: 'write', path: '/spill' })
  expect(JSON.stringify(asHoldfastError(error))).toBe(JSON.stringify(asHoldfastError(full)))
  expect(asHoldfastError(error)).toMatchObject({ code: 'destination_no_space', message: 'Cannot write "/spill": the quota is used up (EDQUOT)' })
  expect(Object.keys(transferred(new Error('None')))).toEqual([])
})

test('packError() takes details that JSON cannot hold, and ends a ring of causes', () => {
  const error = new BackupAbortedError('Ended', { details: { size: 5n, tag: Symbol('s') } })
  expect(transferred(error)).toMatchObject({ details: { size: '5', tag: 'Symbol(s)' } })
  const ring = new Error('a ring')
  ring.cause = ring
  let depth = 0
  for (let cause: unknown = transferred(ring); cause instanceof Error; cause = cause.cause) depth++
  expect(depth).toBeLessThan(20)
})
