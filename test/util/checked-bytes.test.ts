import { describe, expect, test } from 'vitest'
import { type BytesDigest, checkedBytes, sha256Of } from '../../src/util/checked-bytes.ts'
import { collect } from '../support/collect.ts'

const BYTES = Buffer.from('some bytes')
const EXPECTED = { bytes: BYTES.byteLength, sha256: sha256Of(BYTES) }

class Fault extends Error {
  readonly found: BytesDigest

  constructor(found: BytesDigest) {
    super('Not these bytes')
    this.found = found
  }
}

async function given(bytes: Buffer, expected: BytesDigest = EXPECTED): Promise<{ readonly given: Buffer; readonly found: BytesDigest | undefined; readonly isLeft: boolean }> {
  const pieces: Uint8Array[] = []
  let isLeft = false
  const source = async function* (): AsyncGenerator<Uint8Array> {
    try {
      for (let at = 0; at < bytes.byteLength; at += 3) yield bytes.subarray(at, at + 3)
    } finally {
      isLeft = true
    }
  }
  let found: BytesDigest | undefined
  try {
    for await (const piece of checkedBytes(source(), expected, (actual) => new Fault(actual))) pieces.push(piece)
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    found = error.found
  }
  return { given: Buffer.concat(pieces), found, isLeft }
}

describe('checkedBytes()', () => {
  test('ends when the bytes are those expected', async () => {
    expect(await given(BYTES)).toEqual({ given: BYTES, found: undefined, isLeft: true })
    expect(await collect(checkedBytes((async function* () {})(), { bytes: 0, sha256: sha256Of(Buffer.alloc(0)) }, (found) => new Fault(found)))).toEqual([])
  })

  test('throws at the end for too few bytes, and for others', async () => {
    const short = BYTES.subarray(1)
    expect(await given(short)).toEqual({ given: short, found: { bytes: 9, sha256: sha256Of(short) }, isLeft: true })
    const others = Buffer.from('SOME BYTES')
    expect(await given(others)).toEqual({ given: others, found: { bytes: 10, sha256: sha256Of(others) }, isLeft: true })
  })

  test('throws at the piece with which they are too many, does not give it, and leaves the source', async () => {
    const outcome = await given(Buffer.concat([BYTES, Buffer.alloc(1000)]))
    expect(outcome).toMatchObject({ given: BYTES.subarray(0, 9), found: { bytes: 12 }, isLeft: true })
  })
})
