import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { ClassicLevel } from 'classic-level'
import { MemoryLevel } from 'memory-level'
import { describe, expect, test } from 'vitest'
import { BackupUnsupportedError, InternalError } from '../../../src/errors/errors.ts'
import { levelBackupable } from '../../../src/stores/level/engine/level-backupable.ts'
import { snapshotOf } from '../../conformance/backupable-fixture.ts'
import type { StoredRecord } from '../../../src/format/records.ts'
import { chunksOf, readStreamWhole } from '../../support/streams.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { backupableOptions, put } from './backupable-stores.ts'
import { NO_SINK as SINK, openForTest as open, rejection } from './backupable-test-support.ts'
import { PAYLOAD_IDS_URL, payloadIds } from './payload-ids-of-test-record.ts'

describe('levelBackupable() in a worker thread', () => {
  test.each([['crash', 'ended unexpectedly'], ['late failure', 'Too late']])('a %s of the thread is internal, and leaves the database usable', async (value, message) => {
    const db = await open('classic in a worker')
    for (let index = 0; index < 3000; index++) await put(db, `k${index}`, index === 100 ? value : 'x'.repeat(1000))
    const store = levelBackupable(db, backupableOptions('classic in a worker'))
    const error = await rejection(store.backup({ ...SINK, write: () => delay(50) }))
    expect(error).toBeInstanceOf(InternalError)
    expect((error as Error).message).toContain(message)
    await put(db, 'k100', 'fine')
    await snapshotOf(store)
  })

  test('lets go of the database after success, failure and abort: it can be closed and opened by others', async () => {
    const location = join(await tempDir(), 'db')
    const db = new ClassicLevel(location, { multithreading: true })
    for (let index = 0; index < 5000; index++) await db.put(`k${index}`, `payload:${index}`)
    const store = levelBackupable(db, { payloadIds: PAYLOAD_IDS_URL, multithreading: true })
    await snapshotOf(store)
    await rejection(store.backup({ ...SINK, write: () => Promise.reject(new Error('full')) }))
    const controller = new AbortController()
    await rejection(store.backup({ ...SINK, write: async () => controller.abort() }, { signal: controller.signal }))
    await db.close()
    const alone = new ClassicLevel(location, { multithreading: false })
    await alone.open()
    expect(await alone.get('k7')).toBe('payload:7')
    await alone.close()
  })

  test('a module that exports no payloadIds fails with its TypeError, a missing one with its own error', async () => {
    const db = await open('classic in a worker')
    for (const multithreading of [true, false]) {
      const wrong = levelBackupable(db, { payloadIds: new URL('data:text/javascript,export const other = 1'), multithreading })
      expect(await rejection(wrong.backup(SINK))).toMatchObject({ name: 'TypeError' })
      const missing = levelBackupable(db, { payloadIds: new URL('file:///nowhere/at/all.js'), multithreading })
      expect(await rejection(missing.backup(SINK))).toMatchObject({ code: 'ERR_MODULE_NOT_FOUND' })
    }
  })

  test('a function as payloadIds is called on the calling thread', async () => {
    const db = await open('classic in a worker')
    await put(db, 'a', 'payload:p')
    const seen: string[] = []
    const store = levelBackupable(db, {
      payloadIds: (key: string, value: string, section: string) => {
        seen.push(`${section} ${key}`)
        return payloadIds(key, value)
      },
      multithreading: true,
      encoding: 'text',
    })
    expect((await snapshotOf(store)).payloadIds).toEqual(['p'])
    expect(seen).toEqual(['entries a'])
  })

  test('another database than classic-level is refused with backup_unsupported', async () => {
    const db = new MemoryLevel()
    const store = levelBackupable(db, { payloadIds: PAYLOAD_IDS_URL, multithreading: true })
    expect(await rejection(store.backup(SINK))).toBeInstanceOf(BackupUnsupportedError)
  })

  test('never has more than a few chunks on the way to a slow sink', async () => {
    const db = await open('classic in a worker')
    for (let index = 0; index < 60; index++) await put(db, `k${String(index).padStart(2, '0')}`, 'x'.repeat(1_000_000))
    const ahead: number[] = []
    let written = 0
    await (
      await levelBackupable(db, backupableOptions('classic in a worker')).backup(
        {
          ...SINK,
          async write(chunk) {
            await delay(5)
            written += chunk.byteLength
          },
        },
        { onProgress: ({ bytes }) => void ahead.push(bytes - written) },
      )
    ).close()
    // What a message says was written by the worker, when the chunk that it came with was.
    expect(Math.max(...ahead)).toBeLessThan(24 * 1024 * 1024)
    expect(ahead.length).toBeGreaterThan(25)
  })

  test('uses the memory of chunks again where the sink returns them, with the same stream, and leaves it alone where not', async () => {
    const db = await open('classic in a worker')
    for (let index = 0; index < 9000; index++) await put(db, `k${String(index).padStart(5, '0')}`, `${index} ${'x'.repeat(index % 400)}`)
    const store = levelBackupable(db, backupableOptions('classic in a worker'))
    const streams: Buffer[] = []
    const memories: Set<ArrayBufferLike>[] = []
    for (const returnsChunks of [true, false]) {
      const kept: Uint8Array[] = []
      const memory = new Set<ArrayBufferLike>()
      const payloadIds = await store.backup({
        finish: async () => undefined,
        async write(chunk) {
          memory.add(chunk.buffer)
          await delay(2)
          kept.push(returnsChunks ? Uint8Array.from(chunk) : chunk)
        },
        returnsChunks,
      })
      await payloadIds.close()
      streams.push(Buffer.concat(kept))
      memories.push(memory)
    }
    const records = await Promise.all(streams.map((stream) => recordsIn(stream)))
    expect(records[0]).toEqual(records[1])
    expect(records[0]?.length).toBe(9000)
    // Memory that was given away is detached, and comes back as another object.
    const returned = [...(memories[0] ?? [])].filter((memory) => memory.byteLength === 0)
    // The last chunks may come back after the worker has ended.
    expect(returned.length).toBeGreaterThan((memories[0]?.size ?? 0) / 2)
    expect([...(memories[1] ?? [])].every((memory) => memory.byteLength > 0)).toBe(true)
  })
})

async function recordsIn(stream: Buffer): Promise<readonly StoredRecord[]> {
  const { data } = await readStreamWhole(chunksOf(stream))
  return data.flatMap(({ records }) => records)
}
