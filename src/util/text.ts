/** Formats numbers, sizes, times, tables and foreign names for people. */

/** Control characters, marks of writing direction, line separators, and halves of surrogate pairs. */
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb]|\p{Surrogate}/gu

/** Escapes everything in a foreign text that could move the cursor, hide text or forge a line, as JSON does. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => {
    const code = character.charCodeAt(0)
    if (code === 0x0a) return '\\n'
    if (code === 0x0d) return '\\r'
    if (code === 0x09) return '\\t'
    return `\\u${code.toString(16).padStart(4, '0')}`
  })
}

/** Escapes the lines of a text, as `printable` does, and keeps them lines. JSON stays the same JSON. */
export function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n')
}

/** A foreign text as one word of a command line that the operator may copy into a shell. */
export function shellWord(text: string): string {
  const word = printable(text)
  return /^[\w%+,./:=@-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`
}

/** A number with thousands separated: `12,345`. */
export function formatCount(count: number | bigint): string {
  return count.toString().replace(/\B(?=(?:\d{3})+$)/g, ',')
}

/** A number and its noun: `1 file`, `2 files`. */
export function plural(count: number, noun: string, nouns: string = `${noun}s`): string {
  return `${formatCount(count)} ${count === 1 ? noun : nouns}`
}

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const

/** A size: `17 B`, `1.5 KiB`, `345 MiB`. */
export function formatBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 999.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1024
    unit += 1
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2
  return `${value.toFixed(digits)} ${BYTE_UNITS[unit]}`
}

/** A time span: `0.4 s`, `12.3 s`, `3 min 20 s`. */
export function formatDuration(ms: number): string {
  if (ms < 100) return `${Math.round(ms)} ms`
  if (ms < 99_950) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}

/** Bytes per second over a time span; empty if the span is too short. */
export function formatRate(bytes: number, ms: number): string {
  return ms < 1 ? '' : `${formatBytes((bytes / ms) * 1000)}/s`
}

/** A duration, with the rate for at least 1 MiB: `3.4 s`, `3.4 s (35 MiB/s)`. */
export function formatPace(bytes: number, ms: number): string {
  return bytes < 1024 * 1024 ? formatDuration(ms) : `${formatDuration(ms)} (${formatRate(bytes, ms)})`
}

/** A point in time to the second, UTC: `2026-11-20 21:43:00Z`. */
export function formatTime(at: number | string): string {
  const date = new Date(at)
  return Number.isNaN(date.getTime()) ? printable(String(at)) : `${date.toISOString().slice(0, 19).replace('T', ' ')}Z`
}

/** A column's heading; a trailing `>` aligns it to the right. */
export type Column = string

/** Lines of a table with a heading, columns two spaces apart. Cells must be printable already. */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const headings = columns.map((column) => column.replace(/>$/, ''))
  const widths = headings.map((heading, index) => rows.reduce((width, row) => Math.max(width, row[index]?.length ?? 0), heading.length))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, index) => (columns[index]?.endsWith('>') ? cell.padStart(widths[index] ?? 0) : cell.padEnd(widths[index] ?? 0)))
      .join('  ')
      .trimEnd()
  return [line(headings), ...rows.map(line)]
}

/** Lines of `name   value` pairs with the values in one column. */
export function formatPairs(pairs: readonly (readonly [string, string])[]): string[] {
  const width = pairs.reduce((widest, [name]) => Math.max(widest, name.length), 0)
  return pairs.map(([name, value]) => `${name.padEnd(width)}  ${value}`)
}

/** Labels as `name=value`, separated by commas. */
export function formatLabels(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${printable(name)}=${printable(value)}`)
    .join(', ')
}
