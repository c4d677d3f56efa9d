/** The beginning of a payload ID as one number: what is less is less as text. */

/** So many bytes a double holds exactly. */
export const KEY_BYTES = 6

/** The first bytes of a packed ID that has so many from there; what is missing counts as 0. */
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

/** How packed IDs of one width compare whose first bytes, as `keyAt` takes them, are the same. */
export function compareAfterKey(left: Uint8Array, leftAt: number, { right, rightAt, width }: { readonly right: Uint8Array; readonly rightAt: number; readonly width: number }): number {
  for (let index = KEY_BYTES; index < width; index++) {
    const order = (left[leftAt + index] as number) - (right[rightAt + index] as number)
    if (order !== 0) return order
  }
  return 0
}
