import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { newUlid } from '../../../src/util/ulid.ts'
import { encodeJournal, encodePointer, isEngineName, parseJournal, parsePointer } from '../../../src/stores/level/home/home-files.ts'
import { runs, seed } from '../../support/seed.ts'

const ENGINE = '01JD0000000000000000000001'
const OTHER = '01JD0000000000000000000002'

const ulids = fc.integer({ min: 0, max: 2 ** 40 }).map((nowMs) => newUlid(nowMs))
const storeIds = fc.string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)), minLength: 1, maxLength: 64 })

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

describe('parsePointer', () => {
  it('reads what encodePointer wrote', () => {
    const pointers = fc.record({ storeId: storeIds, engine: fc.oneof(ulids, fc.constant('.')), previous: fc.option(ulids, { nil: undefined }) })
    fc.assert(
      fc.property(pointers, (pointer) => {
        fc.pre(pointer.previous !== pointer.engine)
        expect(parsePointer(encodePointer(pointer))).toEqual(pointer)
      }),
      { seed, numRuns: runs(200) },
    )
    expect(parsePointer(encodePointer({}))).toEqual({})
  })

  it.each([
    ['nothing', ''],
    ['no JSON', '{'],
    ['an array', '[]'],
    ['null', 'null'],
    ['another format', `{"format":2,"storeId":"a","engine":"${ENGINE}"}`],
    ['no format', `{"storeId":"a","engine":"${ENGINE}"}`],
    ['a path that climbs out', '{"format":1,"storeId":"a","engine":"../../etc"}'],
    ['two dots', '{"format":1,"storeId":"a","engine":".."}'],
    ['an absolute path', '{"format":1,"storeId":"a","engine":"/etc"}'],
    ['a path below an engine', `{"format":1,"storeId":"a","engine":"${ENGINE}/x"}`],
    ['a NUL byte', `{"format":1,"storeId":"a","engine":"${ENGINE}\\u0000"}`],
    ['a name in small letters', `{"format":1,"storeId":"a","engine":"${ENGINE.toLowerCase()}"}`],
    ['a previous engine that climbs out', `{"format":1,"storeId":"a","engine":"${ENGINE}","previous":"../x"}`],
    ['an engine that is its own previous', `{"format":1,"storeId":"a","engine":"${ENGINE}","previous":"${ENGINE}"}`],
    ['an engine without a store', `{"format":1,"engine":"${ENGINE}"}`],
    ['a store without an engine', '{"format":1,"storeId":"a"}'],
    ['a previous engine alone', `{"format":1,"previous":"${ENGINE}"}`],
    ['a store ID with a line feed', `{"format":1,"storeId":"a\\n","engine":"${ENGINE}"}`],
    ['an empty store ID', `{"format":1,"storeId":"","engine":"${ENGINE}"}`],
    ['a number for an engine', '{"format":1,"storeId":"a","engine":1}'],
    ['an unknown field', `{"format":1,"storeId":"a","engine":"${ENGINE}","more":1}`],
  ])('refuses %s', (_, text) => {
    expect(() => parsePointer(bytes(text))).toThrow()
  })

  it('refuses bytes that are not UTF-8', () => {
    expect(() => parsePointer(Uint8Array.of(0xff, 0xfe, 0x7b))).toThrow()
  })

  it('never takes arbitrary bytes for anything but a pointer', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (junk) => {
        expect(() => parsePointer(junk)).toThrow()
      }),
      { seed, numRuns: runs(500) },
    )
  })
})

describe('parseJournal', () => {
  it('reads what encodeJournal wrote', () => {
    const journals = fc.record({
      restoreId: ulids,
      backupId: fc.option(ulids, { nil: undefined }),
      from: fc.option(fc.constantFrom(OTHER, '.'), { nil: undefined }),
      to: fc.constant(ENGINE),
      startedAtMs: fc.maxSafeNat(),
    })
    fc.assert(
      fc.property(journals, (journal) => {
        expect(parseJournal(encodeJournal(journal))).toEqual(journal)
      }),
      { seed, numRuns: runs(200) },
    )
  })

  it.each([
    ['no target', { to: undefined }],
    ['a target that climbs out', { to: '../x' }],
    ['a source that climbs out', { from: '..' }],
    ['one engine for both', { from: ENGINE }],
    ['a time that is text', { startedAtMs: '1' }],
    ['a restore ID that is none', { restoreId: 'x' }],
    ['a backup ID that is none', { backupId: 'x' }],
    ['an unknown field', { more: 1 }],
  ])('refuses %s', (_, change) => {
    const journal = { format: 1, restoreId: ENGINE, backupId: OTHER, from: OTHER, to: ENGINE, startedAtMs: 1 }
    expect(() => parseJournal(bytes(JSON.stringify(journal)))).not.toThrow()
    expect(() => parseJournal(bytes(JSON.stringify({ ...journal, ...change })))).toThrow()
  })
})

describe('isEngineName', () => {
  it.each(['', '..', './', 'x', `${ENGINE}x`, `${ENGINE}.tmp`, '8ZZZZZZZZZZZZZZZZZZZZZZZZZ', 5, undefined])('refuses %j', (name) => {
    expect(isEngineName(name)).toBe(false)
  })
})
