/** What tests of restored subtrees share: a tree with everything in it, what it looks like, and the suite that every kind of store passes. */
import { beside } from '../../support/beside.ts'
import { describe, expect, it } from 'vitest'
import { deleteBackup } from '../../../src/repository/delete-backups.ts'
import type { Catalog } from '../../../src/contracts/catalog.ts'
import type { ErrorCode } from '../../../src/errors/errors.ts'
import type { Holds } from '../../../src/gc/holds/holds.ts'
import { sweepPayloads } from '../../../src/gc/sweep/sweep-payloads.ts'
import { checkTree } from '../../../src/metadata/check-tree.ts'
import type { Block, Inode, InodeNumber, MetadataReader, MetadataStore } from '../../../src/contracts/metadata-store.ts'
import { removeTree } from '../../../src/metadata/remove-tree.ts'
import { findPath, parsePath } from '../../../src/metadata/tree-path.ts'
import { decodePayloadIds } from '../../../src/payload-ids/payload-id-set.ts'
import { type ReadableTrial, RESTORE_SUBTREE_STEPS, restoreSubtree, type RestoreSubtreeOptions, type RestoreSubtreeProgress, type RestoreSubtreeReport, type RestoreSubtreeStep } from '../../../src/restore/subtree/restore-subtree.ts'
import { newHolds } from '../../gc/holds.ts'
import { PayloadMap } from '../../gc/payload-map.ts'
import { altered } from '../../support/altered.ts'
import { collect } from '../../support/collect.ts'
import { publish, takeBackup } from '../publish.ts'
import { dump } from '../trees.ts'

const NAME = 'ünï 😀\n~-\\'

/** Makes the shares "s" and "t", and in "s" the directory "dir", in which there is something of everything. */
export async function fillTree(store: MetadataStore): Promise<void> {
  const { root } = await store.createShare('s')
  const { root: other } = await store.createShare('t')
  const times = { accessedAtNs: 1n, modifiedAtNs: -2n, changedAtNs: 3n, createdAtNs: 4n }
  const { inode: dir } = await store.create({ parent: root, name: 'dir' }, { type: 'directory', mode: 0o2750, uid: 7, gid: 8, ...times, xattrs: new Map([['user.x', Uint8Array.of(0, 255)]]) })
  const { inode: sub } = await store.create({ parent: dir, name: NAME }, { type: 'directory', mode: 0o700 })
  await store.create({ parent: sub, name: 'deep' }, { type: 'directory' })
  const one = await store.create({ parent: dir, name: 'one' }, { type: 'file', mode: 0o4755, size: 9, content: { payloadId: 'p-one' }, ...times })
  await store.link({ parent: sub, name: 'the same' }, one.inode)
  await store.link({ parent: other, name: 'elsewhere' }, one.inode)
  const blocks = [5, 0, 7].map((offset, at) => ({ payloadId: `p-block-${at % 2}`, offset, bytes: 3 }))
  const large = await store.create({ parent: sub, name: 'blocks' }, { type: 'file', size: 9, content: { blocks } })
  await store.lock({ inode: large.inode, owner: 'x', kind: 'shared', start: 0, end: 1 })
  await store.create({ parent: sub, name: 'empty' }, { type: 'file' })
  const link = await store.create({ parent: dir, name: 'link' }, { type: 'symlink', size: 4, symlinkTarget: '../ü' })
  await store.link({ parent: dir, name: 'link too' }, link.inode)
  await store.create({ parent: dir, name: 'fifo' }, { type: 'fifo' })
  const files = Array.from({ length: 30 }, (_, at) => store.create({ parent: dir, name: `file ${at}` }, { type: 'file', size: at, content: { payloadId: `p-${at % 7}` } }))
  await Promise.all(files)
  await store.putUpload({ uploadId: 'u', parent: dir, name: 'coming', startedAtMs: 1, blocks: [{ payloadId: 'p-upload', offset: 0, bytes: 1 }] })
}

/** Entries below a path, the path itself, without their inode numbers; names of one inode are told by the first of them, in order. `undefined` where there is nothing. */
export async function treeAt(reader: MetadataReader, path: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  const top = await findPath(reader, parsePath(path), 'here').catch(() => undefined)
  if (top === undefined) return undefined
  const tree: Record<string, unknown> = {}
  const first = new Map<InodeNumber, string>()
  const visit = async (inode: Inode, at: string): Promise<void> => {
    const { inode: number, links: _links, ...attributes } = inode
    if (!first.has(number)) first.set(number, at)
    const blocks: readonly Block[] = inode.type === 'file' ? await collect(reader.blocks(number)) : []
    tree[at] = { ...attributes, xattrs: [...inode.xattrs], blocks, sameAs: first.get(number) }
    if (inode.type !== 'directory') return
    for (const { name, inode: child } of (await reader.readDirectory(number)).entries) await visit((await reader.inode(child)) as Inode, `${at}/${name}`)
  }
  await visit(top, '')
  return tree
}

/** Removes what is at a path. */
export async function removeAt(store: MetadataStore, path: string): Promise<void> {
  const [share, ...names] = parsePath(path)
  const { inode: parent } = await findPath(store, [share, ...names.slice(0, -1)], 'here')
  await removeTree(store, { parent, name: names.at(-1) ?? '' })
}

export interface SubtreeStores {
  /** An empty store, closed when the test has finished. */
  readonly openStore: () => Promise<MetadataStore>
  readonly openTrial: () => Promise<ReadableTrial>
}

interface Setting extends RestoreSubtreeOptions {
  readonly catalog: Catalog
  readonly holds: Holds
  /** Trials that were opened and not discarded. */
  readonly trials: Set<ReadableTrial>
  readonly original: Readonly<Record<string, unknown>> | undefined
}

async function backedUp({ openStore, openTrial }: SubtreeStores): Promise<Setting> {
  const store = await openStore()
  await fillTree(store)
  const { destination, catalog, holds } = await newHolds()
  const backupId = await publish(destination, await takeBackup(store))
  const trials = new Set<ReadableTrial>()
  const counted = async (): Promise<ReadableTrial> => {
    const trial = await openTrial()
    const own = altered(trial, {
      discard: async () => {
        trials.delete(own)
        await trial.discard()
      },
    })
    trials.add(own)
    return own
  }
  return beside({ store, destination, catalog, holds, backupId, openTrial: counted, path: 's/dir' }, { trials, original: await treeAt(store, 's/dir') })
}

/** That nothing is left over, and the store is whole. */
async function expectClean({ store, trials, catalog }: Setting): Promise<void> {
  expect((await store.shares()).map(({ name }) => name).filter((name) => name !== 'other')).toEqual(['s', 't'])
  expect(trials.size).toBe(0)
  expect(await checkTree(store)).toEqual([])
  expect(await catalog.leases()).toEqual([])
}

const REFUSALS: readonly (readonly [why: string, options: Partial<RestoreSubtreeOptions>, code: ErrorCode, message: RegExp])[] = [
  ['a path that the backup does not have', { path: 's/none/x', toPath: 's/x' }, 'entry_not_found', /Cannot find "s\/none" in backup/],
  ['a share that the backup does not have', { path: 'none/x', toPath: 's/x' }, 'entry_not_found', /Cannot find the share "none" in backup/],
  ['a path through a file', { path: 's/dir/one/x', toPath: 's/x' }, 'not_a_directory', /"s\/dir\/one" in backup .* it is a file/],
  ['a path through a symbolic link', { path: 's/dir/link/x', toPath: 's/x' }, 'not_a_directory', /it is a symlink/],
  ['a path that leads up', { path: 's/dir/../dir', toPath: 's/x' }, 'invalid_argument', /"\.\." as name/],
  ['a target that leads up', { toPath: 's/../x' }, 'invalid_argument', /"\.\." as name/],
  ['a name with a NUL', { toPath: 's/a\0b' }, 'invalid_argument', /NUL/],
  ['no path', { path: '//' }, 'invalid_argument', /it does not name a share/],
  ['a share as the target', { path: 's' }, 'invalid_argument', /"s": it names a whole share/],
  ['a target that is there', {}, 'entry_exists', /Cannot restore to "s\/dir": the store has an entry of that name/],
  ['a target in no share', { toPath: 'none/x' }, 'entry_not_found', /the share "none" in the store/],
  ['a target in no directory', { toPath: 's/none/x' }, 'entry_not_found', /"s\/none" in the store/],
  ['a target in a file', { toPath: 't/elsewhere/x' }, 'not_a_directory', /"t\/elsewhere" is a file/],
  ['a target below a file', { toPath: 't/elsewhere/x/y' }, 'not_a_directory', /"t\/elsewhere" in the store: it is a file/],
]

export function subtreeTests(stores: SubtreeStores): void {
  describe('restoreSubtree()', () => {
    it('brings a directory back as it was, with new inodes, and changes nothing else', async () => {
      const setting = await backedUp(stores)
      const { store, catalog } = setting
      const before = await findPath(store, ['s', 'dir'], '')
      await removeAt(store, 's/dir')
      const rest = await treeAt(store, 't')
      const seen: RestoreSubtreeStep[] = []
      const report = await restoreSubtree({ ...setting, payloads: new PayloadMap(await allIds(setting)), onProgress: ({ step }) => void (seen.at(-1) === step || seen.push(step)) })
      expect(await treeAt(store, 's/dir')).toEqual(setting.original)
      expect(await treeAt(store, 't')).toEqual(rest)
      expect((await findPath(store, ['s', 'dir'], '')).inode).toBeGreaterThan(before.inode)
      // Its name elsewhere is of an inode of its own.
      expect([(await findPath(store, ['s', 'dir', 'one'], '')).links, (await findPath(store, ['t', 'elsewhere'], '')).links]).toEqual([2, 1])
      expect(await store.locks((await findPath(store, ['s', 'dir', NAME, 'blocks'], '')).inode)).toEqual([])
      expect(seen).toEqual(RESTORE_SUBTREE_STEPS)
      expect(report).toMatchObject<Partial<RestoreSubtreeReport>>({
        path: 's/dir',
        toPath: 's/dir',
        replaced: false,
        restored: { files: 33, directories: 3, symlinks: 1, others: 1, hardLinks: 2, bytes: 453 },
        warnings: [],
      })
      await expectClean(setting)
      expect(await collect(catalog.jobs())).toMatchObject([{ kind: 'restore', state: 'succeeded', backupId: setting.backupId, storeId: store.storeId, progress: { records: 40 } }])
    })

    it('brings a file back under another name, beside what is there', async () => {
      const setting = await backedUp(stores)
      const before = await dump(setting.store)
      await restoreSubtree({ ...setting, path: `/s/dir/${NAME}/the same/`, toPath: 't/new name' })
      expect(await treeAt(setting.store, 't/new name')).toEqual(await treeAt(setting.store, 't/elsewhere'))
      expect((await findPath(setting.store, ['t', 'new name'], '')).links).toBe(1)
      await removeAt(setting.store, 't/new name')
      expect(await dump(setting.store)).toBe(before)
      await expectClean(setting)
    })

    it('brings a directory back into what it came from, and a whole share as a directory', async () => {
      const setting = await backedUp(stores)
      const { store, original } = setting
      await restoreSubtree({ ...setting, toPath: `s/dir/${NAME}/again` })
      expect(await treeAt(store, `s/dir/${NAME}/again`)).toEqual(original)
      await restoreSubtree({ ...setting, path: 's', toPath: 't/s' })
      expect(await treeAt(store, 't/s/dir')).toEqual(original)
      await expectClean(setting)
    })

    it.each(REFUSALS)('refuses %s, and changes nothing', async (_, options, code, message) => {
      const setting = await backedUp(stores)
      const before = await dump(setting.store)
      await expect(restoreSubtree({ ...setting, ...options })).rejects.toMatchObject({ code, message: expect.stringMatching(message) as unknown })
      expect(await dump(setting.store)).toBe(before)
      await expectClean(setting)
      expect(await collect(setting.catalog.jobs())).toMatchObject(code === 'invalid_argument' ? [] : [{ state: 'failed', error: { code } }])
    })

    it.each([
      ['a directory', 's/dir', 's/dir'],
      ['a directory by a file', 's/dir/one', 's/dir'],
      ['a file by a directory', 's/dir', 't/elsewhere'],
      ['nothing', 's/dir', 's/new'],
    ])('replaces %s when it is told to, in one step', async (what, path, toPath) => {
      const setting = await backedUp(stores)
      const { store } = setting
      const restored = await treeAt(store, path)
      const changed = await store.create({ parent: (await findPath(store, ['s', 'dir'], '')).inode, name: 'since' }, { type: 'file', content: { payloadId: 'p-since' } })
      const old = await treeAt(store, toPath)
      const watched = altered(store, {
        rename: async (from, to, options) => {
          expect(await treeAt(store, toPath)).toEqual(old)
          await store.rename(from, to, options)
          if (options?.existing === 'exchange' || what === 'nothing') expect(await treeAt(store, toPath)).toEqual(restored)
        },
      })
      const report = await restoreSubtree({ ...setting, path, toPath, store: watched, overwrite: true })
      expect([report.replaced, await treeAt(store, toPath)]).toEqual([what !== 'nothing', restored])
      expect((await store.inode(changed.inode)) === undefined).toBe(toPath === 's/dir')
      await expectClean(setting)
    })

    it('refuses what is made at the target meanwhile, which stays', async () => {
      const setting = await backedUp(stores)
      const { store } = setting
      const watched = altered(store, {
        rename: async (from, to, options) => {
          await store.create(to, { type: 'file', size: 1, content: { payloadId: 'p-new' } })
          await store.rename(from, to, options)
        },
      })
      await expect(restoreSubtree({ ...setting, toPath: 's/x', store: watched })).rejects.toMatchObject({ code: 'entry_exists' })
      expect(await findPath(store, ['s', 'x'], '')).toMatchObject({ payloadId: 'p-new' })
      await expectClean(setting)
    })

    it.each([
      ['prepare', 0],
      ['restore', 0],
      ['payloads', 0],
      ['copy', 5],
      ['copy', 40],
    ] as const)('leaves nothing when it is aborted in %s, after %i entries', async (at, after) => {
      const setting = await backedUp(stores)
      const before = await dump(setting.store)
      const controller = new AbortController()
      let copied = 0
      const onProgress = ({ step, records }: RestoreSubtreeProgress): void => {
        if (step === 'copy') copied = records
        if (step === at && records >= after) controller.abort(new Error('Enough'))
      }
      const payloads = new PayloadMap(await allIds(setting))
      await expect(restoreSubtree({ ...setting, payloads, toPath: 's/x', signal: controller.signal, onProgress })).rejects.toMatchObject({ code: 'backup_aborted', cause: { message: 'Enough' } })
      expect(await dump(setting.store)).toBe(before)
      await expectClean(setting)
      // Those that were under way end.
      expect(copied).toBeLessThan(after === 0 ? 1 : after === 5 ? 40 : 41)
      expect(await collect(setting.catalog.jobs())).toMatchObject([{ state: 'interrupted' }])
    })

    it('looks for every payload of what is restored, and of nothing else, before it changes anything', async () => {
      const setting = await backedUp(stores)
      const ids = (await allIds(setting)).filter((payloadId) => payloadId !== 'p-upload')
      await restoreSubtree({ ...setting, toPath: 's/x', payloads: new PayloadMap(ids) })
      const before = await dump(setting.store)
      for (const missing of ['p-one', 'p-block-1', 'p-6']) {
        const payloads = new PayloadMap(ids.filter((payloadId) => payloadId !== missing))
        await expect(restoreSubtree({ ...setting, toPath: 's/y', payloads })).rejects.toMatchObject({ code: 'payload_missing', details: { payloadIds: expect.arrayContaining([missing]) as unknown } })
      }
      expect(await dump(setting.store)).toBe(before)
      await expectClean(setting)
    })

    it('holds the payloads from before it reads the backup until the store refers to them', async () => {
      const { store, openTrial, ...others } = await backedUp(stores)
      const { destination, catalog, holds } = others
      await removeAt(store, 's/dir')
      await store.removeUpload('u')
      const payloads = new PayloadMap([...(await allIds(others)), 'p-garbage'])
      const sweep = async (): Promise<unknown> => await sweepPayloads({ payloads, stores: [store], holds, minAgeMs: 0 })
      const seen: unknown[] = []
      const watched = altered(destination, {
        manifest: async (...args) => {
          seen.push(await sweep())
          return await destination.manifest(...args)
        },
      })
      const watchedStore = altered(store, {
        rename: async (...args) => {
          await expect(deleteBackup({ destination, backupId: others.backupId, catalog, force: true })).rejects.toMatchObject({ code: 'backup_protected' })
          // By a process that does not know of the lease: the backup does not hold any more.
          await destination.delete(others.backupId)
          seen.push(await sweep())
          await store.rename(...args)
        },
      })
      await restoreSubtree({ ...others, openTrial, store: watchedStore, destination: watched })
      expect(seen).toMatchObject([{ heldOff: [{ purpose: 'restore' }] }, { heldOff: [{ purpose: 'restore' }] }])
      expect(payloads.ids).toContain('p-garbage')
      await sweep()
      expect(payloads.ids).toEqual([...new Set(await collect(store.payloadIds()))])
      expect(payloads.ids).toContain('p-block-1')
    })

    it('is refused for the backup of another store, unless that is allowed', async () => {
      const setting = await backedUp(stores)
      const other = await stores.openStore()
      await other.createShare('other')
      await expect(restoreSubtree({ ...setting, store: other, toPath: 'other/dir' })).rejects.toMatchObject({ code: 'store_id_mismatch' })
      await restoreSubtree({ ...setting, store: other, toPath: 'other/dir', allowStoreId: true })
      expect(await treeAt(other, 'other/dir')).toEqual(setting.original)
      expect(await checkTree(other)).toEqual([])
    })

    it('goes on where the trial cannot be discarded, and says so', async () => {
      const setting = await backedUp(stores)
      const openTrial = async (): Promise<ReadableTrial> => {
        const trial = await stores.openTrial()
        return altered(trial, { discard: () => trial.discard().then(() => Promise.reject(new Error('Stuck'))) })
      }
      const { warnings } = await restoreSubtree({ ...setting, openTrial, toPath: 's/x' })
      expect(warnings.map(({ message }) => message)).toEqual(['The trial store could not be removed: Stuck'])
      await expect(restoreSubtree({ ...setting, openTrial, toPath: 's/x', path: 's/none' })).rejects.toMatchObject({ code: 'entry_exists' })
      await expect(restoreSubtree({ ...setting, openTrial, toPath: 's/y', path: 's/none' })).rejects.toMatchObject({
        code: 'entry_not_found',
        message: expect.stringMatching(/; the trial store could not be removed: Stuck$/) as unknown,
      })
    })

    it('leaves what it cannot remove to the next one, which removes it or says that it could not', async () => {
      const setting = await backedUp(stores)
      const { store } = setting
      const stuck = altered(store, {
        unlink: () => Promise.reject(new Error('Stuck')),
        rename: () => Promise.reject(new Error('Broken')),
      })
      await expect(restoreSubtree({ ...setting, toPath: 's/x', store: stuck })).rejects.toThrow(/^Broken; the share "\.holdfast-restore-\w+" could not be removed; the next restore of a path removes it: Stuck$/)
      expect((await store.shares()).map(({ name }) => name)).toEqual([expect.stringMatching(/^\.holdfast-restore-/) as unknown, 's', 't'])
      const [{ name: left } = { name: '' }] = await store.shares()
      const unremovable = altered(store, { removeShare: (name) => (name === left ? Promise.reject(new Error('Stuck')) : store.removeShare(name)) })
      const { warnings } = await restoreSubtree({ ...setting, toPath: 's/y', store: unremovable })
      expect(warnings.map(({ message }) => message)).toEqual([`The share "${left}" of another restore could not be removed: Stuck`])
      expect(await treeAt(store, 's/y')).toEqual(setting.original)
      await restoreSubtree({ ...setting, toPath: 's/x' })
      await expectClean(setting)
    })
  })
}

async function allIds({ destination, backupId }: Pick<Setting, 'destination' | 'backupId'>): Promise<readonly string[]> {
  return await collect(decodePayloadIds(destination.open(backupId, 'payload-ids')))
}
