/** Turns lists of payload IDs into one that is sorted. */
import { type IdList, LINE_FEED } from './id-list.ts'
import { sortLines } from './sort-lines.ts'
import { sortPacked } from './sort-packed.ts'

/** The IDs of all lists, which have one width, in ascending order and each once. At most as many as can be sorted at once. */
export function sortedRun(lists: readonly IdList[]): IdList {
  const width = lists[0]?.width ?? 0
  const bytes = lists.length === 1 && lists[0] !== undefined ? lists[0].bytes : Buffer.concat(lists.map((list) => list.bytes))
  if (width > 0) {
    const sorted = sortPacked(bytes, width)
    return { width, count: sorted.byteLength / width, bytes: sorted }
  }
  const sorted = sortLines(bytes)
  return { width, count: lineCount(sorted), bytes: sorted }
}

function lineCount(lines: Buffer): number {
  let count = 0
  for (let at = lines.indexOf(LINE_FEED); at !== -1; at = lines.indexOf(LINE_FEED, at + 1)) count++
  return count
}
