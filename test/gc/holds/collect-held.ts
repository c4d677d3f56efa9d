import type { HeldIds } from '../../../src/gc/holds/held-ids.ts'

/** All held IDs, in ascending order: those that have a bit of the mask in one of the streams. */
export async function collectHeld(held: HeldIds): Promise<string[]> {
  const found = new Set<string>()
  for (const stream of held.streams()) {
    const { word, words } = stream
    const mask = held.mask.subarray(word, word + words)
    for await (const { page, rows } of stream.parts()) {
      for (const [index, payloadId] of page.payloadIds.entries()) {
        if (mask.some((bits, at) => (bits & (rows[index * words + at] ?? 0)) !== 0)) found.add(payloadId)
      }
    }
  }
  return [...found].toSorted()
}
