/** Checks bytes by their number and their SHA-256. */
import { createHash } from 'node:crypto'

/** The number of bytes and their SHA-256 in hex. */
export interface BytesDigest {
  readonly bytes: number
  readonly sha256: string
}

/**
 * Passes the chunks of a source on. The end is reached only if they are the expected bytes; otherwise `fault` makes the error. Yields no
 * more bytes than expected.
 */
export async function* checkedBytes(
  source: AsyncIterable<Uint8Array>,
  expected: BytesDigest,
  fault: (found: BytesDigest) => Error,
): AsyncGenerator<Uint8Array, void, undefined> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of source) {
    bytes += chunk.byteLength
    hash.update(chunk)
    if (bytes > expected.bytes) break
    yield chunk
  }
  const found = { bytes, sha256: hash.digest('hex') }
  if (found.bytes !== expected.bytes || found.sha256 !== expected.sha256) throw fault(found)
}

/** The SHA-256 of bytes, or of the UTF-8 of a text, in hex. */
export function sha256Of(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex')
}
