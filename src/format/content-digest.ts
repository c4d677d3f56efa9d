/** Digests of the content of a snapshot, one per section. They do not depend on how records are cut into frames. */
import { createHash, type Hash } from 'node:crypto'
import { RestoreCorruptError } from '../errors/errors.ts'
import { decodeRecords, type DataFrame, type Value } from './snapshot-reader.ts'

export class ContentDigest {
  readonly #hashes = new Map<string, Hash>()

  add(frame: DataFrame, section: string): void {
    let hash = this.#hashes.get(section)
    if (hash === undefined) this.#hashes.set(section, (hash = createHash('sha256')))
    hash.update(contentOf(frame))
  }

  /** The name of a section whose content differs, or `undefined`. Uses both digests up. */
  differenceFrom(other: ContentDigest): string | undefined {
    const digests = [this.#digests(), other.#digests()] as const
    return [...new Set(digests.flatMap((digest) => [...digest.keys()]))].find((section) => digests[0].get(section) !== digests[1].get(section))
  }

  #digests(): ReadonlyMap<string, string> {
    return new Map([...this.#hashes].map(([section, hash]) => [section, hash.digest('hex')]))
  }
}

/** The bytes to hash: each record as lengths, key and value. An archive is hashed unchanged, for it may be cut anywhere. */
function contentOf(frame: DataFrame): Uint8Array {
  const records = recordsOf(frame)
  if (records === undefined) return frame.data
  const content = Buffer.allocUnsafe(records.length * 8 + records.reduce((sum, [key, value]) => sum + lengthOf(key) + lengthOf(value), 0))
  let at = 0
  for (const record of records) {
    for (const part of record) {
      const length = typeof part === 'string' ? content.write(part, at + 4, 'utf8') : (content.set(part, at + 4), part.byteLength)
      content.writeUInt32LE(length, at)
      at += 4 + length
    }
  }
  return content
}

function recordsOf(frame: DataFrame): readonly (readonly [Value, Value])[] | undefined {
  try {
    return decodeRecords(frame)
  } catch (error) {
    // The frame does not have records: it is part of an archive.
    if (error instanceof RestoreCorruptError) return undefined
    throw error
  }
}

function lengthOf(value: Value): number {
  return typeof value === 'string' ? Buffer.byteLength(value) : value.byteLength
}
