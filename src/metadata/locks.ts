/** Pure functions on the byte-range locks of one inode. */
import type { ByteRangeLock } from '../contracts/metadata-store.ts'

/** The first lock of another owner that conflicts with the wanted one. */
export function conflictingLock(locks: readonly ByteRangeLock[], wanted: ByteRangeLock): ByteRangeLock | undefined {
  return locks.find((lock) => lock.owner !== wanted.owner && overlaps(lock, wanted) && (lock.kind === 'exclusive' || wanted.kind === 'exclusive'))
}

/** The locks after one was taken. It replaces the owner's other locks on its bytes, and joins those of its kind that it touches. */
export function withLock(locks: readonly ByteRangeLock[], taken: ByteRangeLock): ByteRangeLock[] {
  const others = withoutRange(locks, taken)
  const joined = others.filter((lock) => lock.owner === taken.owner && lock.kind === taken.kind && touches(lock, taken))
  const start = Math.min(taken.start, ...joined.map((lock) => lock.start))
  const end = Math.max(endOf(taken), ...joined.map(endOf))
  return inOrder([...others.filter((lock) => !joined.includes(lock)), lockOf(taken, start, end)])
}

/** The locks after an owner released a range. Parts of its locks outside the range stay. */
export function withoutRange(locks: readonly ByteRangeLock[], range: Omit<ByteRangeLock, 'kind'>): ByteRangeLock[] {
  return inOrder(
    locks.flatMap((lock) => {
      if (lock.owner !== range.owner || !overlaps(lock, range)) return [lock]
      const parts: ByteRangeLock[] = []
      if (lock.start < range.start) parts.push(lockOf(lock, lock.start, range.start))
      if (endOf(range) < endOf(lock)) parts.push(lockOf(lock, endOf(range), endOf(lock)))
      return parts
    }),
  )
}

/** Sorts locks by first byte, then by owner. */
export function inOrder(locks: readonly ByteRangeLock[]): ByteRangeLock[] {
  return locks.toSorted((a, b) => a.start - b.start || (a.owner < b.owner ? -1 : a.owner > b.owner ? 1 : 0))
}

type Range = Pick<ByteRangeLock, 'start' | 'end'>

function endOf(range: Range): number {
  return range.end ?? Infinity
}

function overlaps(a: Range, b: Range): boolean {
  return a.start < endOf(b) && b.start < endOf(a)
}

function touches(a: Range, b: Range): boolean {
  return a.start <= endOf(b) && b.start <= endOf(a)
}

function lockOf({ inode, owner, kind }: ByteRangeLock, start: number, end: number): ByteRangeLock {
  return { inode, owner, kind, start, end: end === Infinity ? undefined : end }
}
