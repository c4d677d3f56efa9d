import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { CatalogEvent } from '../../src/contracts/catalog.ts'
import { decodeEvent, encodeEvent } from '../../src/catalog/event-codec.ts'
import { runs, seed } from '../support/seed.ts'
import { catalogEvent, manifestOf, started } from './catalog-events.ts'

describe('decodeEvent()', () => {
  test('gives back what encodeEvent() was given', () => {
    const same = fc.property(catalogEvent, (event) => {
      expect(decodeEvent(encodeEvent(event))).toEqual(event)
    })
    fc.assert(same, { seed, numRuns: runs(300) })
  })

  test('passes over fields it does not know', () => {
    const text = JSON.stringify({ ...JSON.parse(encodeEvent(started())), added: { later: true } })
    expect(decodeEvent(text)).toEqual(started())
  })

  const broken: readonly (readonly [string, Record<string, unknown>])[] = [
    ['another version', { version: 2 }],
    ['no version', { version: undefined }],
    ['an unknown type', { type: 'job-paused' }],
    ['a time that is none', { at: 'yesterday' }],
    ['a job ID that is no ULID', { jobId: '../x' }],
    ['an unknown kind', { kind: 'toString' }],
    ['an owner that is none', { owner: null }],
    ['a process ID that is no number', { owner: { host: 'a', pid: '1', bootId: '', start: '' } }],
    ['a store ID that is no text', { storeId: 5 }],
  ]
  test.each(broken)('rejects %s', (_, change) => {
    expect(() => decodeEvent(JSON.stringify({ ...JSON.parse(encodeEvent(started())), ...change }))).toThrow(TypeError)
  })

  test('rejects a manifest that breaks its rules, or is of another backup', () => {
    const event: CatalogEvent = { type: 'backup-recorded', at: started().at, backupId: manifestOf().backupId, destination: 'file:/a', how: 'backup', manifest: manifestOf() }
    for (const change of [{ payload: {} }, { backupId: started().jobId }]) {
      const text = JSON.stringify({ ...JSON.parse(encodeEvent(event)), manifest: { ...manifestOf(), ...change } })
      expect(() => decodeEvent(text)).toThrow(/Cannot read the manifest/)
    }
  })

  test('throws on any text, and never anything but an Error', () => {
    const throws = fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      expect(() => decodeEvent(text)).toThrow(Error)
    })
    fc.assert(throws, { seed, numRuns: runs(300) })
  })
})
