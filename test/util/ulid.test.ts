import { describe, expect, it } from 'vitest'
import { checkBackupId, isUlid, newUlid } from '../../src/util/ulid.ts'

describe('newUlid()', () => {
  const before = newUlid()

  it.each([
    ['infinite', Infinity],
    ['of microseconds', Date.now() * 1000],
    ['of a part of a millisecond', Date.now() + 0.5],
    ['negative', -1],
    ['not a number', Number.NaN],
    ['a text', '1' as unknown as number],
    ['null', null as unknown as number],
    ['a date', new Date() as unknown as number],
  ])('refuses a time that is %s, and makes IDs of the time afterwards', (_what, time) => {
    expect(() => newUlid(time)).toThrow(new RangeError(`Cannot make an ID: its time, as "clock" gives it, must be whole milliseconds since 1970, got ${String(time)}`))
    const after = newUlid()
    expect(isUlid(after)).toBe(true)
    expect(after > before).toBe(true)
  })
})

it.each([
  [undefined, 'undefined'],
  [7, 'a number'],
  [['01HZZZZZZZZZZZZZZZZZZZZZZZ'], 'an array'],
  ['latest', '"latest"'],
])('checkBackupId() says what %s is', (id, shown) => {
  expect(() => checkBackupId(id as string)).toThrow(`Cannot use ${shown} as a backup ID: it is not a ULID`)
})
