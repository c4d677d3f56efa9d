/** Sorts payload IDs by their bytes. */
import { type IdList, copyId, LINE_FEED } from './id-list.ts'

/** The most IDs that are sorted at once. */
export const MAX_SORTED_IDS = 65_536
/** Bytes of the sorting key. */
const KEY_BYTES = 4
const DIGIT_BITS = 11
const DIGITS = 1 << DIGIT_BITS

/**
 * Sorts the IDs of lists of one width, each ID once.
 *
 * The bytes after the common prefix of all IDs become a number to sort by, digit by digit; IDs with equal numbers are compared.
 * A line feed belongs to its line, and is less than any character.
 */
export function sortIds(lists: readonly IdList[]): IdList {
  const width = lists[0]?.width ?? 0
  const bytes = lists.length === 1 && lists[0] !== undefined ? lists[0].bytes : Buffer.concat(lists.map((list) => list.bytes))
  const starts = startsOf(lists, bytes)
  const count = starts.length - 1
  if (isAscending(bytes, starts)) return { width, count, bytes }
  const skip = commonPrefix(bytes, starts)
  const keys = new Uint32Array(count)
  for (let index = 0; index < count; index++) keys[index] = keyOf(bytes, starts[index]! + skip, starts[index + 1]!)
  const order = sortedOrder(keys)
  const sorted = Buffer.allocUnsafeSlow(bytes.byteLength)
  let sortedBytes = 0
  let sortedCount = 0
  for (let from = 0, end = 0; from < count; from = end) {
    const first = order[from]!
    for (end = from + 1; end < count && keys[order[end]!] === keys[first]; ) end++
    if (end === from + 1) {
      const start = width > 0 ? first * width : starts[first]!
      sortedBytes = copyId(bytes, start, sorted, sortedBytes, width > 0 ? width : starts[first + 1]! - start)
      sortedCount++
      continue
    }
    // Most IDs of equal numbers are one ID that repeats.
    const others = order.subarray(from, end).filter((index) => bytes.compare(bytes, starts[first], starts[first + 1], starts[index], starts[index + 1]) !== 0)
    for (const id of sortGroup(Array.from([first, ...others], (index) => bytes.subarray(starts[index], starts[index + 1])))) {
      sortedBytes = copyId(id, 0, sorted, sortedBytes, id.byteLength)
      sortedCount++
    }
  }
  return { width, count: sortedCount, bytes: sorted.subarray(0, sortedBytes) }
}

/** Where each ID begins, and where the last one ends. */
function startsOf(lists: readonly IdList[], bytes: Buffer): Uint32Array {
  const width = lists[0]?.width ?? 0
  const starts = new Uint32Array(lists.reduce((sum, { count }) => sum + count, 1))
  if (width > 0) for (let index = 1; index < starts.length; index++) starts[index] = index * width
  else for (let index = 1; index < starts.length; index++) starts[index] = bytes.indexOf(LINE_FEED, starts[index - 1]) + 1
  return starts
}

/** Whether each ID is greater than its predecessor. */
function isAscending(bytes: Buffer, starts: Uint32Array): boolean {
  for (let index = 1; index < starts.length - 1; index++) {
    let [left, right] = [starts[index - 1]!, starts[index]!]
    const end = starts[index + 1]!
    for (; right < end && bytes[left] === bytes[right]; left++) right++
    if (right === end || bytes[right]! < bytes[left]!) return false
  }
  return true
}

function commonPrefix(bytes: Buffer, starts: Uint32Array): number {
  let length = starts[1] ?? 0
  for (let index = 1; index < starts.length - 1 && length > 0; index++) {
    let same = 0
    while (same < length && bytes[same] === bytes[starts[index]! + same]) same++
    length = same
  }
  return length
}

function keyOf(bytes: Buffer, at: number, end: number): number {
  let key = 0
  for (let index = at; index < at + KEY_BYTES; index++) key = key * 256 + (index < end ? bytes[index]! : 0)
  return key
}

/** The indexes of the keys in ascending order of the keys: a radix sort, from the lowest digit up. */
function sortedOrder(keys: Uint32Array): Uint32Array {
  let order = Uint32Array.from(keys, (_, index) => index)
  let next = new Uint32Array(keys.length)
  for (let shift = 0; shift < 32; shift += DIGIT_BITS) {
    const starts = new Uint32Array(DIGITS + 1)
    for (const key of keys) starts[digitOf(key, shift) + 1]!++
    for (let digit = 1; digit <= DIGITS; digit++) starts[digit]! += starts[digit - 1]!
    for (const index of order) next[starts[digitOf(keys[index]!, shift)]!++] = index
    ;[order, next] = [next, order]
  }
  return order
}

function digitOf(key: number, shift: number): number {
  return (key >>> shift) & (DIGITS - 1)
}

/** The distinct IDs of a group in ascending order. */
function sortGroup(ids: Buffer[]): readonly Buffer[] {
  ids.sort((left, right) => left.compare(right))
  return ids.filter((id, index) => index === 0 || !id.equals(ids[index - 1] ?? id))
}
