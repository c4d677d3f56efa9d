/** Streams written to memory and read from it. */
import { createHash } from 'node:crypto'
import type { SnapshotSource, SnapshotSummary } from '../../src/contracts/backupable.ts'
import { PayloadIdSetBuilder } from '../../src/payload-ids/payload-id-set.ts'
import { type DataFrame, type StoredRecord, decodeRecords, openSnapshot } from '../../src/format/snapshot-reader.ts'
import { SnapshotWriter, type SnapshotWriterOptions } from '../../src/format/snapshot-writer.ts'

/** The records of one data frame. */
export interface FrameRecords {
  readonly section: number
  readonly records: readonly StoredRecord[]
}

export interface Written {
  readonly bytes: Buffer
  readonly summary: SnapshotSummary
}

export const NO_PAYLOAD_IDS: { readonly count: number; readonly digest: string } = {
  count: 0,
  digest: createHash('sha256').update(Buffer.from('894846490d0a0100', 'hex')).digest('hex'),
}

export const WRITER_OPTIONS: SnapshotWriterOptions = {
  storeKind: 'level',
  storeId: 'store-1',
  schemaVersion: 1,
  sections: ['first', 'second', 'third'],
  createdAtMs: 1_767_323_045_678,
}

/** Writes a stream, one frame for each item. */
export async function writeStream(
  data: readonly FrameRecords[],
  options: Partial<SnapshotWriterOptions> = {},
  payloadIds: { readonly count: number; readonly digest: string } = NO_PAYLOAD_IDS,
): Promise<Written> {
  const chunks: Uint8Array[] = []
  const writer = new SnapshotWriter({ write: async (chunk) => void chunks.push(chunk), finish: async () => undefined }, { ...WRITER_OPTIONS, ...options })
  await writer.start()
  for (const { section, records } of data) await writer.writeRecords(section, records)
  const summary = await writer.finish(payloadIds)
  return { bytes: Buffer.concat(chunks), summary }
}

/** Reads all of a stream, its records too. */
export async function readStreamWhole(source: SnapshotSource): Promise<{ readonly data: FrameRecords[]; readonly summary: SnapshotSummary }> {
  const reader = await openSnapshot(source)
  const data: FrameRecords[] = []
  for await (const frame of reader.frames()) data.push({ section: frame.section, records: recordsOf(frame) })
  return { data, summary: reader.summary() }
}

/** Copies, so that byte strings outlive the frame and compare as bytes. */
export function recordsOf(frame: DataFrame): StoredRecord[] {
  return decodeRecords(frame).map(([key, value]) => [copied(key), copied(value)])
}

/** Cuts bytes into chunks of these lengths, over and over; 0 gives an empty chunk. */
export async function* chunksOf(bytes: Buffer, lengths: readonly number[] = [64 * 1024]): AsyncGenerator<Uint8Array, void, undefined> {
  let position = 0
  for (let turn = 0; position < bytes.byteLength; turn++) {
    const length = lengths[turn % lengths.length] ?? 1
    // A copy of its own: nothing may depend on what lies around a chunk.
    yield Uint8Array.from(bytes.subarray(position, position + length))
    position += length
  }
}

/** All that a source gives. */
export async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of source) items.push(item)
  return items
}

/** The error that a promise rejects with. */
export async function failureOf(promise: Promise<unknown>): Promise<{ readonly code?: string; readonly offset?: number; readonly frame?: number; readonly message: string }> {
  return await promise.then(
    () => {
      throw new Error('It did not fail')
    },
    (error: unknown) => error as Error,
  )
}

/** A `payload-ids` object and what is said of it. */
export async function payloadIdsObject(ids: Iterable<string>): Promise<{ readonly bytes: Buffer; readonly count: number; readonly digest: string }> {
  const builder = new PayloadIdSetBuilder()
  for (const id of ids) builder.add(id)
  const set = await builder.finish()
  const chunks: Uint8Array[] = []
  for await (const chunk of set.encoded()) chunks.push(chunk)
  await set.close()
  return { bytes: Buffer.concat(chunks), count: set.size, digest: set.digest }
}

function copied(value: string | Uint8Array): string | Uint8Array {
  return typeof value === 'string' ? value : Uint8Array.from(value)
}
