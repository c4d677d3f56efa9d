/** The tables refuse a torn tree by themselves, by whatever statement it is written. */
import { beforeAll, describe, expect, test } from 'vitest'
import { checkTree } from '../../../src/metadata/check-tree.ts'
import { PostgresMetadataStore } from '../../../src/stores/postgres/store/postgres-metadata-store.ts'
import { dropSchema, newSchemaName } from './metadata-stores.ts'
import { inSchema, sharedPool } from './schemas.ts'

const schema = newSchemaName()
const NEW_INODE = '(inode, type, mode, uid, gid, size, accessed_at_ns, modified_at_ns, changed_at_ns, created_at_ns, links)'

/** The inodes: a share's root 1 with the directories 2 ("a") and 3 ("b"), in 2 the directory 4 ("sub") and the file 5 ("file") with two blocks, the file 6 ("paid") in 1, the empty root 7. */
const REFUSED: Readonly<Record<string, string>> = {
  'an entry for no inode': `INSERT INTO entries VALUES (1, 'x', 99, 'file')`,
  'an entry in no directory': `INSERT INTO entries VALUES (99, 'x', 5, 'file')`,
  'an entry in a file': `INSERT INTO entries VALUES (6, 'x', 5, 'file')`,
  'an entry of another type than its inode': `INSERT INTO entries VALUES (1, 'x', 5, 'fifo')`,
  'a directory passed off as a file': `INSERT INTO entries VALUES (1, 'x', 4, 'file')`,
  'a file passed off as a directory': `INSERT INTO entries VALUES (1, 'x', 5, 'directory')`,
  'a directory in two places': `INSERT INTO entries VALUES (1, 'x', 4, 'directory')`,
  'a root within another directory': `INSERT INTO entries VALUES (3, 'x', 7, 'directory')`,
  'a share whose root is in a directory': `INSERT INTO shares VALUES ('x', 3, 0, '{}')`,
  'a share whose root is a file': `INSERT INTO shares VALUES ('x', 6, 0, '{}')`,
  'two shares with one root': `INSERT INTO shares VALUES ('x', 7, 0, '{}')`,
  'a name twice in a directory': `INSERT INTO entries VALUES (1, 'a', 6, 'file')`,
  'a name with a slash': `INSERT INTO entries VALUES (1, 'x/y', 6, 'file')`,
  'the name ".."': `INSERT INTO entries VALUES (1, '..', 6, 'file')`,
  'a directory within itself': `UPDATE entries SET parent = 4 WHERE inode = 4`,
  'a directory within what is in it': `UPDATE entries SET parent = 4 WHERE inode = 2`,
  'two directories within each other': `UPDATE entries SET parent = CASE inode WHEN 2 THEN 3 ELSE 2 END WHERE inode IN (2, 3)`,
  'an inode without a name': `INSERT INTO inodes ${NEW_INODE} VALUES (98, 'file', 0, 0, 0, 0, 0, 0, 0, 0, 0)`,
  'a directory without a name': `INSERT INTO inodes ${NEW_INODE} VALUES (98, 'directory', 0, 0, 0, 0, 0, 0, 0, 0, 2)`,
  'a file that loses its last name': `DELETE FROM entries WHERE inode = 6`,
  'a directory that loses its name': `DELETE FROM entries WHERE inode = 4`,
  'an entry turned to another inode': `UPDATE entries SET inode = 6 WHERE inode = 5`,
  'a root without its share': `DELETE FROM shares WHERE name = 'empty'`,
  'an inode gone from under its entry': `DELETE FROM inodes WHERE inode = 6`,
  'a directory gone from around its entries': `WITH gone AS (DELETE FROM entries WHERE inode = 2) DELETE FROM inodes WHERE inode = 2`,
  'a file gone from around its blocks': `WITH gone AS (DELETE FROM entries WHERE inode = 5) DELETE FROM inodes WHERE inode = 5`,
  'all inodes at once': `TRUNCATE inodes`,
  'a count of links of its own': `UPDATE inodes SET links = 7 WHERE inode = 6`,
  'a count of links from the start': `INSERT INTO inodes ${NEW_INODE} VALUES (98, 'file', 0, 0, 0, 0, 0, 0, 0, 0, 1)`,
  'a count of blocks of its own': `UPDATE inodes SET block_count = 7 WHERE inode = 5`,
  'an inode of another type': `UPDATE inodes SET type = 'fifo' WHERE inode = 6`,
  'an inode of another number': `UPDATE inodes SET inode = 98 WHERE inode = 7`,
  'used bytes of its own': `INSERT INTO used_bytes VALUES (99, 5)`,
  'other used bytes': `UPDATE used_bytes SET bytes = bytes + 1`,
  'blocks of no file': `INSERT INTO blocks VALUES (99, 0, 'p', 0, 1)`,
  'blocks of a directory': `INSERT INTO blocks VALUES (3, 0, 'p', 0, 1)`,
  'blocks beside a payload': `INSERT INTO blocks VALUES (6, 0, 'p', 0, 1)`,
  'a payload beside blocks': `UPDATE inodes SET payload_id = 'p' WHERE inode = 5`,
  'a payload of a directory': `UPDATE inodes SET payload_id = 'p' WHERE inode = 3`,
  'a gap between blocks': `INSERT INTO blocks VALUES (5, 3, 'p', 0, 1)`,
  'a block missing at the start': `DELETE FROM blocks WHERE inode = 5 AND position = 0`,
  'a block at another place': `UPDATE blocks SET position = 2 WHERE position = 1`,
  'a block that is none': `UPDATE blocks SET bytes = -1`,
  'a block of an upload missing': `DELETE FROM upload_blocks WHERE position = 0`,
  'an upload gone from around its blocks': `DELETE FROM uploads`,
  'a size below nothing': `UPDATE inodes SET size = -1 WHERE inode = 6`,
  'a mode of too many bits': `UPDATE inodes SET mode = 4096 WHERE inode = 6`,
  'a symlink to nowhere': `INSERT INTO inodes ${NEW_INODE} VALUES (98, 'symlink', 0, 0, 0, 0, 0, 0, 0, 0, 0)`,
  'a lock on no inode': `INSERT INTO locks VALUES (99, 'me', 'shared', 0, 1)`,
  'a lock on no bytes': `INSERT INTO locks VALUES (6, 'me', 'shared', 1, 1)`,
  'extended attributes without values': `UPDATE inodes SET xattr_names = '{a}' WHERE inode = 6`,
  'a second identity': `INSERT INTO holdfast_identity (only_one, store_id) VALUES (false, 'x')`,
}

describe('the tables refuse', () => {
  let store: PostgresMetadataStore

  beforeAll(async () => {
    store = await PostgresMetadataStore.open(await sharedPool(), { schema })
    const { root } = await store.createShare('share')
    const a = await store.create({ parent: root, name: 'a' }, { type: 'directory' })
    await store.create({ parent: root, name: 'b' }, { type: 'directory' })
    await store.create({ parent: a.inode, name: 'sub' }, { type: 'directory' })
    const blocks = [0, 1].map((offset) => ({ payloadId: 'p', offset, bytes: 1 }))
    await store.create({ parent: a.inode, name: 'file' }, { type: 'file', size: 2, content: { blocks } })
    await store.create({ parent: root, name: 'paid' }, { type: 'file', size: 1, content: { payloadId: 'paid' } })
    await store.createShare('empty')
    await store.putUpload({ uploadId: 'u', parent: root, name: 'x', startedAtMs: 0, blocks })
    return async () => {
      await store.close()
      await dropSchema(schema)
    }
  })

  test.each(Object.entries(REFUSED))('%s', async (_, statement) => {
    const pool = await sharedPool()
    const failure = await inSchema(pool, schema, (client) => client.query(statement)).then(() => undefined, (error: unknown) => error)
    expect(failure).toMatchObject({ code: expect.stringMatching(/^23|^0A000$/) })
    expect(await checkTree(store)).toEqual([])
  })

  test('nothing that keeps a tree whole, and count it', async () => {
    const pool = await sharedPool()
    await inSchema(pool, schema, async (client) => {
      await client.query(`SELECT setval('inode_numbers', 60)`)
      await client.query(`INSERT INTO inodes ${NEW_INODE} VALUES (50, 'directory', 0, 0, 0, 0, 0, 0, 0, 0, 2), (51, 'file', 0, 0, 0, 70, 0, 0, 0, 0, 0)`)
      await client.query(`INSERT INTO entries VALUES (50, 'x', 51, 'file'), (1, 'y', 51, 'file'), (3, 'z', 50, 'directory')`)
      await client.query(`UPDATE entries SET parent = 50 WHERE inode = 4`)
      await client.query(`UPDATE inodes SET size = 71 WHERE inode = 51`)
    })
    expect([(await store.inode(51))?.links, (await store.inode(50))?.links, await store.usedBytes()]).toEqual([2, 3, 74])
    expect(await checkTree(store)).toEqual([])
    await inSchema(pool, schema, async (client) => {
      await client.query(`UPDATE entries SET parent = 2 WHERE inode = 4`)
      await client.query(`DELETE FROM entries WHERE inode IN (50, 51)`)
      await client.query(`DELETE FROM inodes WHERE inode IN (50, 51)`)
    })
    expect(await store.usedBytes()).toBe(3)
    expect(await checkTree(store)).toEqual([])
  })
})
