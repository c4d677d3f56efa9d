/** Content, payload references and pending uploads: part of the metadata store's conformance suite. */
import { deepEqual, equal, rejects } from 'node:assert/strict'
import type { Block, Content, InodeNumber, NewInode, PendingUpload, Place } from '../../src/contracts/metadata-store.ts'
import { type RegisterTest, all, refused } from './metadata-fixture.ts'

const MAX = Number.MAX_SAFE_INTEGER

/** IDs whose order a separator or an escape might bend, in order. */
const IN_ORDER: readonly string[] = ['!', '"\\', '/', 'A', 'a', 'a!', 'a/', 'a/b', 'aa', 'ab', 'b'.repeat(255), '~', '~~']

const BAD_CONTENT: readonly Content[] = [
  { payloadId: '' },
  { payloadId: 'a b' },
  { payloadId: 'é' },
  { payloadId: 'x'.repeat(256) },
  { blocks: [{ payloadId: 'a\n', offset: 0, bytes: 1 }] },
  { blocks: [{ payloadId: 'a', offset: -1, bytes: 1 }] },
  { blocks: [{ payloadId: 'a', offset: 0, bytes: 2 ** 53 }] },
  { blocks: [{ payloadId: 'a', offset: 0.5, bytes: 1 }] },
  { payloadID: 'p1' } as unknown as Content,
  { payloadId: 'p1', blocks: [] },
  { blocks: 'p1' } as unknown as Content,
  { blocks: [{ payloadID: 'p1', offset: 0, bytes: 1 }] } as unknown as Content,
]

export function contentTests(test: RegisterTest): void {
  setContentTests(test)
  unknownFieldTests(test)
  uploadTests(test)
  uploadRefusals(test)
}

function setContentTests(test: RegisterTest): void {
  test('create() and setContent() keep a payload ID, and the references follow each change', async ({ store, root }) => {
    const file = await store.create({ parent: root, name: 'a' }, { type: 'file', size: 1, content: { payloadId: 'p1' } })
    deepEqual([file.payloadId, file.blockCount, await all(store.blocks(file.inode))], ['p1', 0, []])
    const changed = await store.setContent(file.inode, { payloadId: 'p2' }, { size: 2, modifiedAtNs: -5n })
    deepEqual([changed.payloadId, changed.size, changed.modifiedAtNs, await store.usedBytes()], ['p2', 2, -5n, 2])
    deepEqual(await store.inode(file.inode), changed)
    deepEqual(await all(store.payloadIds()), ['p2'])
    const emptied = await store.setContent(file.inode, undefined, { size: 0 })
    deepEqual([emptied.payloadId, emptied.blockCount, emptied.modifiedAtNs > 10n ** 18n], [undefined, 0, true])
    deepEqual([await all(store.payloadIds()), await store.usedBytes()], [[], 0])
  })

  test('setContent() keeps block lists of any length in file order', async ({ store, root }) => {
    const { inode } = await store.create({ parent: root, name: 'a' }, { type: 'file' })
    for (const count of [0, 1, 999, 1000, 1001, 2500, 3]) {
      const blocks = Array.from({ length: count }, (_, at) => ({ payloadId: `p${(at * 7) % 1009}`, offset: at, bytes: MAX - at }))
      const changed = await store.setContent(inode, { blocks }, { size: count })
      deepEqual([changed.blockCount, changed.payloadId], [count, undefined])
      deepEqual(await all(store.blocks(inode)), blocks)
      deepEqual(await all(store.payloadIds()), [...new Set(blocks.map((block) => block.payloadId))].toSorted())
    }
  })

  test('setContent() turns a payload into blocks and back', async ({ store, root }) => {
    const blocks = [block('b'), block('a'), block('b')]
    const { inode } = await store.create({ parent: root, name: 'a' }, { type: 'file', content: { payloadId: 'b' } })
    equal((await store.setContent(inode, { blocks }, { size: 3 })).payloadId, undefined)
    deepEqual([await all(store.blocks(inode)), await all(store.payloadIds())], [blocks, ['a', 'b']])
    equal((await store.setContent(inode, { payloadId: 'a' }, { size: 3 })).blockCount, 0)
    deepEqual([await all(store.blocks(inode)), await all(store.payloadIds())], [[], ['a']])
  })

  test('a payload is referred to until the last file and upload with it are gone', async ({ store, root }) => {
    await store.create({ parent: root, name: 'a' }, { type: 'file', content: { payloadId: 'p' } })
    await store.create({ parent: root, name: 'b' }, { type: 'file', content: { blocks: [block('p'), block('p')] } })
    await store.putUpload(upload(root, { blocks: [block('p')] }))
    await store.unlink({ parent: root, name: 'a' })
    deepEqual(await all(store.payloadIds()), ['p'])
    await store.unlink({ parent: root, name: 'b' })
    deepEqual(await all(store.payloadIds()), ['p'])
    await store.removeUpload('upload')
    deepEqual(await all(store.payloadIds()), [])
  })

  test('payloadIds() gives every ID once, in order of its characters', async ({ store, root }) => {
    for (const [at, payloadId] of IN_ORDER.toReversed().entries()) {
      await store.create({ parent: root, name: `one-${at}` }, { type: 'file', content: { payloadId } })
      await store.create({ parent: root, name: `two-${at}` }, { type: 'file', content: { blocks: [block(payloadId)] } })
    }
    deepEqual(await all(store.payloadIds()), IN_ORDER)
    for (const [at, payloadId] of IN_ORDER.toReversed().entries()) {
      equal((await store.lookup({ parent: root, name: `one-${at}` }))?.payloadId, payloadId)
    }
  })

  test('payloadIds() and blocks() may be left early', async ({ store, root }) => {
    const { inode } = await store.create({ parent: root, name: 'a' }, { type: 'file', content: { blocks: [block('a'), block('b')] } })
    for await (const payloadId of store.payloadIds()) {
      equal(payloadId, 'a')
      break
    }
    for await (const first of store.blocks(inode)) {
      equal(first.payloadId, 'a')
      break
    }
  })

  test('setContent() and blocks() refuse an inode that is not a file, and bad content', async ({ store, root }) => {
    const link = await store.create({ parent: root, name: 'link' }, { type: 'symlink', symlinkTarget: 'x' })
    const file = await store.create({ parent: root, name: 'file' }, { type: 'file', size: 4, content: { payloadId: 'p' } })
    const none = file.inode + 1
    const cases = [[root, 'is_a_directory'], [link.inode, 'invalid_argument'], [none, 'entry_not_found']] as const
    for (const [inode, code] of cases) {
      await refused(store.setContent(inode, undefined, { size: 0 }), code)
      await refused(all(store.blocks(inode)), code)
    }
    for (const content of BAD_CONTENT) {
      await refused(store.setContent(file.inode, content, { size: 1 }), 'invalid_argument')
      await refused(store.create({ parent: root, name: 'b' }, { type: 'file', content }), 'invalid_argument')
    }
    for (const size of [-1, 0.5, 2 ** 53]) await refused(store.setContent(file.inode, undefined, { size }), 'invalid_argument')
    await refused(store.setContent(file.inode, undefined, { size: 0, modifiedAtNs: 2n ** 63n }), 'invalid_argument')
    deepEqual(await store.inode(file.inode), file)
  })
}

function unknownFieldTests(test: RegisterTest): void {
  test('every writing call refuses fields that it does not know, and changes nothing', async ({ store, root }) => {
    const lock = { inode: 0, owner: 'o', kind: 'exclusive', start: 0, end: undefined } as const
    const [place, none] = [{ parent: root, name: 'a' }, { parent: root, name: 'b' }]
    const file = await store.create(place, { type: 'file', size: 3, content: { payloadId: 'p' } })
    await store.putUpload(upload(root))
    // In variables: the compiler does not look for unknown fields there.
    const [misspelled, misplaced] = [{ contnet: { payloadId: 'p1' } }, { payloadId: 'p1' }]
    const calls: readonly (readonly [call: string, field: string, made: Promise<unknown>])[] = [
      ['create', 'contnet', store.create(none, { type: 'file', size: 3, ...misspelled })],
      ['create', 'payloadId', store.create(none, { type: 'file', ...misplaced })],
      ['setAttributes', 'payloadId', store.setAttributes(file.inode, { size: 4, ...misplaced })],
      ['setContent', 'contnet', store.setContent(file.inode, undefined, { size: 0, ...misspelled })],
      ['createShare', 'payloadId', store.createShare('other', { options: {}, ...misplaced })],
      ['createShare', 'contnet', store.createShare('other', { root: { mode: 0, ...misspelled } })],
      ['rename', 'payloadId', store.rename(place, none, { existing: 'refuse', ...misplaced })],
      ['putUpload', 'payloadId', store.putUpload({ ...upload(root), uploadId: 'other', ...misplaced })],
      ['completeUpload', 'payloadId', store.completeUpload('upload', { mode: 0, ...misplaced })],
      ['lock', 'payloadId', store.lock({ ...lock, inode: file.inode, ...misplaced })],
      ['unlock', 'payloadId', store.unlock({ ...lock, inode: file.inode, ...misplaced })],
      ['readDirectory', 'payloadId', store.readDirectory(root, { limit: 1, ...misplaced })],
    ]
    for (const [call, field, made] of calls) {
      await rejects(made, (error: Error) => error.message.startsWith(`Cannot call ${call}(): it has no option "${field}"; known are `))
    }
    deepEqual(await store.lookup(place), file)
    equal(await store.lookup(none), undefined)
    equal(await store.share('other'), undefined)
    deepEqual((await all(store.uploads())).map(({ uploadId }) => uploadId), ['upload'])
    deepEqual(await store.locks(file.inode), [])
  })

  test('a missing name, place or number is named', async ({ store, root }) => {
    const make = (place: unknown): Promise<unknown> => store.create(place as Place, { type: 'file' })
    await rejects(store.createShare(undefined as unknown as string), /: the share name is missing$/)
    await rejects(make({ name: 'a' }), /: the parent is missing$/)
    await rejects(make({ parent: root }), /: the name is missing$/)
    await rejects(make(undefined), /: the place is missing$/)
    await rejects(store.create({ parent: root, name: 'a' }, undefined as unknown as NewInode), /"inode" is missing; it must be an object$/)
  })
}

function uploadTests(test: RegisterTest): void {
  test('putUpload() starts and replaces; uploads() lists', async ({ store, root }) => {
    const first = upload(root, { blocks: [block('a'), block('b')] })
    const other = upload(root, { uploadId: 'über %~/'.replace('/', ''), name: 'é"', startedAtMs: -1, blocks: [] })
    await store.putUpload(first)
    await store.putUpload(other)
    deepEqual(byId(await all(store.uploads())), byId([first, other]))
    const longer = upload(root, { name: 'renamed', blocks: Array.from({ length: 1500 }, (_, at) => block(`n${at}`)) })
    await store.putUpload(longer)
    deepEqual(byId(await all(store.uploads())), byId([longer, other]))
    equal((await all(store.payloadIds())).length, 1500)
    await store.putUpload(first)
    deepEqual(await all(store.payloadIds()), ['a', 'b'])
    equal(await store.lookup({ parent: root, name: 'file' }), undefined)
  })

  test('completeUpload() makes the file with its blocks in one step, sized as they are', async ({ store, root }) => {
    const blocks = [block('a', 10), block('b', 5), block('a', 1)]
    await store.putUpload(upload(root, { blocks }))
    const file = await store.completeUpload('upload', { mode: 0o600, uid: 9 })
    deepEqual([file.type, file.size, file.mode, file.uid, file.blockCount], ['file', 16, 0o600, 9, 3])
    deepEqual(await store.lookup({ parent: root, name: 'file' }), file)
    deepEqual([await all(store.blocks(file.inode)), await all(store.uploads()), await store.usedBytes()], [blocks, [], 16])
    deepEqual(await all(store.payloadIds()), ['a', 'b'])
    await refused(store.completeUpload('upload'), 'entry_not_found')
  })

  test('completeUpload() takes a given size, and makes an empty file of no blocks', async ({ store, root }) => {
    await store.putUpload(upload(root, { blocks: [block('a', 10)] }))
    equal((await store.completeUpload('upload', { size: 7 })).size, 7)
    await store.putUpload(upload(root, { name: 'empty', blocks: [] }))
    const file = await store.completeUpload('upload')
    deepEqual([file.size, file.blockCount, file.payloadId], [0, 0, undefined])
  })

  test('removeUpload() lets go of its payloads', async ({ store, root }) => {
    await store.putUpload(upload(root, { blocks: [block('a')] }))
    await store.removeUpload('upload')
    deepEqual([await all(store.uploads()), await all(store.payloadIds())], [[], []])
    await refused(store.removeUpload('upload'), 'entry_not_found')
  })
}

function uploadRefusals(test: RegisterTest): void {
  test('completeUpload() replaces no entry: the upload stays as it was', async ({ store, root }) => {
    const waiting = upload(root, { blocks: [block('a')] })
    await store.putUpload(waiting)
    const { inode } = await store.create({ parent: root, name: 'file' }, { type: 'file' })
    await refused(store.completeUpload('upload'), 'entry_exists')
    deepEqual([await all(store.uploads()), (await store.lookup({ parent: root, name: 'file' }))?.inode], [[waiting], inode])
    await store.rename({ parent: root, name: 'file' }, { parent: root, name: 'other' })
    equal((await store.completeUpload('upload')).blockCount, 1)
  })

  test('completeUpload() into a directory that has gone is refused with entry_not_found', async ({ store, root }) => {
    const { inode } = await store.create({ parent: root, name: 'a' }, { type: 'directory' })
    await store.putUpload(upload(inode, { blocks: [block('a')] }))
    await store.unlink({ parent: root, name: 'a' })
    await refused(store.completeUpload('upload'), 'entry_not_found')
    equal((await all(store.uploads())).length, 1)
  })

  test('putUpload() refuses a parent that is not a directory, and bad IDs, blocks and sums', async ({ store, root }) => {
    const { inode } = await store.create({ parent: root, name: 'a' }, { type: 'file' })
    await refused(store.putUpload(upload(inode)), 'not_a_directory')
    await refused(store.putUpload(upload(inode + 1)), 'entry_not_found')
    for (const uploadId of ['', '..', 'a/b', 'a\0', '\udc00', 'x'.repeat(256)]) await refused(store.putUpload(upload(root, { uploadId })), 'invalid_argument')
    await refused(store.putUpload(upload(root, { startedAtMs: 0.5 })), 'invalid_argument')
    await refused(store.putUpload(upload(root, { blocks: [block('a b')] })), 'invalid_argument')
    deepEqual(await all(store.uploads()), [])
    await store.putUpload(upload(root, { blocks: [block('a', MAX), block('b', MAX)] }))
    await refused(store.completeUpload('upload'), 'invalid_argument')
    equal((await all(store.uploads())).length, 1)
  })
}

function block(payloadId: string, bytes: number = 1): Block {
  return { payloadId, offset: 0, bytes }
}

function upload(parent: InodeNumber, changes: Partial<PendingUpload> = {}): PendingUpload {
  return { uploadId: 'upload', parent, name: 'file', startedAtMs: 1_700_000_000_000, blocks: [], ...changes }
}

function byId(uploads: readonly PendingUpload[]): PendingUpload[] {
  return uploads.toSorted((a, b) => (a.uploadId < b.uploadId ? -1 : 1))
}
