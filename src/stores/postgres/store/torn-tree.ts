/** Asks of all rows at once what the constraints and triggers of the tables refuse row by row. */
import { LAST_NEXT_INODE } from '../../../metadata/tree-rules.ts'
import { quoteText } from '../connection/client.ts'
import type { TablePaths } from './queries.ts'
import { CONSTRAINTS } from './tables.ts'

/** The query that gives in words one thing that does not fit together in the tables; no row when everything does. */
export function faultQuery(tables: TablePaths): string {
  return `SELECT fault FROM (${faults(tables).join(' UNION ALL ')}) AS faults (fault) LIMIT 1`
}

function faults(tables: TablePaths): readonly string[] {
  const { inodes, entries, shares, blocks, uploads, upload_blocks: uploadBlocks, locks, used_bytes: usedBytes, inode_numbers_table: numbers } = tables
  return [
    ...CONSTRAINTS.map(({ table, count }) => missingConstraints(table, { path: tables[table], count })),
    `SELECT CASE WHEN n IS NULL THEN format('no entry names inode %s', i.inode) ELSE format('inode %s says %s links, and has %s', i.inode, i.links, n) END
     FROM ${inodes} i LEFT JOIN (SELECT inode, count(*) AS n FROM ${entries} WHERE type <> 'directory' GROUP BY 1) e USING (inode)
     WHERE i.type <> 'directory' AND i.links IS DISTINCT FROM n`,
    `SELECT format('directory %s says %s links, and has %s', i.inode, i.links, 2 + coalesce(n, 0))
     FROM ${inodes} i LEFT JOIN (SELECT parent AS inode, count(*) AS n FROM ${entries} WHERE type = 'directory' GROUP BY 1) e USING (inode)
     WHERE i.type = 'directory' AND i.links <> 2 + coalesce(n, 0)`,
    `SELECT format('entry %s in %s says that inode %s is a %s', to_json(e.name), e.parent, e.inode, e.type)
     FROM ${entries} e LEFT JOIN ${inodes} i USING (inode) WHERE e.type IS DISTINCT FROM i.type`,
    `SELECT format('entry %s is in inode %s, which is not a directory', to_json(e.name), e.parent)
     FROM ${entries} e LEFT JOIN ${inodes} p ON p.inode = e.parent WHERE p.type IS DISTINCT FROM 'directory'`,
    `SELECT format('share %s has the root %s, which is not a directory of its own', to_json(s.name), s.root)
     FROM ${shares} s LEFT JOIN ${inodes} i ON i.inode = s.root
     WHERE i.type IS DISTINCT FROM 'directory' OR EXISTS (SELECT FROM ${entries} e WHERE e.inode = s.root)`,
    `SELECT format('directory %s is in more than one place', inode) FROM ${entries} WHERE type = 'directory' GROUP BY inode HAVING count(*) > 1`,
    // So every directory has one entry at most, and no way down from a root leads into a ring.
    `SELECT format('directory %s is in no share', inode) FROM (SELECT inode FROM ${inodes} WHERE type = 'directory' EXCEPT (
       WITH RECURSIVE reached (inode) AS (
         SELECT root FROM ${shares} UNION SELECT e.inode FROM reached JOIN ${entries} e ON e.parent = reached.inode AND e.type = 'directory'
       ) SELECT inode FROM reached)) AS lost`,
    `SELECT format('inode %s has a number that would be given again', i.inode)
     FROM ${inodes} i CROSS JOIN ${numbers} n WHERE i.inode >= n.last_value + n.is_called::int`,
    `SELECT format('the next inode would get number %s, which leaves too few for those after it', last_value + is_called::int)
     FROM ${numbers} WHERE last_value + is_called::int > ${LAST_NEXT_INODE}`,
    countedBlocks({ owners: inodes, blocks, key: 'inode' }),
    countedBlocks({ owners: uploads, blocks: uploadBlocks, key: 'upload_id' }),
    `SELECT format('inode %s has a lock, and is not a file', l.inode) FROM ${locks} l LEFT JOIN ${inodes} i USING (inode) WHERE i.type IS DISTINCT FROM 'file'`,
    `SELECT format('used bytes are recorded as %s, and add up to %s', recorded, added)
     FROM (SELECT coalesce(sum(bytes), 0) AS recorded FROM ${usedBytes}) AS r, (SELECT coalesce(sum(size), 0) AS added FROM ${inodes} WHERE type = 'file') AS a
     WHERE recorded <> added`,
  ]
}

function missingConstraints(table: string, { path, count }: { readonly path: string; readonly count: number }): string {
  return `SELECT 'table ${table} has lost a constraint, or one that was not validated'
    WHERE ${count} > (SELECT count(*) FROM pg_constraint WHERE conrelid = ${quoteText(path)}::regclass AND contype IN ('c', 'f', 'p', 'u') AND convalidated)`
}

function countedBlocks({ owners, blocks, key }: { readonly owners: string; readonly blocks: string; readonly key: string }): string {
  return `SELECT format('${key} %s says %s blocks, and has %s', ${key}, coalesce(o.block_count, 0), coalesce(n, 0))
    FROM ${owners} o FULL JOIN (SELECT ${key}, count(*) AS n, max(position) + 1 AS next FROM ${blocks} GROUP BY 1) b USING (${key})
    WHERE o.block_count IS DISTINCT FROM coalesce(n, 0) OR n <> next`
}
