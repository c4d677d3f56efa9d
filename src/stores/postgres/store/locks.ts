/** Byte-range locks in their table. Each operation runs within a transaction; arguments have been checked. */
import { MetadataError } from '../../../errors/errors.ts'
import { conflictingLock, inOrder, withLock, withoutRange } from '../../../metadata/locks.ts'
import type { ByteRangeLock, InodeNumber } from '../../../contracts/metadata-store.ts'
import type { Queries } from './connection.ts'
import { checkFile, lockInodes, requireInode } from './nodes.ts'
import { type LockRow, LOCK_COLUMNS, lockOf } from './rows.ts'

export async function takeLock(queries: Queries, lock: ByteRangeLock): Promise<void> {
  checkFile(await requireInode(queries, lock.inode, 'change'))
  const locks = await readLocks(queries, lock.inode)
  const other = conflictingLock(locks, lock)
  if (other !== undefined) {
    const message = `Cannot lock inode ${lock.inode}: ${JSON.stringify(other.owner)} holds bytes ${other.start} to ${other.end ?? 'the end'}`
    throw new MetadataError('lock_conflict', message, { details: { owner: other.owner, kind: other.kind, start: other.start, end: other.end } })
  }
  await replaceLocks(queries, locks, withLock(locks, lock))
}

export async function giveBack(queries: Queries, range: Omit<ByteRangeLock, 'kind'>): Promise<void> {
  await lockInodes(queries, [range.inode], 'change')
  const locks = await readLocks(queries, range.inode)
  await replaceLocks(queries, locks, withoutRange(locks, range))
}

export async function readLocks(queries: Pick<Queries, 'rows' | 'tables'>, inode: InodeNumber): Promise<ByteRangeLock[]> {
  const rows = await queries.rows<LockRow>(`SELECT ${LOCK_COLUMNS} FROM ${queries.tables.locks} WHERE inode = $1`, [inode])
  return inOrder(rows.map((row) => lockOf(inode, row)))
}

async function replaceLocks(queries: Queries, before: readonly ByteRangeLock[], after: readonly ByteRangeLock[]): Promise<void> {
  const { locks } = queries.tables
  for (const { inode, start, owner } of before.filter((lock) => !after.includes(lock))) {
    await queries.rows(`DELETE FROM ${locks} WHERE inode = $1 AND start_byte = $2 AND owner = $3`, [inode, start, owner])
  }
  for (const { inode, owner, kind, start, end } of after.filter((lock) => !before.includes(lock))) {
    await queries.rows(`INSERT INTO ${locks} (inode, ${LOCK_COLUMNS}) VALUES ($1, $2, $3, $4, $5)`, [inode, owner, kind, start, end ?? null])
  }
}
