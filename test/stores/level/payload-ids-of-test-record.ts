/** Which payload IDs the records of the tests refer to, as a module that a worker thread can load. */

/** Every "payload:ID" in a value. Throws for a value that says "undecodable", and ends the thread for one that says "crash". */
export function payloadIds(_key: string | Uint8Array, value: string | Uint8Array): readonly string[] {
  const text = typeof value === 'string' ? value : Buffer.from(value).toString('latin1')
  if (text.includes('undecodable')) throw new TypeError('The value says so')
  if (text.includes('crash')) process.exit(7)
  if (text.includes('late failure')) setImmediate(() => { throw new TypeError('Too late') })
  return Array.from(text.matchAll(/payload:([!-~]+)/g), (match) => match[1] ?? '')
}

/** Where the built module is. */
export const PAYLOAD_IDS_URL: URL = new URL('../../../dist/test/stores/level/payload-ids-of-test-record.js', import.meta.url)
