import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { conflictingLock, withLock, withoutRange } from '../../src/metadata/locks.ts'
import type { ByteRangeLock } from '../../src/contracts/metadata-store.ts'
import { runs, seed } from '../support/seed.ts'

/** Locks are compared byte by byte up to here; "to the end" reaches it. */
const BYTES = 24

const lock: fc.Arbitrary<ByteRangeLock> = fc
  .record({ owner: fc.constantFrom('x', 'y', 'z'), kind: fc.constantFrom('shared', 'exclusive'), start: fc.nat(BYTES - 2), length: fc.integer({ min: 1, max: BYTES }) })
  .map(({ owner, kind, start, length }) => ({ inode: 1, owner, kind, start, end: start + length >= BYTES ? undefined : start + length }))
const step = fc.record({ lock, release: fc.boolean() })

test('withLock() and withoutRange() hold the same bytes as a map of bytes does, joined as far as they go', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      let locks: ByteRangeLock[] = []
      const byByte = new Map<string, string>()
      for (const { lock, release } of steps) {
        const conflicts = keysOf(lock).some((key) =>
          [...byByte].some(([other, kind]) => sameByte(key, other) && key !== other && (kind === 'exclusive' || lock.kind === 'exclusive')),
        )
        if (!release) expect(conflictingLock(locks, lock) !== undefined).toBe(conflicts)
        if (!release && conflicts) continue
        locks = release ? withoutRange(locks, lock) : withLock(locks, lock)
        for (const key of keysOf(lock)) {
          if (release) byByte.delete(key)
          else byByte.set(key, lock.kind)
        }
        const held = new Map(locks.flatMap((held) => keysOf(held).map((key) => [key, held.kind] as const)))
        expect(sorted(held)).toEqual(sorted(byByte))
        expect(locks.length).toBe(stretches(byByte))
      }
    }),
    { seed, numRuns: runs(1000) },
  )
})

function keysOf({ owner, start, end = BYTES }: ByteRangeLock): string[] {
  return Array.from({ length: end - start }, (_, at) => `${owner} ${start + at}`)
}

function sameByte(a: string, b: string): boolean {
  return a.slice(2) === b.slice(2)
}

function sorted(map: ReadonlyMap<string, string>): string[] {
  return [...map].map(([key, kind]) => `${key} ${kind}`).toSorted()
}

/** How many runs of bytes of one owner and one kind there are. */
function stretches(byByte: ReadonlyMap<string, string>): number {
  return [...byByte].filter(([key, kind]) => {
    const [owner, byte] = key.split(' ')
    return byByte.get(`${owner ?? ''} ${Number(byte) - 1}`) !== kind
  }).length
}
