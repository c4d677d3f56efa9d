/** Copies of payload ID sets on local disk, named by their SHA-256, so that a sweep fetches each only once. */
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { PayloadIdsName } from '../../contracts/hold-events.ts'
import { checkNumber } from '../../util/check-number.ts'
import { checkedBytes } from '../../util/checked-bytes.ts'
import { ChecksumMismatchError } from '../../errors/errors.ts'
import { openWhole, readOpen, writeAside } from '../../util/open-files.ts'
import { nodeFiles } from '../../util/files.ts'
import { makeDirectories } from '../../util/make-directories.ts'
import { inAction } from '../../util/system-errors.ts'

/** An open set. The caller closes it. */
export interface StoredSet {
  /** Reads the set: the same bytes each time, even if the copy is replaced meanwhile. */
  read(): AsyncIterable<Uint8Array>
  close(): Promise<void>
}

export interface PayloadIdsCache {
  /** Opens a set; `undefined` where there is no copy. The caller checks it against its name. */
  get(name: PayloadIdsName): Promise<StoredSet | undefined>
  /** Keeps a set after its bytes were checked against the name. Rejects with `checksum_mismatch`, and with what the source rejects with. */
  put(name: PayloadIdsName, source: AsyncIterable<Uint8Array>): Promise<void>
  /** Forgets a set that was found to be damaged. */
  drop(name: PayloadIdsName): Promise<void>
  /** Forgets all sets but these, and those that were used within the last hour: a new lease may hold them. */
  retain(names: readonly PayloadIdsName[]): Promise<void>
}

export interface DirectoryCacheOptions {
  /** Made when missing. Nothing else may be in it. */
  readonly directory: string
  /** The most bytes to keep; the least recently used sets go first. @default 4 GiB */
  readonly maxBytes?: number | undefined
}

const MAX_BYTES: number = 4 * 1024 ** 3
const SUFFIX = '.payload-ids'
const HOUR_MS: number = 60 * 60 * 1000
let temporaries = 0

/** A cache of files (0600) in a directory (0700). Losing any of it costs time only. */
export function directoryCache({ directory, maxBytes = MAX_BYTES }: DirectoryCacheOptions): PayloadIdsCache {
  checkNumber('maxBytes', maxBytes, { least: 0, most: Infinity })
  const pathOf = ({ sha256 }: PayloadIdsName): string => join(directory, `${sha256}${SUFFIX}`)
  return {
    async get(name) {
      const handle = await openWhole(pathOf(name), name.bytes)
      if (handle === undefined) return undefined
      const now = new Date()
      // A failure only spoils the order of eviction.
      await handle.utimes(now, now).catch(() => undefined)
      return { read: () => readOpen(handle, name.bytes), close: () => handle.close() }
    },
    async put(name, source) {
      temporaries += 1
      const temporary = join(directory, `${name.sha256}.${process.pid}-${temporaries}.tmp`)
      await inAction(`keep a set of payload IDs in ${JSON.stringify(directory)}`, async () => {
        await makeDirectories(directory)
        await writeAside({ temporary, path: pathOf(name) }, async (handle) => {
          for await (const chunk of checkedPayloadIds(name, source)) await handle.writeFile(chunk)
        })
        await evict(directory, maxBytes, pathOf(name))
      })
    },
    async drop(name) {
      await rm(pathOf(name), { force: true })
    },
    async retain(names) {
      const kept = new Set(names.map(pathOf))
      for (const { path, usedAtMs } of await filesIn(directory)) if (!kept.has(path) && Date.now() - usedAtMs > HOUR_MS) await rm(path, { force: true })
    },
  }
}

/** Yields the bytes of a set. Fails with `checksum_mismatch` when they are not those of its name. */
export function checkedPayloadIds(name: PayloadIdsName, source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  return checkedBytes(source, name, ({ bytes, sha256 }) => {
    const many = bytes > name.bytes ? `more than ${name.bytes} bytes` : `${bytes} bytes of SHA-256 ${sha256}`
    return new ChecksumMismatchError(`Cannot use a set of payload IDs: it has ${many}, not ${name.bytes} of ${name.sha256}`, {
      details: { expected: name, actual: { bytes, sha256 } },
    })
  })
}

interface CachedFile {
  readonly path: string
  readonly bytes: number
  readonly usedAtMs: number
}

/** The files of sets. Removes temporary files of a process that died. */
async function filesIn(directory: string): Promise<readonly CachedFile[]> {
  if ((await nodeFiles.info(directory)) === undefined) return []
  const files: CachedFile[] = []
  for (const name of await readdir(directory)) {
    const path = join(directory, name)
    const info = await nodeFiles.info(path)
    if (info === undefined) continue
    const isAbandoned = name.endsWith('.tmp') && Date.now() - info.modifiedAtMs > 24 * HOUR_MS
    if (isAbandoned) await rm(path, { force: true })
    else if (name.endsWith(SUFFIX)) files.push({ path, bytes: info.bytes, usedAtMs: info.modifiedAtMs })
  }
  return files
}

/** Removes the least recently used sets until the rest is small enough. */
async function evict(directory: string, maxBytes: number, keep: string): Promise<void> {
  const entries = await filesIn(directory)
  let total = entries.reduce((sum, { bytes }) => sum + bytes, 0)
  for (const { path, bytes } of entries.toSorted((left, right) => left.usedAtMs - right.usedAtMs)) {
    if (total <= maxBytes) return
    if (path === keep) continue
    await rm(path, { force: true })
    total -= bytes
  }
}
