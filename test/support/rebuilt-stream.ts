/** Streams that are whole by every frame, count and digest, whatever their frames hold, and the backups that vouch for them. */
import { createHash } from 'node:crypto'
import { decompress } from '@cloudpss/zstd/wasm'
import type { SnapshotSummary } from '../../src/contracts/backupable.ts'
import { encodeManifest, manifestOf } from '../../src/format/manifest.ts'
import type { Destination } from '../../src/contracts/destination.ts'
import { newUlid } from '../../src/util/ulid.ts'
import { type Frame, contentOf, frames, numbered, sealed, withContent } from './stream-surgery.ts'
import { payloadIdsObject } from './streams.ts'

/** A data frame to be: its content is not compressed unless `codec` is 1, and `stored` is given. */
export interface DataFrame {
  readonly section: number
  readonly records: number
  readonly raw: Buffer
  /** Stored bytes of codec 1. @default not compressed */
  readonly zstd?: Buffer | undefined
}

export interface Crafted {
  readonly frames: readonly DataFrame[]
  /** @default those of the stream that it was made from */
  readonly sections?: readonly string[] | undefined
  readonly ids?: Iterable<string> | undefined
  /** Changes to the manifest. */
  readonly manifest?: object | undefined
}

/** The data frames of a stream, decompressed. */
export function dataFrames(stream: Buffer): DataFrame[] {
  return frames(stream)
    .filter(({ type }) => type === 2)
    .map(({ section, records, codec, stored }) => ({ section, records, raw: codec === 1 ? Buffer.from(decompress(stored)) : stored }))
}

/** Puts data frames between the header and the trailer of a stream; trailer, CRCs and digests are right. */
export async function rebuilt(stream: Buffer, { frames: data, sections, ids }: Crafted): Promise<Buffer> {
  const [header, trailer] = [frames(stream)[0] as Frame, frames(stream).at(-1) as Frame]
  const names = sections ?? (contentOf(header)['sections'] as readonly string[])
  const counts = names.map((_, section) => data.reduce((sum, frame) => sum + (frame.section === section ? frame.records : 0), 0))
  const set = ids === undefined ? undefined : await payloadIdsObject(ids)
  const list = [
    withContent(header, { ...contentOf(header), sections: names }),
    ...data.map(({ section, records, raw, zstd }): Frame => ({ type: 2, codec: zstd === undefined ? 0 : 1, section, records, rawBytes: raw.byteLength, sequence: 0n, stored: zstd ?? raw })),
    withContent(trailer, {
      ...contentOf(trailer),
      frames: data.length + 2,
      records: counts,
      ...(set === undefined ? {} : { payloadIdCount: set.count, payloadIdDigest: Buffer.from(set.digest, 'hex') }),
    }),
  ]
  return sealed(numbered(list))
}

/** Publishes a stream under a new ID with a manifest that says of it what it says of itself. */
export async function publishCrafted(destination: Destination, stream: Buffer, { ids, manifest }: { readonly ids: Buffer; readonly manifest?: object | undefined }): Promise<string> {
  const backupId = newUlid()
  const fields = manifestOf(summaryOf(stream), { backupId, payloadIdsBytes: ids.byteLength, labels: {} })
  const upload = await destination.put(backupId)
  await upload.write('payload', stream)
  await upload.write('payload-ids', ids)
  await upload.publish(encodeManifest({ ...fields, ...manifest }))
  return backupId
}

/** Numbers of 8 bytes are decoded as `bigint`. */
interface Header extends Pick<SnapshotSummary, 'storeKind' | 'storeId'> {
  readonly schemaVersion: number | bigint
  readonly createdAtMs: number | bigint
  readonly sections: readonly string[]
}

interface Trailer {
  readonly records: readonly (number | bigint)[]
  readonly payloadIdCount: number | bigint
  readonly payloadIdDigest: Buffer
}

/** What a stream says of itself; of one whose frames cannot all be read, what its header and trailer say. */
function summaryOf(stream: Buffer): SnapshotSummary {
  const [header, trailer] = [contentOf(frames(stream)[0] as Frame), contentOf(frames(stream).at(-1) as Frame)]
  const { storeKind, storeId, schemaVersion, createdAtMs, sections } = header as unknown as Header
  const { records, payloadIdCount, payloadIdDigest } = trailer as unknown as Trailer
  return {
    storeKind,
    storeId,
    schemaVersion: Number(schemaVersion),
    createdAtMs: Number(createdAtMs),
    records: Object.fromEntries(sections.map((name, index) => [name, Number(records[index])])),
    payloadIds: { count: Number(payloadIdCount), digest: Buffer.from(payloadIdDigest).toString('hex') },
    bytes: stream.byteLength,
    sha256: createHash('sha256').update(stream).digest('hex'),
    compression: frames(stream).some(({ codec }) => codec === 1) ? 'zstd' : 'none',
  }
}
