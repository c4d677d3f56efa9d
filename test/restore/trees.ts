/** Stores with something in them, and what is in a store as text, so that two can be compared. */
import type { MetadataStore } from '../../src/contracts/metadata-store.ts'
import { dumpStore } from '../support/dump-store.ts'
import { randomFrom } from '../support/seed.ts'

/** Fills an empty store with a share of some directories, files, links, uploads, locks and settings. */
export async function fillStore(store: MetadataStore, { seed, files = 40 }: { readonly seed: number; readonly files?: number }): Promise<void> {
  const random = randomFrom(seed)
  const payloadId = (): string => `sha256-${Math.floor(random() * 1e9).toString(16)}`
  const { root } = await store.createShare(`share-${seed}`, { options: { quota: `${seed}` } })
  let parent = root
  for (let at = 0; at < files; at++) {
    if (at % 10 === 0) parent = (await store.create({ parent: root, name: `directory ${at} ü😀` }, { type: 'directory', mode: 0o750 })).inode
    const size = Math.floor(random() * 1e6)
    const content = at % 3 === 0 ? { blocks: [0, 1].map((offset) => ({ payloadId: payloadId(), offset, bytes: size })) } : { payloadId: payloadId() }
    await store.create({ parent, name: `file ${at}` }, { type: 'file', size, content, uid: at, modifiedAtNs: BigInt(at) })
  }
  await store.create({ parent, name: 'link' }, { type: 'symlink', symlinkTarget: '../elsewhere' })
  await store.putUpload({ uploadId: `upload-${seed}`, parent, name: 'coming', startedAtMs: seed, blocks: [{ payloadId: payloadId(), offset: 0, bytes: 1 }] })
  await store.setSetting('seed', `${seed}`)
}

/** Everything a store holds, as text; equal texts mean equal stores. */
export async function dump(store: MetadataStore): Promise<string> {
  return JSON.stringify(await dumpStore(store), (_, value: unknown) => (typeof value === 'bigint' ? `${value}` : value))
}
