/** What the triggers of the tables refuse row by row, asked of all rows at once. */
import type { Queries, TablePaths } from './queries.ts'

/** What does not fit together in the tables, in words; `undefined` when everything does. */
export async function tornTree(queries: Queries): Promise<string | undefined> {
  const [row] = await queries.rows<{ fault: string }>(`SELECT fault FROM (${faults(queries.tables).join(' UNION ALL ')}) AS faults LIMIT 1`)
  return row?.fault
}

function faults({ inodes, entries, shares, blocks, uploads, upload_blocks: uploadBlocks, inode_numbers_table: numbers }: TablePaths): readonly string[] {
  return [
    `SELECT format('inode %s says %s links, and has %s', i.inode, i.links, coalesce(n, 0)) AS fault
     FROM ${inodes} i LEFT JOIN (SELECT inode, count(*) AS n FROM ${entries} WHERE type <> 'directory' GROUP BY 1) e USING (inode)
     WHERE i.type <> 'directory' AND i.links IS DISTINCT FROM n`,
    `SELECT format('directory %s says %s links, and has %s', i.inode, i.links, 2 + coalesce(n, 0))
     FROM ${inodes} i LEFT JOIN (SELECT parent AS inode, count(*) AS n FROM ${entries} WHERE type = 'directory' GROUP BY 1) e USING (inode)
     WHERE i.type = 'directory' AND i.links <> 2 + coalesce(n, 0)`,
    `SELECT format('entry %s in %s says that inode %s is a %s', to_json(e.name), e.parent, e.inode, e.type)
     FROM ${entries} e JOIN ${inodes} i USING (inode) WHERE e.type <> i.type`,
    `SELECT format('entry %s is in inode %s, which is not a directory', to_json(e.name), e.parent)
     FROM ${entries} e JOIN ${inodes} p ON p.inode = e.parent WHERE p.type <> 'directory'`,
    `SELECT format('share %s has the root %s, which is not a directory of its own', to_json(s.name), s.root)
     FROM ${shares} s JOIN ${inodes} i ON i.inode = s.root WHERE i.type <> 'directory' OR EXISTS (SELECT FROM ${entries} e WHERE e.inode = s.root)`,
    // Every directory has one entry at most, so no way down from a root leads into a ring.
    `SELECT format('directory %s is in no share', i.inode) FROM ${inodes} i WHERE i.type = 'directory' AND i.inode NOT IN (
       WITH RECURSIVE reached (inode) AS (
         SELECT root FROM ${shares} UNION SELECT e.inode FROM reached JOIN ${entries} e ON e.parent = reached.inode AND e.type = 'directory'
       ) SELECT inode FROM reached)`,
    `SELECT format('inode %s has a number that would be given again', i.inode)
     FROM ${inodes} i CROSS JOIN ${numbers} n WHERE i.inode >= n.last_value + n.is_called::int`,
    countedBlocks({ owners: inodes, blocks, key: 'inode' }),
    countedBlocks({ owners: uploads, blocks: uploadBlocks, key: 'upload_id' }),
  ]
}

function countedBlocks({ owners, blocks, key }: { readonly owners: string; readonly blocks: string; readonly key: string }): string {
  return `SELECT format('${key} %s says %s blocks, and has %s', o.${key}, o.block_count, coalesce(n, 0))
    FROM ${owners} o LEFT JOIN (SELECT ${key}, count(*) AS n, max(position) + 1 AS next FROM ${blocks} GROUP BY 1) b USING (${key})
    WHERE o.block_count <> coalesce(n, 0) OR n <> next`
}
