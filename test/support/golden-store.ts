/**
 * The store behind `fixtures/v1-metadata-store` and `v1-named-*-store`: something of every kind of record that schema version 1 has. Fixed for
 * ever, as they are; what a later release adds to stores goes into a golden file of its own.
 */
import { MemoryLevel } from 'memory-level'
import type { Backupable } from '../../src/contracts/backupable.ts'
import type { Block, MetadataStore } from '../../src/contracts/metadata-store.ts'
import { encodeManifest } from '../../src/format/manifest.ts'
import { LevelMetadataStore } from '../../src/stores/level/index.ts'
import { takeBackup } from '../restore/publish.ts'

export const GOLDEN_STORE_ID = 'golden-metadata-store'

export const GOLDEN_CLOCK_MS: number = Date.UTC(2026, 0, 2, 3, 4, 5, 678)
const MAX = Number.MAX_SAFE_INTEGER
const BACKUP_ID = '01JGZ7GK3G0000000000000001'

/** Names that suffer where text is not taken as it is: composed and not, beyond the first plane, controls, the longest there may be. */
const NAMES = ['plain.txt', 'é', 'e\u0301', 'Straße', 'ΑΣ', '日本語', '한글', 'עברית', '😀'.repeat(63), '\u0001\u007f\u0085', ' ', '..x', '~', '\\', '%2F', '\ufeffmark', '\ufffd', 'x'.repeat(255)]

/** The golden backup of a LevelDB metadata store, by file name. What is in the store is in `v1-metadata-store/dump.json`. */
export async function makeGoldenStore(): Promise<ReadonlyMap<string, Buffer>> {
  const store = await openGoldenStore()
  const backup = await goldenBackup('v1-named-metadata-store', store)
  await store.close()
  return backup
}

/** Takes a backup as this release makes one: the stream names it, and the manifest has its content and objects. */
export async function goldenBackup(directory: string, store: Backupable): Promise<ReadonlyMap<string, Buffer>> {
  const { payload, payloadIds, manifest } = await takeBackup(store, { backupId: BACKUP_ID })
  return new Map([
    [`${directory}/payload`, payload],
    [`${directory}/payload-ids`, payloadIds],
    [`${directory}/manifest.json`, Buffer.from(encodeManifest(manifest))],
  ])
}

/** A store in memory that has the golden content. */
export async function openGoldenStore(): Promise<LevelMetadataStore> {
  const db = new MemoryLevel({ keyEncoding: 'utf8', valueEncoding: 'utf8' })
  const store = await LevelMetadataStore.open(db, { kind: 'level', storeId: GOLDEN_STORE_ID, clock: () => GOLDEN_CLOCK_MS })
  await fillGoldenStore(store)
  return store
}

/** Gives an empty store of any kind the golden content. */
export async function fillGoldenStore(store: MetadataStore): Promise<void> {
  const { root } = await store.createShare('share', { options: { description: 'Ünïcode "😀"', empty: '', 'read only': 'yes' }, root: { mode: 0o1777, uid: 0, gid: 0 } })
  await store.createShare('пусто')
  for (const name of NAMES) await store.create({ parent: root, name }, { type: 'file', size: name.length, content: { payloadId: `sha256:${Buffer.from(name).toString('hex').slice(0, 200)}` } })
  for (const type of ['fifo', 'socket', 'block-device', 'character-device'] as const) await store.create({ parent: root, name: type }, { type, mode: 0o640 })
  await store.create({ parent: root, name: 'symlink' }, { type: 'symlink', symlinkTarget: '../ü/"x"\n' })
  const deep = await store.create({ parent: root, name: 'deep' }, { type: 'directory', mode: 0 })
  const deeper = await store.create({ parent: deep.inode, name: 'deeper' }, { type: 'directory', mode: 0o7777 })
  await fillFiles(store, deep.inode, deeper.inode)
  const file = await store.create({ parent: deeper.inode, name: 'extreme' }, { ...EXTREME, xattrs: XATTRS, content: { payloadId: 'a/b"\\~' } })
  await store.link({ parent: root, name: 'hard link' }, file.inode)
  await store.link({ parent: deep.inode, name: 'hard link' }, file.inode)
  await store.lock({ inode: file.inode, owner: 'client/1 é', kind: 'shared', start: 0, end: MAX })
  await store.lock({ inode: file.inode, owner: 'client 2', kind: 'shared', start: 5, end: undefined })
  await store.lock({ inode: deeper.inode + 1, owner: 'client 3', kind: 'exclusive', start: MAX - 1, end: undefined })
  await store.setSetting('name/é', 'value "\u0001\ufffd\u{1f600}')
  await store.setSetting('empty', '')
}

const EXTREME = {
  type: 'file',
  mode: 0o7777,
  uid: 2 ** 32 - 1,
  gid: 2 ** 32 - 1,
  size: MAX,
  accessedAtNs: -(2n ** 63n),
  modifiedAtNs: 2n ** 63n - 1n,
  changedAtNs: -1n,
  createdAtNs: 0n,
} as const

const XATTRS: ReadonlyMap<string, Uint8Array> = new Map([
  ['user.bytes', Uint8Array.from({ length: 256 }, (_, byte) => byte)],
  ['user.empty', new Uint8Array()],
  ['user.é', Uint8Array.from([0xff, 0, 0xfe])],
])

/** Files of blocks, an empty one, one that was removed, and uploads that are under way. */
async function fillFiles(store: MetadataStore, deep: number, deeper: number): Promise<void> {
  const blocks: Block[] = Array.from({ length: 2100 }, (_, at) => ({ payloadId: `block-${at % 700}`, offset: MAX - at, bytes: at }))
  await store.create({ parent: deeper, name: 'empty' }, { type: 'file' })
  await store.create({ parent: deeper, name: 'blocks' }, { type: 'file', size: 7, content: { blocks } })
  await store.create({ parent: deeper, name: 'removed' }, { type: 'file', content: { payloadId: 'gone' } })
  await store.unlink({ parent: deeper, name: 'removed' })
  await store.putUpload({ uploadId: 'upload é', parent: deep, name: 'coming', startedAtMs: -1, blocks: blocks.slice(0, 1001) })
  await store.putUpload({ uploadId: 'empty', parent: deep, name: 'coming', startedAtMs: MAX, blocks: [] })
}
