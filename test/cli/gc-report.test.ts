import { expect, it } from 'vitest'
import { describeReport } from '../../src/cli/commands/gc.ts'
import type { LeaseHolder } from '../../src/gc/holds/hold-source.ts'
import type { SweepPayloadsReport } from '../../src/gc/sweep/sweep-payloads.ts'

const NONE = { payloads: 0, bytes: 0 }
const LEASE: LeaseHolder = { kind: 'lease', leaseId: 'L1', purpose: 'backup', storeId: undefined, since: '2026-01-02T03:04:05.000Z', payloadIds: undefined }
const HELD_OFF: SweepPayloadsReport = {
  dryRun: false,
  listed: NONE,
  live: NONE,
  held: NONE,
  heldBy: [],
  waiting: NONE,
  deleted: NONE,
  spared: NONE,
  holders: [LEASE],
  oldestHold: LEASE,
  heldOff: [LEASE],
  leases: { released: [], suspected: [], unproven: [] },
  durationMs: 1,
}

it.each([
  ['says that nothing was decided when everything was held', NONE, 'Nothing was marked or deleted: everything is held'],
  ['says what was deleted before everything was held', { payloads: 1000, bytes: 4000 }, 'Deleted: 1,000 payloads (3.91 KiB); then stopped, because everything is held now'],
])('describeReport() %s', (_, deleted, line) => {
  expect([...describeReport({ ...HELD_OFF, deleted }, { apply: true, minAge: 0 })][0]).toBe(line)
})
