/** Backups made by hand, whole or with something wrong with them. */
import { createHash } from 'node:crypto'
import { newUlid } from '../../src/util/ulid.ts'
import type { Backupable, SnapshotSink, SnapshotSummary } from '../../src/contracts/backupable.ts'
import type { Destination } from '../../src/contracts/destination.ts'
import { type PayloadIdSet, PayloadIdSetBuilder, decodePayloadIds } from '../../src/payload-ids/payload-id-set.ts'
import type { Manifest } from '../../src/contracts/manifest.ts'
import { type ManifestFields, encodeManifest, manifestOf } from '../../src/format/manifest.ts'

export interface Backup {
  readonly payload: Buffer
  readonly payloadIds: Buffer
  readonly manifest: Manifest
}

/** Takes a backup into memory. Its stream names a backup where an ID is given. */
export async function takeBackup(store: Backupable, { backupId }: { readonly backupId?: string } = {}): Promise<Backup> {
  const chunks: Uint8Array[] = []
  let summary: SnapshotSummary | undefined
  const sink: SnapshotSink = {
    write: async (chunk) => void chunks.push(Buffer.from(chunk)),
    finish: async (written) => {
      summary = written
    },
  }
  const set = await store.backup(sink, { backupId })
  if (summary === undefined) throw new Error('The backup has no summary')
  const [payload, payloadIds] = [Buffer.concat(chunks), await encoded(set)]
  await set.close()
  const manifest = manifestOf(summary, { backupId: backupId ?? newUlid(), payloadIdsBytes: payloadIds.byteLength, labels: {} })
  return { payload, payloadIds, manifest }
}

/** A `payload-ids` object of its own, and what a manifest says of it. */
export async function payloadIdsOf(ids: Iterable<string>): Promise<{ readonly payloadIds: Buffer; readonly count: number; readonly digest: string }> {
  const builder = new PayloadIdSetBuilder()
  for (const id of ids) builder.add(id)
  const set = await builder.finish()
  const payloadIds = await encoded(set)
  const { size: count, digest } = set
  await set.close()
  return { payloadIds, count, digest }
}

/** The IDs of a backup. */
export async function idsOf(backup: Backup): Promise<readonly string[]> {
  const ids: string[] = []
  for await (const id of decodePayloadIds((async function* () {
    yield backup.payloadIds
  })())) ids.push(id)
  return ids
}

async function encoded(set: PayloadIdSet): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of set.encoded()) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

/** Publishes it as it is; resolves with its ID. */
export async function publish(destination: Destination, { payload, payloadIds, manifest }: Backup): Promise<string> {
  const upload = await destination.put(manifest.backupId)
  await upload.write('payload', payload)
  await upload.write('payload-ids', payloadIds)
  await upload.publish(encodeManifest(manifest))
  return manifest.backupId
}

/** The same backup with other bytes, whose manifest vouches for them. */
export function vouchedFor(backup: Backup, change: { readonly payload?: Buffer; readonly payloadIds?: Buffer; readonly manifest?: Partial<ManifestFields> }): Backup {
  const { payload = backup.payload, payloadIds = backup.payloadIds } = change
  const fields = {
    ...backup.manifest,
    payload: { bytes: payload.byteLength, sha256: sha256(payload) },
    payloadIds: { ...backup.manifest.payloadIds, bytes: payloadIds.byteLength, sha256: sha256(payloadIds) },
    ...change.manifest,
  }
  const objects = { payload: fields.payload, 'payload-ids': { bytes: fields.payloadIds.bytes, sha256: fields.payloadIds.sha256 } }
  return { payload, payloadIds, manifest: { ...fields, payloadIds: { ...fields.payloadIds, set: fields.payloadIds.sha256 }, objects } }
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
