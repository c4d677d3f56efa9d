import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatBytes, formatCount, formatDuration, formatTable, plural, printable, printableLines, shellWord } from '../../src/util/text.ts'
import { runs, seed } from '../support/seed.ts'

describe('printable()', () => {
  it('escapes what could move the cursor, hide text or forge a line', () => {
    expect(printable('a\u001b[2J\r\nb\tc\u007f')).toBe('a\\u001b[2J\\r\\nb\\tc\\u007f')
    expect(printable('\u009b31m\u202egnp.exe\u2066')).toBe('\\u009b31m\\u202egnp.exe\\u2066')
    expect(printable('half \ud800 pair')).toBe('half \\ud800 pair')
  })

  it('leaves letters of every script and whole pairs as they are', () => {
    expect(printable('Grüße, 世界, 👋🏽')).toBe('Grüße, 世界, 👋🏽')
  })

  it('gives one line without control characters for any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(printable(text)).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e]/)
      }),
      { seed, numRuns: runs(500) },
    )
  })
})

it('printableLines() keeps lines, and JSON the same JSON', () => {
  const document = { text: 'a\u009b31m\u202eb\u2028c\ud800\nd\u007f', nested: ['\u0000'] }
  const json = printableLines(JSON.stringify(document, null, 2))
  expect(json).toMatch(/^[\n\x20-\x7e]+$/)
  expect(json.split('\n')).toHaveLength(6)
  expect(JSON.parse(json)).toEqual(document)
})

it.each([
  ['file:/srv/backups', 'file:/srv/backups'],
  ['postgres://u@h:5433/d?schema=a', "'postgres://u@h:5433/d?schema=a'"],
  ["it's $HOME; rm *", "'it'\\''s $HOME; rm *'"],
  ['~/a', "'~/a'"],
  ['a\u001b[2J', "'a\\u001b[2J'"],
  ['', "''"],
])('shellWord() of %j is %s', (text, word) => expect(shellWord(text)).toBe(word))

describe('formatBytes()', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '0.98 KiB'],
    [1536, '1.50 KiB'],
    [10 * 1024 * 1024, '10.0 MiB'],
    [345 * 1024 * 1024, '345 MiB'],
    [2 ** 53, '8.00 PiB'],
  ])('writes %d as %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text))
})

describe('formatCount() and plural()', () => {
  it('separates thousands and picks the noun', () => {
    expect([formatCount(7), formatCount(1234567), formatCount(12345678901234567890n)]).toEqual(['7', '1,234,567', '12,345,678,901,234,567,890'])
    expect([plural(1, 'file'), plural(0, 'file'), plural(2000, 'entry', 'entries')]).toEqual(['1 file', '0 files', '2,000 entries'])
  })
})

describe('formatDuration()', () => {
  it.each([
    [12.3, '12 ms'],
    [400, '0.4 s'],
    [99_940, '99.9 s'],
    [200_000, '3 min 20 s'],
  ])('writes %d ms as %s', (ms, text) => expect(formatDuration(ms)).toBe(text))
})

describe('formatTable()', () => {
  it('aligns columns, numbers to the right, without trailing spaces', () => {
    expect(formatTable(['NAME', 'SIZE>', 'NOTE'], [['a', '1', 'x'], ['long name', '1,000', '']])).toEqual([
      'NAME        SIZE  NOTE',
      'a              1  x',
      'long name  1,000',
    ])
  })
})
