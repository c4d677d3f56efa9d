/** Databases of every engine as `levelBackupable` is tested with them. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AbstractLevel } from 'abstract-level'
import { ClassicLevel } from 'classic-level'
import { MemoryLevel } from 'memory-level'
import { equal } from 'node:assert/strict'
import { type LevelBackupableOptions, levelBackupable } from '../../../src/stores/level/engine/level-backupable.ts'
import type { BackupableFixture } from '../../conformance/backupable.ts'
import { PAYLOAD_IDS_URL, payloadIds } from './payload-ids-of-test-record.ts'

type Bytes = Uint8Array
export type ByteLevel = AbstractLevel<string | Buffer | Uint8Array, Bytes, Bytes>

export interface TestDatabase {
  readonly db: ByteLevel
  readonly cleanup: () => Promise<void>
}

export type TestEngine = (typeof ENGINES)[number]

export const ENGINES = ['memory', 'memory of views', 'classic', 'classic in a worker'] as const

/** Opens an empty database with keys and values of bytes. */
export async function openDatabase(engine: TestEngine): Promise<TestDatabase> {
  const encodings = { keyEncoding: 'view', valueEncoding: 'view' } as const
  if (engine.startsWith('memory')) {
    const db = new MemoryLevel<Bytes, Bytes>({ ...encodings, storeEncoding: engine === 'memory' ? 'buffer' : 'view' })
    return { db, cleanup: () => db.close() }
  }
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-test-'))
  const db = new ClassicLevel<Bytes, Bytes>(join(directory, 'db'), { ...encodings, multithreading: true })
  await db.open()
  const cleanup = async (): Promise<void> => {
    await db.close()
    await rm(directory, { recursive: true, force: true, maxRetries: 3 })
  }
  return { db, cleanup }
}

/** The options that an engine is tested with. */
export function backupableOptions(engine: TestEngine, options: Partial<LevelBackupableOptions> = {}): LevelBackupableOptions {
  const inWorker = engine === 'classic in a worker'
  return { payloadIds: inWorker ? PAYLOAD_IDS_URL : payloadIds, multithreading: inWorker, encoding: 'text', ...options }
}

export async function openFixture(engine: TestEngine, encoding: 'text' | 'bytes'): Promise<BackupableFixture> {
  const { db, cleanup } = await openDatabase(engine)
  const storeId = `store-${Math.random()}`
  await put(db, OWN_KEY, storeId)
  const sections = [{ name: 'first', lt: 'm' }, { name: 'middle', gte: 'm', lt: 'x' }, { name: 'last', gte: 'x' }]
  return {
    store: levelBackupable(db, backupableOptions(engine, { encoding, sections, storeId, ownKeys: { gte: 'own/', lt: 'own0' } })),
    storeId: async () => Buffer.from((await db.get(utf8(OWN_KEY))) ?? []).toString(),
    async populate(records) {
      const batch = db.batch()
      for (let index = 0; index < records; index++) batch.put(utf8(`${'amz'[index % 3]}/${index}`), valueOf(index, encoding))
      await batch.write()
    },
    async mutate(step) {
      const batch = db.batch()
      for (const key of STEP_KEYS) batch.put(utf8(key), utf8(`step ${step} payload:step-${step}`))
      batch.put(utf8(`m/${step}`), utf8(`payload:changed-${step}`))
      batch.del(utf8(`a/${step * 3}`))
      await batch.write()
    },
    async check() {
      const values = await db.getMany(STEP_KEYS.map(utf8))
      equal(new Set(values.map((value) => Buffer.from(value ?? []).toString())).size, 1)
    },
    dump: () => dump(db),
    async payloadIds() {
      const values = await db.values().all()
      return values.flatMap((value) => payloadIds('', value))
    },
    cleanup,
  }
}

/** Everything but the store's own record, in hexadecimal. */
export async function dump(db: ByteLevel): Promise<string> {
  const lines: string[] = []
  for await (const [key, value] of db.iterator<Buffer, Buffer>({ keyEncoding: 'buffer', valueEncoding: 'buffer' })) {
    if (key.toString() !== OWN_KEY) lines.push(`${key.toString('hex')} ${value.toString('hex')}`)
  }
  return lines.join('\n')
}

export async function put(db: ByteLevel, key: string | Bytes, value: string | Bytes): Promise<void> {
  await db.put(utf8(key), utf8(value))
}

const OWN_KEY = 'own/id'
/** The first key, one in the middle, and the last. */
const STEP_KEYS: readonly string[] = ['a/!', 'm/!', 'z/~']

function utf8(value: string | Bytes): Bytes {
  return typeof value === 'string' ? Buffer.from(value) : value
}

/** Values of every size up to some hundred kilobytes, with text of any script, or bytes that are not text. */
function valueOf(index: number, encoding: 'text' | 'bytes'): Bytes {
  if (index === 0) return Buffer.alloc(0)
  const ids = `payload:shared-${index % 100} payload:${'0123456789abcdef'.repeat(4)}-${index}`
  const rare = index % 1000 === 999 ? '\ufeff\ufffd日本語😀'.repeat(20_000) : ''
  const text = Buffer.from(`${ids} ${'x'.repeat(index % 257)}é${rare}`)
  return encoding === 'text' ? text : Buffer.concat([text, Buffer.from([0, 0xff, 0xfe, index & 0xff])])
}
