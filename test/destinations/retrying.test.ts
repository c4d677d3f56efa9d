import { deepEqual, equal, ok, rejects, throws } from 'node:assert/strict'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'vitest'
import { fsDestination } from '../../destinations/fs/index.ts'
import { retryingDestination, type RetryingOptions } from '../../destinations/retrying.ts'
import { newUlid } from '../../src/util/ulid.ts'
import type { Destination } from '../../src/contracts/destination.ts'
import { DestinationPermissionDeniedError, DestinationUnreachableError } from '../../src/errors/errors.ts'
import { type Files, nodeFiles, systemError } from '../../src/util/files.ts'
import { testDestination } from '../conformance/destination.ts'
import { seed, randomFrom } from '../support/seed.ts'
import { tempDir } from '../support/temp-dir.ts'

const noWait = (): Promise<void> => Promise.resolve()

/** Fails every third read or lookup, in all files at once. */
function flakyFiles(): Files {
  let calls = 0
  const flake = (syscall: string, path: string): void => {
    calls += 1
    if (calls % 3 === 0) throw systemError('EIO', syscall, path)
  }
  return {
    ...nodeFiles,
    async *read(path, options) {
      flake('open', path)
      for await (const chunk of nodeFiles.read(path, { ...options, chunkBytes: 300_000 })) {
        yield chunk
        flake('read', path)
      }
    },
    list: async (path) => {
      flake('scandir', path)
      return await nodeFiles.list(path)
    },
  }
}

testDestination({
  name: 'retrying over an fs that fails every third read',
  runner: { describe, test },
  factory: async () => {
    const path = await mkdtemp(join(tmpdir(), 'holdfast-test-'))
    const open = (): Destination => {
      const flaky = retryingDestination(fsDestination({ path, files: flakyFiles() }), { wait: noWait })
      const steady = fsDestination({ path })
      // Passed through by the wrapper, so it must not meet the faults.
      return { ...flaky, cleanUp: (options) => steady.cleanUp(options), validate: (options) => steady.validate(options) }
    }
    return {
      destination: open(),
      reopen: open,
      names: async () => (await readdir(path, { recursive: true })).toSorted(),
      plant: (name, content) => writeFile(join(path, name), content),
      damage: async (backupId, object, content) => {
        await rm(join(path, backupId, object))
        if (content !== undefined) await writeFile(join(path, backupId, object), content)
      },
      cleanup: () => rm(path, { recursive: true }),
    }
  },
})

const unreachable = new DestinationUnreachableError('Cannot reach it')
const times = (count: number): Error[] => Array.from({ length: count }, () => unreachable)

/** A destination whose calls fail in this order; `undefined` is a success. */
function setUp(failures: readonly unknown[], options: RetryingOptions = {}): { destination: Destination; waits: number[]; calls: () => number } {
  const waits: number[] = []
  let calls = 0
  const fail = async (): Promise<void> => {
    const failure = failures[calls]
    calls += 1
    if (failure !== undefined) throw failure
  }
  const inner: Destination = {
    ...retryingDestination(fsDestination({ path: '/nowhere' })),
    delete: fail,
    put: async () => {
      await fail()
      return { write: fail, publish: fail, abort: fail }
    },
  }
  const wait = async (delayMs: number): Promise<void> => void waits.push(delayMs)
  return { destination: retryingDestination(inner, { wait, random: () => 0, ...options }), waits, calls: () => calls }
}

describe('retryingDestination()', () => {
  test('waits twice as long each time, up to the limit', async () => {
    const { destination, waits } = setUp(times(6), { attempts: 7, firstDelayMs: 100, maxDelayMs: 900 })
    await destination.delete(newUlid())
    deepEqual(waits, [100, 200, 400, 800, 900, 900])
  })

  test('takes a random part of up to a half off each wait', async () => {
    const { destination, waits } = setUp(times(50), { attempts: 51, firstDelayMs: 100, maxDelayMs: 100, random: randomFrom(seed) })
    await destination.delete(newUlid())
    ok(waits.every((delayMs) => delayMs > 50 && delayMs <= 100), `seed ${seed}`)
    ok(new Set(waits).size > 10)
  })

  test('gives up after the last attempt with the last error', async () => {
    const last = new DestinationUnreachableError('Still cannot')
    const { destination, calls } = setUp([unreachable, unreachable, last], { attempts: 3 })
    await rejects(destination.delete(newUlid()), last)
    equal(calls(), 3)
  })

  test('does not repeat what cannot help', async () => {
    for (const failure of [new DestinationPermissionDeniedError('No'), new TypeError('a mistake')]) {
      const { destination, calls } = setUp([failure])
      await rejects(destination.delete(newUlid()), failure)
      equal(calls(), 1)
    }
  })

  test('does not repeat uploads', async () => {
    const { destination, calls } = setUp([unreachable])
    await rejects(destination.put(newUlid()), unreachable)
    equal(calls(), 1)
  })

  test('stops waiting when the signal aborts, with its reason', async () => {
    const reason = new Error('enough')
    const controller = new AbortController()
    const { destination } = setUp([unreachable, unreachable], { wait: undefined, firstDelayMs: 60_000, maxDelayMs: 60_000 })
    const deleting = destination.delete(newUlid(), { signal: controller.signal })
    setTimeout(() => controller.abort(reason), 10)
    await rejects(deleting, reason)
  })

  test('gives up on a read that makes no progress, and only then', async () => {
    const path = await tempDir()
    const steady = fsDestination({ path })
    const backupId = newUlid()
    const upload = await steady.put(backupId)
    await upload.write('payload', new Uint8Array(20_000).fill(7))
    await upload.publish(new Uint8Array(1))
    let reads = 0
    const files: Files = {
      ...nodeFiles,
      async *read(at, options) {
        reads += 1
        // One kilobyte at a time, then an error; nothing at all behind the tenth.
        const startByte = options?.startByte ?? 0
        if (startByte < 10_000) yield new Uint8Array(1_000).fill(7)
        throw systemError('EIO', 'read', at)
      },
    }
    const destination = retryingDestination(fsDestination({ path, files }), { attempts: 3, wait: noWait })
    let bytes = 0
    const reading = (async () => {
      for await (const chunk of destination.open(backupId, 'payload')) bytes += chunk.byteLength
    })()
    await rejects(reading, { code: 'destination_unreachable' })
    equal(bytes, 10_000)
    equal(reads, 12)
  })

  test('refuses a count of attempts that is none', () => {
    for (const attempts of [0, -1, 1.5, Number.NaN]) throws(() => retryingDestination(fsDestination({ path: 'x' }), { attempts }), RangeError)
  })
})
