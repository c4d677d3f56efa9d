import { expect, test } from 'vitest'
import { messageOf } from '../../src/errors/error-message.ts'

test('messageOf() gives one line for whatever is thrown, and of errors without words those of each', () => {
  expect(messageOf(new RangeError('too long'))).toBe('too long')
  expect(messageOf('text')).toBe('text')
  expect(messageOf(undefined)).toBe('undefined')
  expect(messageOf(new AggregateError([new Error('a refused'), 'b']))).toBe('a refused; b')
  expect(messageOf(new AggregateError([new Error('a refused')], 'all refused'))).toBe('all refused')
})
