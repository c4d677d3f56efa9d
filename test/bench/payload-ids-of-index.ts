/** Payload IDs by the million: 64 hex characters each, as random as digests are, cheap to make, the same in every run. */
import type { IdList } from '../../src/payload-ids/id-list.ts'
import { idsOf } from '../../src/payload-ids/id-list.ts'

const ID_BYTES = 32
const KEY_BYTES = 6
const LIST_IDS = 1000
const POOL_BYTES = 1 << 20

/** Mixes the bits of a number; 32 bits. */
export function mixed(value: number): number {
  let bits = Math.imul(value ^ (value >>> 16), 0x7feb352d)
  bits = Math.imul(bits ^ (bits >>> 15), 0x846ca68b)
  return (bits ^ (bits >>> 16)) >>> 0
}

const pool = Buffer.allocUnsafe(POOL_BYTES)
for (let at = 0; at < POOL_BYTES; at += 4) pool.writeUInt32LE(mixed(at + 1), at)

/** IDs in no order, each another one. */
export function* shuffledIds(count: number): Generator<string, void, undefined> {
  const bytes = Buffer.allocUnsafe(LIST_IDS * ID_BYTES)
  for (let from = 0; from < count; from += LIST_IDS) {
    const ids = Math.min(LIST_IDS, count - from)
    for (let index = 0; index < ids; index++) {
      const at = index * ID_BYTES
      // Of 32 bits none are lost by the mixing: no two IDs begin alike.
      bytes.writeUInt32LE(mixed(from + index), at)
      fillFromPool(bytes, at + 4, ID_BYTES - 4, mixed(~(from + index)))
    }
    yield* idsOf({ width: ID_BYTES, count: ids, bytes })
  }
}

/**
 * Of so many IDs in ascending order those of some parts, packed, a thousand at a time. Of any `parts` IDs that follow one another, each belongs to
 * another part, in another order every time.
 */
export function* ascendingLists(total: number, parts: number, isWanted: (part: number) => boolean): Generator<IdList, void, undefined> {
  const step = 2 ** 48 / total
  const wanted = Array.from({ length: parts }, (_, turn) => Array.from({ length: parts }, (__, index) => index).filter((index) => isWanted((index + turn) % parts)))
  let bytes = Buffer.allocUnsafeSlow(LIST_IDS * ID_BYTES)
  let count = 0
  for (let from = 0; from < total; from += parts) {
    for (const offset of wanted[mixed(from) % parts] ?? []) {
      const index = from + offset
      const seed = mixed(~index)
      writeKey(bytes, count * ID_BYTES, Math.floor((index + seed / 2 ** 32) * step))
      fillFromPool(bytes, count * ID_BYTES + KEY_BYTES, ID_BYTES - KEY_BYTES, seed)
      count += 1
      if (count < LIST_IDS) continue
      yield { width: ID_BYTES, count, bytes }
      bytes = Buffer.allocUnsafeSlow(LIST_IDS * ID_BYTES)
      count = 0
    }
  }
  if (count > 0) yield { width: ID_BYTES, count, bytes: bytes.subarray(0, count * ID_BYTES) }
}

function writeKey(bytes: Buffer, at: number, key: number): void {
  const high = Math.floor(key / 0x1000000)
  const low = key % 0x1000000
  bytes[at] = high >> 16
  bytes[at + 1] = high >> 8
  bytes[at + 2] = high
  bytes[at + 3] = low >> 16
  bytes[at + 4] = low >> 8
  bytes[at + 5] = low
}

function fillFromPool(bytes: Buffer, at: number, length: number, seed: number): void {
  const from = seed % (POOL_BYTES - length)
  for (let index = 0; index < length; index++) bytes[at + index] = pool[from + index] as number
}
