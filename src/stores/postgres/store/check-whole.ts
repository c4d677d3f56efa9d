/** Whether tables that were filled with their triggers off hold what these would have let pass. Foreign keys and checks have seen every row. */
import { RecordInvalidError } from '../../../errors.ts'
import type { Queries, TablePaths } from './connection.ts'

/** Throws `record_invalid` with the first inode at which the tree is torn or a count is wrong. */
export async function checkWhole(queries: Queries): Promise<void> {
  for (const [what, query] of faultsOf(queries.tables)) {
    const [found] = await queries.rows<{ inode: unknown }>(`${query} LIMIT 1`)
    if (found === undefined) continue
    throw new RecordInvalidError(`Cannot import the view: inode ${Number(found.inode)} ${what}`, { details: { inode: Number(found.inode) } })
  }
}

/** What can be wrong with an inode, and a query for those it is wrong with. Each goes by what those before have found right. */
function faultsOf({ inodes, entries, shares, blocks, sequence }: TablePaths): readonly (readonly [what: string, query: string])[] {
  return [
    ['has a number that would be given again', `SELECT inode FROM ${inodes} WHERE inode > (SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM ${sequence})`],
    ['is of another type than an entry of it says', `SELECT inode FROM ${entries} e JOIN ${inodes} i USING (inode) WHERE e.type <> i.type`],
    ['has entries and is no directory', `SELECT p.inode FROM ${entries} e JOIN ${inodes} p ON p.inode = e.parent WHERE p.type <> 'directory'`],
    [
      'has other links than entries',
      `SELECT i.inode FROM ${inodes} i
       LEFT JOIN (SELECT CASE type WHEN 'directory' THEN parent ELSE inode END AS inode, count(*) AS counted FROM ${entries} GROUP BY 1) e USING (inode)
       WHERE i.links <> coalesce(e.counted, 0) + CASE i.type WHEN 'directory' THEN 2 ELSE 0 END`,
    ],
    ['has no entry', `SELECT inode FROM ${inodes} WHERE type <> 'directory' AND links = 0`],
    [
      'is the root of a share, and no directory of its own',
      `SELECT i.inode FROM ${shares} s JOIN ${inodes} i ON i.inode = s.root WHERE i.type <> 'directory' OR EXISTS (SELECT FROM ${entries} e WHERE e.inode = i.inode)`,
    ],
    [
      // A directory has one entry at the most, and a root none: none is come by twice.
      'is a directory in no share',
      `WITH RECURSIVE down (inode) AS (
         SELECT root FROM ${shares} UNION ALL SELECT e.inode FROM down JOIN ${entries} e ON e.parent = down.inode AND e.type = 'directory'
       ) SELECT inode FROM ${inodes} WHERE type = 'directory' EXCEPT SELECT inode FROM down`,
    ],
    [
      'has another number of blocks than it says',
      `SELECT i.inode FROM ${inodes} i LEFT JOIN (SELECT inode, count(*) AS counted FROM ${blocks} GROUP BY inode) b USING (inode) WHERE i.block_count <> coalesce(b.counted, 0)`,
    ],
  ]
}
