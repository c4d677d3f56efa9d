/** Copies all that a view of any metadata store shows into the empty tables of one. */
import { RestoreDestinationNotEmptyError } from '../../errors.ts'
import type { ImportOptions, ListedInode, MetadataView } from '../../metadata/metadata-store.ts'
import { PostgresMetadataView } from './postgres-metadata-view.ts'
import { checkWhole } from './store/check-whole.ts'
import { type Connection, pathsOf } from './store/connection.ts'
import { Instant } from './store/instant.ts'
import { RowCounter, RowWriter } from './store/row-writer.ts'

/** Fills the tables within the transaction that is open on the connection, and beside which nobody writes. See `MetadataStore.importView`. */
export async function importView(connection: Connection, view: MetadataView, options: ImportOptions = {}): Promise<void> {
  const { signal, check } = options
  if (!(await isEmpty(connection))) {
    throw new RestoreDestinationNotEmptyError('Cannot import into a store that holds data', { hint: 'Import into a new, empty store' })
  }
  signal?.throwIfAborted()
  // Row by row they would count, and look at the tree: here that is done for all rows at once.
  await setTriggers(connection, 'DISABLE')
  await copyView(connection, view, new RowCounter(options))
  await setTriggers(connection, 'ENABLE')
  // The planner goes by what is there now.
  for (const path of pathsOf(connection.tables)) await connection.rows(`ANALYZE ${path}`)
  signal?.throwIfAborted()
  await checkWhole(connection)
  signal?.throwIfAborted()
  if (check !== undefined) await checkImported(connection, check)
  signal?.throwIfAborted()
}

/** No row, and no inode number was ever given. */
async function isEmpty(connection: Connection): Promise<boolean> {
  const { tables } = connection
  const queries = [...pathsOf(tables).map((path) => `EXISTS (SELECT FROM ${path})`), `(SELECT is_called OR last_value > 1 FROM ${tables.sequence})`]
  const [row] = await connection.rows<{ found: boolean }>(`SELECT ${queries.join(' OR ')} AS found`)
  return row?.found === false
}

async function setTriggers(connection: Connection, state: 'DISABLE' | 'ENABLE'): Promise<void> {
  for (const path of pathsOf(connection.tables)) await connection.rows(`ALTER TABLE ${path} ${state} TRIGGER USER`)
}

async function checkImported(connection: Connection, check: (imported: MetadataView) => Promise<void>): Promise<void> {
  const imported = new PostgresMetadataView(await Instant.of(connection, async () => undefined))
  try {
    await check(imported)
  } finally {
    await imported.close()
  }
}

/** What others refer to comes before them. */
async function copyView(connection: Connection, view: MetadataView, counter: RowCounter): Promise<void> {
  await copyInodes(connection, view, counter)
  await copyShares(connection, view, counter)
  await copyEntries(connection, view, counter)
  await copyBlocks(connection, view, counter)
  await copyLocks(connection, view, counter)
  await copySettings(connection, view, counter)
  await copyUploads(connection, view, counter)
  await writeCounters(connection, view)
}

const INODE_COLUMNS = [
  'inode',
  'type',
  'mode',
  'uid',
  'gid',
  'size',
  'accessed_at_ns',
  'modified_at_ns',
  'changed_at_ns',
  'created_at_ns',
  'links',
  'block_count',
  'symlink_target',
  'payload_id',
  'xattr_names',
  'xattr_values',
] as const
const BLOCK_COLUMNS = ['position', 'payload_id', 'payload_offset', 'bytes'] as const

async function copyInodes(connection: Connection, view: MetadataView, counter: RowCounter): Promise<void> {
  const writer = new RowWriter(connection, { table: connection.tables.inodes, columns: INODE_COLUMNS, counter })
  for await (const inode of view.inodes()) {
    writer.add(rowOfInode(inode))
    if (writer.isFull) await writer.flush()
  }
  await writer.end()
}

function rowOfInode(inode: ListedInode): Readonly<Record<(typeof INODE_COLUMNS)[number], unknown>> {
  const xattrs = [...inode.xattrs]
  return {
    inode: inode.inode,
    type: inode.type,
    mode: inode.mode,
    uid: inode.uid,
    gid: inode.gid,
    size: inode.size,
    accessed_at_ns: String(inode.accessedAtNs),
    modified_at_ns: String(inode.modifiedAtNs),
    changed_at_ns: String(inode.changedAtNs),
    created_at_ns: String(inode.createdAtNs),
    links: inode.links,
    block_count: inode.blockCount,
    symlink_target: inode.symlinkTarget,
    payload_id: inode.payloadId,
    xattr_names: xattrs.length === 0 ? undefined : xattrs.map(([name]) => name),
    xattr_values: xattrs.length === 0 ? undefined : xattrs.map(([, { buffer, byteOffset, byteLength }]) => `\\x${Buffer.from(buffer, byteOffset, byteLength).toString('hex')}`),
  }
}

async function copyShares(connection: Connection, view: MetadataView, counter: RowCounter): Promise<void> {
  const writer = new RowWriter(connection, { table: connection.tables.shares, columns: ['name', 'root', 'created_at_ms', 'options'], counter })
  for (const { name, root, createdAtMs, options } of await view.shares()) {
    writer.add({ name, root, created_at_ms: createdAtMs, options })
    if (writer.isFull) await writer.flush()
  }
  await writer.end()
}

async function copyEntries(connection: Connection, view: MetadataView, counter: RowCounter): Promise<void> {
  const writer = new RowWriter(connection, { table: connection.tables.entries, columns: ['parent', 'name', 'inode', 'type'], counter })
  for await (const { parent, name, inode, type } of view.entries()) {
    writer.add({ parent, name, inode, type })
    if (writer.isFull) await writer.flush()
  }
  await writer.end()
}

async function copyBlocks(connection: Connection, view: MetadataView, counter: RowCounter): Promise<void> {
  const writer = new RowWriter(connection, { table: connection.tables.blocks, columns: ['inode', ...BLOCK_COLUMNS], counter })
  let last = { inode: 0, position: 0 }
  for await (const { inode, payloadId, offset, bytes } of view.allBlocks()) {
    last = { inode, position: inode === last.inode ? last.position + 1 : 0 }
    writer.add({ ...last, payload_id: payloadId, payload_offset: offset, bytes })
    if (writer.isFull) await writer.flush()
  }
  await writer.end()
}

async function copyLocks(connection: Connection, view: MetadataView, counter: RowCounter): Promise<void> {
  const writer = new RowWriter(connection, { table: connection.tables.locks, columns: ['inode', 'owner', 'kind', 'start_byte', 'end_byte'], counter })
  for await (const { inode, owner, kind, start, end } of view.allLocks()) {
    writer.add({ inode, owner, kind, start_byte: start, end_byte: end })
    if (writer.isFull) await writer.flush()
  }
  await writer.end()
}

async function copySettings(connection: Connection, view: MetadataView, counter: RowCounter): Promise<void> {
  const writer = new RowWriter(connection, { table: connection.tables.settings, columns: ['name', 'value'], counter })
  for (const [name, value] of await view.settings()) {
    writer.add({ name, value })
    if (writer.isFull) await writer.flush()
  }
  await writer.end()
}

async function copyUploads(connection: Connection, view: MetadataView, counter: RowCounter): Promise<void> {
  const { uploads, upload_blocks: uploadBlocks } = connection.tables
  const writer = new RowWriter(connection, { table: uploads, columns: ['upload_id', 'parent', 'name', 'started_at_ms', 'block_count'], counter })
  const blockWriter = new RowWriter(connection, { table: uploadBlocks, columns: ['upload_id', ...BLOCK_COLUMNS], counter })
  for await (const { uploadId, parent, name, startedAtMs, blocks } of view.uploads()) {
    writer.add({ upload_id: uploadId, parent, name, started_at_ms: startedAtMs, block_count: blocks.length })
    if (writer.isFull) await writer.flush()
    for (const [position, { payloadId, offset, bytes }] of blocks.entries()) {
      blockWriter.add({ upload_id: uploadId, position, payload_id: payloadId, payload_offset: offset, bytes })
      if (!blockWriter.isFull) continue
      await writer.flush()
      await blockWriter.flush()
    }
  }
  await writer.end()
  await blockWriter.end()
}

async function writeCounters(connection: Connection, view: MetadataView): Promise<void> {
  const { inodes, used_bytes: usedBytes, sequence, inode_numbers: numbers } = connection.tables
  await connection.rows(`INSERT INTO ${usedBytes} (part, bytes) SELECT 0, sum(size) FROM ${inodes} WHERE type = 'file' HAVING sum(size) > 0`)
  const nextInode = await view.nextInode()
  if (nextInode <= 1) return
  // Undone with the transaction: a sequence that is restarted in it is a new one until it ends.
  await connection.rows(`ALTER SEQUENCE ${sequence} RESTART`)
  await connection.rows(`SELECT setval(${numbers}, $1)`, [nextInode - 1])
}
