import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { findZstd } from '../../src/format/compression.ts'
import type { HostileReport } from './hostile-child.ts'
import { BOMBS, REFUSED, TINY_FRAMES } from './hostile-streams.ts'

const HAS_ZSTD = (await findZstd()) !== undefined
const CHILD = resolve(import.meta.dirname, '../../dist/test/format/hostile-child.js')
const HEAP_MIB = 64
/** Frames that the reader works on before it gives way, at most. */
const FRAMES_PER_TURN = 600

/** In a child, with a small heap: what runs out of memory ends with a signal, and so does the test. */
async function report(task: string): Promise<HostileReport> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', `--max-old-space-size=${HEAP_MIB}`, CHILD, task])
  return JSON.parse(stdout) as HostileReport
}

function allCorrupt(streams: object): Record<string, string> {
  return Object.fromEntries(Object.keys(streams).map((name) => [name, 'restore_corrupt']))
}

describe.skipIf(process.platform !== 'linux')('a restore of a hostile stream, in a heap of 64 MiB', () => {
  it('whose lengths or counts are 0, 2^31, 2^32 - 1, beyond 2^53, negative or lies is refused before allocation: memory rises by less than 16 MiB, one chunk is read', async () => {
    const { outcomes, chunks, frames, roseMib } = await report('refuse')
    expect(outcomes).toEqual(allCorrupt(REFUSED))
    expect(frames).toBe(0)
    expect(chunks).toBe(Object.keys(REFUSED).length)
    expect(roseMib).toBeLessThan(16)
  })

  it.skipIf(!HAS_ZSTD)('that is a compression bomb is refused at the length it claims', async () => {
    const { outcomes, roseMib } = await report('refuse-bombs')
    expect(outcomes).toEqual(allCorrupt(BOMBS))
    // Of 256 MiB of zeros that making one takes, the system gives hardly any real memory.
    expect(roseMib).toBeLessThan(64)
  })

  it(`of ${TINY_FRAMES.toLocaleString('en')} tiny frames reads them with flat memory, and gives way to the event loop every few hundred`, async () => {
    const { outcomes, frames, framesPerTurn, roseMib } = await report('read-tiny-frames')
    // It has no trailer, and is read to its end.
    expect({ outcomes, frames }).toEqual({ outcomes: { tiny: 'restore_corrupt' }, frames: TINY_FRAMES })
    expect(framesPerTurn).toBeLessThan(FRAMES_PER_TURN)
    expect(roseMib).toBeLessThan(HEAP_MIB)
  })

  it('of keys that fill a frame each takes a few frames of memory', async () => {
    const { outcomes, frames, roseMib } = await report('restore-huge-keys')
    expect({ outcomes, frames }).toEqual({ outcomes: { huge: 'restore_corrupt' }, frames: 2 })
    expect(roseMib).toBeLessThan(10 * 16)
  })

  it('that never ends is cancelled within one turn of the event loop: no further frame is given, one chunk is taken at most', async () => {
    for (const task of ['cancel-reading', 'cancel-restoring']) {
      const { outcomes, framesPerTurn, framesAfterAbort, chunksAfterAbort, roseMib } = await report(task)
      expect(outcomes).toEqual({ endless: 'cancelled' })
      expect(framesPerTurn).toBeLessThan(FRAMES_PER_TURN)
      expect(framesAfterAbort).toBeLessThanOrEqual(1)
      expect(chunksAfterAbort).toBeLessThanOrEqual(1)
      expect(roseMib).toBeLessThan(HEAP_MIB)
    }
  })

  it.skipIf(!HAS_ZSTD)('of frames of 64 MiB in a few kilobytes each gives way after every frame, holds few of them, and is cancelled at the next', async () => {
    const { outcomes, framesPerTurn, framesAfterAbort, roseMib } = await report('cancel-reading-bombs')
    expect(outcomes).toEqual({ endless: 'cancelled' })
    expect(framesPerTurn).toBe(1)
    expect(framesAfterAbort).toBeLessThanOrEqual(1)
    expect(roseMib).toBeLessThan(5 * 64)
  })
})
