/** Puts something of every kind into a metadata store, with the values that are likely to suffer. */
import { INODE_TYPES, type MetadataStore } from '../../src/contracts/metadata-store.ts'

const MAX = Number.MAX_SAFE_INTEGER

export async function fillStore(store: MetadataStore): Promise<void> {
  const { root } = await store.createShare('share', { options: { description: 'Ünïcode "😀"', empty: '' }, root: { mode: 0o700 } })
  await store.createShare('пусто')
  for (const type of INODE_TYPES) await store.create({ parent: root, name: `${type}-é\u{1f600}~` }, { type, symlinkTarget: type === 'symlink' ? '../ü/"x"\n' : undefined })
  const deep = await store.create({ parent: root, name: 'deep' }, { type: 'directory' })
  const deeper = await store.create({ parent: deep.inode, name: '日本語' }, { type: 'directory' })
  const extreme = { mode: 0o7777, uid: 2 ** 32 - 1, gid: 2 ** 32 - 1, size: MAX }
  const times = { accessedAtNs: -(2n ** 63n), modifiedAtNs: 2n ** 63n - 1n, changedAtNs: -1n, createdAtNs: 0n }
  const xattrs = new Map([
    ['user.bytes', Uint8Array.from({ length: 256 }, (_, byte) => byte)],
    ['user.empty', new Uint8Array()],
  ])
  const file = await store.create({ parent: deeper.inode, name: 'x'.repeat(255) }, { type: 'file', ...extreme, ...times, xattrs, content: { payloadId: 'a/b"\\~' } })
  await store.link({ parent: root, name: 'hard link' }, file.inode)
  const blocks = Array.from({ length: 2500 }, (_, at) => ({ payloadId: `block-${at % 700}`, offset: MAX - at, bytes: at }))
  await store.create({ parent: deep.inode, name: 'blocks' }, { type: 'file', size: 7, content: { blocks } })
  await store.create({ parent: deep.inode, name: 'empty' }, { type: 'file' })
  await store.putUpload({ uploadId: 'upload é', parent: deep.inode, name: 'new', startedAtMs: -1, blocks: blocks.slice(0, 1200) })
  await store.putUpload({ uploadId: 'empty', parent: root, name: 'new', startedAtMs: 0, blocks: [] })
  await store.lock({ inode: file.inode, owner: 'client/1 é', kind: 'shared', start: 0, end: MAX })
  await store.lock({ inode: file.inode, owner: 'client 2', kind: 'shared', start: 5, end: undefined })
  await store.setSetting('name/é', 'value "\u0001\ufffd\u{1f600}')
  await store.setSetting('empty', '')
}
