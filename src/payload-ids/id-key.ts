/** The first bytes of a payload ID as one number, which sorts as the text does. */

/** The most bytes that a double holds exactly. */
export const KEY_BYTES = 6

/** The first bytes of a packed ID of `length` bytes at `at`. Missing bytes count as 0. */
export function keyAt(bytes: Uint8Array, at: number, length: number): number {
  if (length >= KEY_BYTES) {
    const high = ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number)
    const low = ((bytes[at + 3] as number) << 16) | ((bytes[at + 4] as number) << 8) | (bytes[at + 5] as number)
    return high * 0x1000000 + low
  }
  let key = 0
  for (let index = 0; index < KEY_BYTES; index++) key = key * 256 + (index < length ? (bytes[at + index] as number) : 0)
  return key
}

/** Compares packed IDs of one width whose keys are the same. */
export function compareAfterKey(
  left: Uint8Array,
  leftAt: number,
  { right, rightAt, width }: { readonly right: Uint8Array; readonly rightAt: number; readonly width: number },
): number {
  for (let index = KEY_BYTES; index < width; index++) {
    const order = (left[leftAt + index] as number) - (right[rightAt + index] as number)
    if (order !== 0) return order
  }
  return 0
}
