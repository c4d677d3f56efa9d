/** Whole backups of LevelDB stores under what a server has to bear: heavy writes, little memory, records that cannot be read. */
import { execFile } from 'node:child_process'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import type { AbstractLevel } from 'abstract-level'
import { ClassicLevel } from 'classic-level'
import { MemoryLevel } from 'memory-level'
import { describe, expect, onTestFinished, test } from 'vitest'
import { runBackup } from '../../src/backup/run-backup.ts'
import { LevelMetadataStore, levelBackupable } from '../../src/stores/level/index.ts'
import { openSnapshot } from '../../src/format/snapshot-reader.ts'
import { fillStore } from '../restore/trees.ts'
import { collect } from '../support/collect.ts'
import { runs } from '../support/seed.ts'
import { recordsOf, chunksOf } from '../support/streams.ts'
import { tempDir } from '../support/temp-dir.ts'
import { newPlace } from './backups.ts'
import { IDS_PER_RECORD } from './many-payload-ids.ts'

const HEAP_CHILD = resolve(import.meta.dirname, '../../dist/test/backup/heap-child.js')
const PAYLOAD_IDS = new URL('../../dist/test/stores/level/payload-ids-of-test-record.js', import.meta.url)
const HEAP_MIB = 256

/** A writer whose every step changes both ends of the store, adds to a log, and overwrites much in between; compactions go on beside it. */
class Writer {
  readonly #db: ClassicLevel
  step = 0
  compactions = 0

  constructor(db: ClassicLevel) {
    this.#db = db
  }

  async write(steps: number): Promise<void> {
    for (const end = this.step + steps; this.step < end; ) {
      const step = this.step + 1
      const batch = this.#db.batch().put('a/step', `${step}`).put('z/step', `${step}`).put(`log/${String(step).padStart(8, '0')}`, `${step}`)
      for (let at = 0; at < 100; at++) batch.put(`m/${String((step * 100 + at) % 20_000).padStart(8, '0')}`, `${step} `.padEnd(400, 'x'))
      await batch.write()
      this.step = step
    }
  }

  async compact(): Promise<void> {
    await this.#db.compactRange('a', 'zz')
    this.compactions += 1
  }
}

describe('a backup of a LevelDB store', () => {
  test('under heavy writes and compactions holds the writes up to one of them, all of each and none after it', async () => {
    const db = new ClassicLevel(join(await tempDir(), 'db'), { multithreading: true })
    await db.open()
    onTestFinished(() => db.close())
    const writer = new Writer(db)
    await writer.write(250)
    const before = writer.step
    const chunks: Uint8Array[] = []
    const store = levelBackupable(db, { payloadIds: PAYLOAD_IDS, multithreading: true })
    const set = await store.backup({
      // The store is written over and compacted between any two chunks.
      write: async (chunk) => {
        chunks.push(Uint8Array.from(chunk))
        await Promise.all([writer.write(50), writer.compact()])
      },
      finish: async () => undefined,
    })
    await set.close()
    const reader = await openSnapshot(chunksOf(Buffer.concat(chunks)))
    const found = new Map<string, string>()
    for await (const frame of reader.frames()) for (const [key, value] of recordsOf(frame)) found.set(String(key), String(value))
    const step = Number(found.get('a/step'))
    expect(writer.compactions).toBeGreaterThan(3)
    expect(step).toBeGreaterThanOrEqual(before)
    expect(step).toBeLessThan(writer.step)
    expect(found.get('z/step')).toBe(`${step}`)
    expect([...found.keys()].filter((key) => key.startsWith('log/'))).toHaveLength(step)
    const last = Math.max(...[...found].filter(([key]) => key.startsWith('m/')).map(([, value]) => Number.parseInt(value, 10)))
    expect(last).toBe(step)
    expect([...found].filter(([key, value]) => key.startsWith('m/') && Number.parseInt(value, 10) === step)).toHaveLength(100)
  })

  test(`with millions of payload IDs is taken, read back and restored in a heap of ${HEAP_MIB} MiB`, async () => {
    const records = runs(60_000)
    const { stdout } = await promisify(execFile)(process.execPath, [`--max-old-space-size=${HEAP_MIB}`, HEAP_CHILD, await tempDir(), String(records)])
    expect(JSON.parse(stdout)).toEqual({ payloadIds: records * IDS_PER_RECORD, restored: records })
  })

  test.each(['Memory', 'LevelDB'])('with records that cannot be decoded fails with record_invalid, the first 20 keys and the count; nothing is published (%s)', async (engine) => {
    const db: AbstractLevel<string | Buffer | Uint8Array> = engine === 'Memory' ? new MemoryLevel() : new ClassicLevel(join(await tempDir(), 'db'))
    const store = await LevelMetadataStore.open(db, { kind: 'level' })
    onTestFinished(() => store.close())
    await fillStore(store, { seed: 1, files: 60 })
    const { destination, catalog } = await newPlace()
    const good = await runBackup({ store, destination, catalog })
    const inodes = (await db.keys({ gte: 'inodes/', lt: 'inodes0' }).all()).slice(0, 37)
    for (const key of inodes) await db.put(key, '{"type":"file"')
    const failure: unknown = await runBackup({ store, destination, catalog }).catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'record_invalid', details: { keys: inodes.slice(0, 20), count: 37 } })
    expect(await collect(destination.list())).toEqual([good.backupId])
    expect((await destination.cleanUp({ graceMs: 0, nowMs: Date.now() + 10 ** 9 })).removed).toEqual([])
    const [job] = await collect(catalog.jobs({ limit: 1 }))
    expect(job).toMatchObject({ kind: 'backup', state: 'failed', error: { code: 'record_invalid' } })
    expect((await collect(catalog.backups())).map(({ backupId }) => backupId)).toEqual([good.backupId])
  })
})
