/** What the parts of the metadata store's conformance suite share. */
import { equal, rejects } from 'node:assert/strict'
import type {
  ByteRangeLock,
  Inode,
  InodeNumber,
  ListedBlock,
  ListedEntry,
  ListedInode,
  MetadataStore,
  MetadataView,
  PendingUpload,
  Share,
} from '../../src/contracts/metadata-store.ts'

/** A store with one share, whose root is given too. */
export interface MetadataFixture {
  readonly store: MetadataStore
  readonly root: InodeNumber
}

/** Registers one test; after its body the store must still fit together. */
export type RegisterTest = (title: string, body: (fixture: MetadataFixture) => Promise<void>) => void

/** Resolves when the promise rejects with this code. */
export async function refused(promise: Promise<unknown>, code: string): Promise<void> {
  await rejects(promise, (error: Error & { code?: unknown }) => {
    equal(error.code, code, `${error.name}: ${error.message}`)
    return true
  })
}

/** Looks again and again while work goes on. Waits for the work, whichever of them fails: it may not go on behind the end of its test. */
export async function lookWhile(work: () => Promise<void>, look: () => Promise<void>): Promise<void> {
  const state = { working: true }
  const [failed] = await Promise.allSettled([
    work().finally(() => (state.working = false)),
    (async () => {
      while (state.working) await look()
    })(),
  ]).then((results) => results.filter((result) => result.status === 'rejected'))
  if (failed !== undefined) throw failed.reason
}

/** Everything an iterable gives. */
export async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of source) items.push(item)
  return items
}

/** Everything that a view shows. */
export interface ViewLists {
  readonly shares: readonly Share[]
  readonly inodes: readonly ListedInode[]
  readonly entries: readonly ListedEntry[]
  readonly blocks: readonly ListedBlock[]
  readonly locks: readonly ByteRangeLock[]
  readonly uploads: readonly PendingUpload[]
  readonly settings: ReadonlyMap<string, string>
  readonly payloadIds: readonly string[]
  readonly usedBytes: number
  readonly nextInode: InodeNumber
}

/** All lists of a view, for small stores. Bytes and options are copied, so that only what they hold is compared. */
export async function listAll(view: MetadataView): Promise<ViewLists> {
  return {
    shares: (await view.shares()).map((share) => ({ ...share, options: { ...share.options } })),
    inodes: (await all(view.inodes())).map((inode) => ({ ...inode, xattrs: new Map([...inode.xattrs].map(([name, value]) => [name, Uint8Array.from(value)])) })),
    entries: await all(view.entries()),
    blocks: await all(view.allBlocks()),
    locks: (await all(view.allLocks())).toSorted((a, b) => a.inode - b.inode || a.start - b.start || (a.owner < b.owner ? -1 : 1)),
    uploads: await all(view.uploads()),
    settings: new Map(await view.settings()),
    payloadIds: await all(view.payloadIds()),
    usedBytes: await view.usedBytes(),
    nextInode: await view.nextInode(),
  }
}

/** Puts one or more of everything into a share, with values at the edges of what is allowed, and a file that may be removed: "gone", the last inode. */
export async function populate(store: MetadataStore, root: InodeNumber): Promise<{ readonly file: Inode; readonly blocks: Inode; readonly directory: Inode }> {
  const directory = await store.create({ parent: root, name: 'dir' }, { type: 'directory' })
  const times = { accessedAtNs: -(2n ** 63n), modifiedAtNs: 2n ** 63n - 1n, changedAtNs: -1n, createdAtNs: 0n }
  const xattrs = new Map([
    ['user.bytes', Uint8Array.from({ length: 256 }, (_, byte) => byte)],
    ['user.empty', new Uint8Array()],
  ])
  const extremes = { mode: 0o7777, uid: 2 ** 32 - 1, gid: 2 ** 32 - 1, size: Number.MAX_SAFE_INTEGER, ...times, xattrs }
  const file = await store.create({ parent: root, name: 'file' }, { type: 'file', ...extremes, content: { payloadId: 'a/b"\\~' } })
  await store.link({ parent: directory.inode, name: 'hard link' }, file.inode)
  for (const name of ['x'.repeat(255), 'é\u{1f600}~', 'e\u0301', '%', ' ', '\u0001"\\\ufffd']) await store.create({ parent: directory.inode, name }, { type: 'file' })
  await store.create({ parent: directory.inode, name: 'link' }, { type: 'symlink', symlinkTarget: '../ü "x"\n' })
  const list = Array.from({ length: 1500 }, (_, at) => ({ payloadId: `block-${at % 700}`, offset: Number.MAX_SAFE_INTEGER - at, bytes: at }))
  const blocks = await store.create({ parent: root, name: 'blocks' }, { type: 'file', content: { blocks: list } })
  await store.putUpload({ uploadId: 'upload', parent: directory.inode, name: 'new', startedAtMs: Number.MIN_SAFE_INTEGER, blocks: list.slice(0, 1100) })
  await store.putUpload({ uploadId: 'é ~', parent: root, name: 'new', startedAtMs: 0, blocks: [] })
  await store.lock({ inode: file.inode, owner: 'client/1', kind: 'shared', start: 0, end: Number.MAX_SAFE_INTEGER })
  await store.lock({ inode: file.inode, owner: 'client 2', kind: 'shared', start: 0, end: undefined })
  await store.setSetting('name', 'value "\u0001\ufffd\u{1f600}')
  await store.setSetting('empty/é', '')
  await store.create({ parent: root, name: 'gone' }, { type: 'file' })
  return { file: (await store.inode(file.inode)) ?? file, blocks, directory }
}
