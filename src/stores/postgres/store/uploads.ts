/** Operations on pending uploads. Each runs within a transaction or a view; arguments have been checked. */
import { MetadataError } from '../../../errors/errors.ts'
import type { Inode, InodeAttributes, InodeNumber, PendingUpload } from '../../../contracts/metadata-store.ts'
import { checkInteger } from '../../../metadata/validate.ts'
import { allBlocks, moveBlocks, putBlocks, removeBlocks } from './contents.ts'
import type { Queries, View } from './connection.ts'
import { requireDirectory } from './nodes.ts'
import { createInode } from './tree.ts'

interface UploadRow {
  readonly upload_id: string
  readonly parent: unknown
  readonly name: string
  readonly started_at_ms: unknown
}

export async function putUpload(queries: Queries, upload: PendingUpload): Promise<void> {
  const { uploadId, parent, name, startedAtMs, blocks } = upload
  await requireDirectory(queries, parent)
  await queries.rows(
    `INSERT INTO ${queries.tables.uploads} (upload_id, parent, name, started_at_ms) VALUES ($1, $2, $3, $4)
     ON CONFLICT (upload_id) DO UPDATE SET parent = excluded.parent, name = excluded.name, started_at_ms = excluded.started_at_ms`,
    [uploadId, parent, name, startedAtMs],
  )
  await removeBlocks(queries, { uploadId })
  await putBlocks(queries, { uploadId }, blocks)
}

/** One upload at a time, with its blocks. */
export async function* eachUpload(view: View): AsyncGenerator<PendingUpload, void, undefined> {
  for await (const row of view.each<UploadRow>(`SELECT upload_id, parent, name, started_at_ms FROM ${view.tables.uploads} ORDER BY upload_id`)) {
    const { upload_id: uploadId, parent, name, started_at_ms: startedAtMs } = row
    yield { uploadId, parent: Number(parent), name, startedAtMs: Number(startedAtMs), blocks: await allBlocks(view, { uploadId }) }
  }
}

export async function completeUpload(
  queries: Queries,
  uploadId: string,
  { attributes, nowMs }: { readonly attributes: Partial<InodeAttributes>; readonly nowMs: number },
): Promise<Inode> {
  const { parent, name } = await lockUpload(queries, uploadId)
  const [sum] = await queries.rows<{ bytes: string; blocks: unknown }>(
    `SELECT coalesce(sum(bytes), 0)::text AS bytes, count(*) AS blocks FROM ${queries.tables.upload_blocks} WHERE upload_id = $1`,
    [uploadId],
  )
  const size = attributes.size ?? checkInteger(Number(sum?.bytes), { what: 'size' })
  const made = await createInode(queries, { parent, name }, { inode: { ...attributes, size, type: 'file' }, nowMs })
  await moveBlocks(queries, uploadId, made.inode)
  await removeRow(queries, uploadId)
  return { ...made, blockCount: Number(sum?.blocks) }
}

export async function removeUpload(queries: Queries, uploadId: string): Promise<void> {
  await lockUpload(queries, uploadId)
  await removeBlocks(queries, { uploadId })
  await removeRow(queries, uploadId)
}

/** Gives where an upload is to go; nobody else changes it from then on. */
async function lockUpload(queries: Queries, uploadId: string): Promise<{ readonly parent: InodeNumber; readonly name: string }> {
  const [row] = await queries.rows<UploadRow>(`SELECT parent, name FROM ${queries.tables.uploads} WHERE upload_id = $1 FOR UPDATE`, [uploadId])
  if (row === undefined) throw new MetadataError('entry_not_found', `Cannot find upload ${JSON.stringify(uploadId)}: there is none of this ID`)
  return { parent: Number(row.parent), name: row.name }
}

async function removeRow(queries: Queries, uploadId: string): Promise<void> {
  await queries.rows(`DELETE FROM ${queries.tables.uploads} WHERE upload_id = $1`, [uploadId])
}
