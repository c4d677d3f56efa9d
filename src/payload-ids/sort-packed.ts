/** Sorts packed payload IDs. */
import { copyId } from './id-list.ts'

/** The most that are sorted at once; their numbers fit 16 bits. */
export const MAX_SORTED_IDS = 65_536
/** Bytes of the sorting key. */
const KEY_BYTES = 4
const DIGIT_BITS = 11
const DIGITS = 1 << DIGIT_BITS

/**
 * The same IDs in ascending order, repeated ones once. The bytes after the prefix that all IDs have become a number to sort by, digit by
 * digit; only IDs of equal numbers are compared.
 */
export function sortPacked(ids: Buffer, width: number): Buffer {
  if (isAscending(ids, width)) return ids
  const count = ids.byteLength / width
  const skip = commonPrefix(ids, width)
  const keyBytes = Math.min(KEY_BYTES, width - skip)
  const keys = new Uint32Array(count)
  for (let index = 0; index < count; index++) keys[index] = keyOf(ids, index * width + skip, keyBytes)
  const order = sortedOrder(keys)
  const sorted = Buffer.allocUnsafeSlow(ids.byteLength)
  let used = 0
  for (let from = 0; from < count; ) {
    const first = order[from] ?? 0
    let end = from + 1
    while (end < count && keys[order[end] ?? 0] === keys[first]) end++
    if (end === from + 1) used = copyId(ids, first * width, sorted, used, width)
    else for (const id of sortedGroup(ids, order.subarray(from, end), width)) used = copyId(id, 0, sorted, used, width)
    from = end
  }
  return sorted.subarray(0, used)
}

/** Whether each ID is greater than the one before. */
function isAscending(ids: Buffer, width: number): boolean {
  for (let at = width; at < ids.byteLength; at += width) {
    let index = 0
    while (index < width && ids[at + index] === ids[at - width + index]) index++
    if (index === width || (ids[at + index] ?? 0) < (ids[at - width + index] ?? 0)) return false
  }
  return true
}

function commonPrefix(ids: Buffer, width: number): number {
  let length = width
  for (let at = width; at < ids.byteLength && length > 0; at += width) {
    let same = 0
    while (same < length && ids[same] === ids[at + same]) same++
    length = same
  }
  return length
}

function keyOf(ids: Buffer, at: number, keyBytes: number): number {
  let key = 0
  for (let index = 0; index < keyBytes; index++) key = key * 256 + (ids[at + index] ?? 0)
  return key
}

/** The numbers of the keys in ascending order of the keys: a radix sort, from the lowest digit up. */
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

/** The different IDs of a group, in ascending order. */
function sortedGroup(ids: Buffer, indices: Uint32Array, width: number): readonly Buffer[] {
  const group = Array.from(indices, (index) => ids.subarray(index * width, (index + 1) * width))
  group.sort((left, right) => left.compare(right))
  return group.filter((id, index) => index === 0 || !id.equals(group[index - 1] ?? id))
}
