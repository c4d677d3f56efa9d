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

  test('keeps names that a newer release added to what it knows', () => {
    const newer: CatalogEvent[] = [
      started(undefined, { kind: 'drill' }),
      { type: 'job-ended', at: started().at, jobId: started().jobId, state: 'skipped', error: { code: 'slot_missed', message: '', hint: '' } },
      { type: 'lease-taken', at: started().at, leaseId: started().jobId, purpose: 'journal', owner: started().owner },
      { type: 'lease-released', at: started().at, leaseId: started().jobId, why: 'expired' },
      { type: 'backup-verified', at: started().at, backupId: started().jobId, destination: 'file:/a', level: 'signature' },
    ]
    for (const event of newer) expect(decodeEvent(encodeEvent(event))).toEqual(event)
  })

  test('an event of an unknown type or a newer version is passed over as unknown', () => {
    for (const change of [{ type: 'job-paused' }, { type: 'backup-pinned', jobId: 5 }, { version: 2 }, { version: 2, at: 17 }]) {
      expect(decodeEvent(JSON.stringify({ ...JSON.parse(encodeEvent(started())), ...change }))).toEqual({ type: 'unknown' })
    }
  })

  test('a recorded manifest of a newer kind is left out, and the rest of the event stays', () => {
    const recorded: CatalogEvent = { type: 'backup-recorded', at: started().at, backupId: manifestOf().backupId, destination: 'file:/a', how: 'backup', manifest: manifestOf() }
    for (const change of [{ manifestVersion: 3 }, { manifestVersion: 2, requires: ['parts'], payload: 'of another form' }]) {
      const text = JSON.stringify({ ...JSON.parse(encodeEvent(recorded)), manifest: { ...manifestOf(), ...change } })
      expect(decodeEvent(text)).toEqual({ ...recorded, manifest: undefined })
    }
  })

  const broken: readonly (readonly [string, Record<string, unknown>])[] = [
    ['version 0', { version: 0 }],
    ['no version', { version: undefined }],
    ['a type that is not a name', { type: '../x' }],
    ['a time that is none', { at: 'yesterday' }],
    ['a job ID that is not a ULID', { jobId: '../x' }],
    ['a kind that is not a name', { kind: 'toString' }],
    ['an owner that is none', { owner: null }],
    ['a process ID that is not a number', { owner: { host: 'a', pid: '1', bootId: '', start: '' } }],
    ['a store ID that is not text', { storeId: 5 }],
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
