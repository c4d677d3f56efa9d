/** Sorts lines of payload IDs by their bytes. */

const LINE_FEED = 0x0a
/** Characters of the sorting key: with the line's number they fill what a double holds exactly, 5 x 7 + 16 bits. */
const KEY_CHARACTERS = 5
/** The most lines that can be sorted at once. */
export const MAX_SORTED_LINES = 65_536

/**
 * The same lines in ascending order, repeated ones once. Numbers sort several times as fast as strings: what follows the
 * prefix common to all lines becomes the key, and only lines of equal keys are compared.
 */
export function sortLines(lines: Buffer): Buffer {
  const starts = lineStarts(lines)
  const skip = commonPrefix(lines, starts)
  const keys = new Float64Array(starts.length - 1)
  for (let index = 0; index < keys.length; index++) keys[index] = keyOf(lines, (starts[index] ?? 0) + skip) * MAX_SORTED_LINES + index
  keys.sort()
  const sorted = Buffer.allocUnsafe(lines.byteLength)
  let used = 0
  let last = ''
  let group: string[] = []
  for (let index = 0; index < keys.length; index++) {
    const key = keys[index] ?? 0
    group.push(lineAt(lines, starts, key % MAX_SORTED_LINES))
    if (prefixOf(keys[index + 1]) === prefixOf(key)) continue
    if (group.length > 1) group.sort()
    for (const line of group) {
      if (line !== last) used += sorted.write(line, used, 'latin1')
      last = line
    }
    group = []
  }
  return sorted.subarray(0, used)
}

/** Where each line begins, and where the last one ends. */
function lineStarts(lines: Buffer): number[] {
  const starts = [0]
  for (let at = lines.indexOf(LINE_FEED); at !== -1; at = lines.indexOf(LINE_FEED, at + 1)) starts.push(at + 1)
  return starts
}

function commonPrefix(lines: Buffer, starts: readonly number[]): number {
  let length = starts[1] ?? 0
  for (let index = 1; index < starts.length - 1; index++) {
    const start = starts[index] ?? 0
    let same = 0
    while (same < length && lines[same] === lines[start + same]) same++
    length = same
  }
  return length
}

/** Characters are ASCII. After a line's end, which is less than any character, nothing counts. */
function keyOf(lines: Buffer, start: number): number {
  let key = 0
  let ended = false
  for (let index = 0; index < KEY_CHARACTERS; index++) {
    const byte = lines[start + index] ?? LINE_FEED
    ended ||= byte === LINE_FEED
    key = key * 128 + (ended ? 0 : byte)
  }
  return key
}

function prefixOf(key: number | undefined): number {
  return key === undefined ? -1 : Math.floor(key / MAX_SORTED_LINES)
}

/** A line with its line feed. */
function lineAt(lines: Buffer, starts: readonly number[], index: number): string {
  return lines.toString('latin1', starts[index], starts[index + 1])
}
