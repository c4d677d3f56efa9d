/** Stores the union of all held payload IDs between sweeps. Losing it costs time only. */
import { createHash, randomUUID } from 'node:crypto'
import { type FileHandle, mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { endianness } from 'node:os'
import { join } from 'node:path'
import type { PayloadIdsName } from '../../contracts/hold-events.ts'
import { isSystemError, nodeFiles, readSmallFile } from '../../util/files.ts'
import { createFile, openWhole, readOpen } from '../../util/open-files.ts'
import { inAction } from '../../util/system-errors.ts'

/** The payload IDs, encoded as in a backup; and a row of bits for each ID, in the same order, with a bit for each set that has the ID. */
export const UNION_PARTS = ['payload-ids', 'rows'] as const
export type UnionPart = (typeof UNION_PARTS)[number]

export interface PartName {
  readonly bytes: number
  readonly sha256: string
}

/** The sets of a union, and the size and checksum of its parts. */
export interface UnionDescription {
  /** The sets, by their bits; `null` where there is none. */
  readonly sets: readonly (PayloadIdsName | null)[]
  /** The number of IDs. */
  readonly count: number
  /** 32-bit words of a row. */
  readonly words: number
  readonly parts: Readonly<Record<UnionPart, PartName>>
}

/** A union that was stored. The reader checks the parts against the description, and closes it. */
export interface StoredUnion {
  readonly description: UnionDescription
  /** Reads a part: the same bytes each time, even if another union is stored meanwhile. */
  read(part: UnionPart): AsyncIterable<Uint8Array>
  close(): Promise<void>
}

export interface UnionDraft {
  /** Appends chunks. The caller must not change them afterwards. */
  write(part: UnionPart, chunks: readonly Uint8Array[]): Promise<void>
  /** Stores what was written, in place of the union before. */
  keep(description: UnionDescription): Promise<StoredUnion>
  /** Removes what was written and not stored. Idempotent. */
  abort(): Promise<void>
}

export interface UnionStore {
  /** Opens the last union; `undefined` where there is none, or its parts are missing or of the wrong size. */
  open(): Promise<StoredUnion | undefined>
  /** Begins a new union. */
  create(): Promise<UnionDraft>
}

/** The version names the byte order, for rows are in that of the machine. */
const VERSION = `1 ${endianness()}`
const DESCRIPTION = 'union.json'
const MAX_DESCRIPTION_BYTES: number = 64 * 1024 * 1024
const ABANDONED_MS: number = 24 * 60 * 60 * 1000
const PRIVATE_DIRECTORY = 0o700

/** A union store of files (0600) in a directory (0700), made when missing. Nothing else may be in it. */
export function directoryUnionStore(directory: string): UnionStore {
  return {
    async open() {
      const description = await readDescription(join(directory, DESCRIPTION))
      return description && (await openParts(directory, description))
    },
    async create() {
      return await keeping(directory, async () => {
        await mkdir(directory, { recursive: true, mode: PRIVATE_DIRECTORY })
        return await DirectoryDraft.create(directory)
      })
    },
  }
}

/** Runs a step of keeping the union; an error of the file system names the directory. */
function keeping<T>(directory: string, run: () => Promise<T>): Promise<T> {
  return inAction(`keep the union of held payload IDs in ${JSON.stringify(directory)}`, run)
}

class DirectoryDraft implements UnionDraft {
  readonly #directory: string
  readonly #stem: string
  readonly #handles: Record<UnionPart, FileHandle>
  #isOver = false

  private constructor(directory: string, stem: string, handles: Record<UnionPart, FileHandle>) {
    this.#directory = directory
    this.#stem = stem
    this.#handles = handles
  }

  static async create(directory: string): Promise<DirectoryDraft> {
    const stem = join(directory, randomUUID())
    const payloadIds = await createFile(`${stem}.payload-ids.tmp`)
    try {
      return new DirectoryDraft(directory, stem, { 'payload-ids': payloadIds, rows: await createFile(`${stem}.rows.tmp`) })
    } catch (error) {
      await payloadIds.close()
      await rm(`${stem}.payload-ids.tmp`, { force: true })
      throw error
    }
  }

  async write(part: UnionPart, chunks: readonly Uint8Array[]): Promise<void> {
    await keeping(this.#directory, async () => {
      const bytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0)
      const { bytesWritten } = await this.#handles[part].writev([...chunks])
      // A short write is rare; writing the rest brings out its reason.
      if (bytesWritten < bytes) await this.#handles[part].writeFile(Buffer.concat(chunks).subarray(bytesWritten))
    })
  }

  async keep(description: UnionDescription): Promise<StoredUnion> {
    return await keeping(this.#directory, () => this.#keep(description))
  }

  async #keep(description: UnionDescription): Promise<StoredUnion> {
    for (const part of UNION_PARTS) await rename(`${this.#stem}.${part}.tmp`, pathOf(this.#directory, part, description))
    const temporary = `${this.#stem}.json.tmp`
    try {
      const handle = await createFile(temporary)
      try {
        await handle.writeFile(formatDescription(description))
      } finally {
        await handle.close()
      }
      await rename(temporary, join(this.#directory, DESCRIPTION))
    } catch (error) {
      await rm(temporary, { force: true })
      throw error
    }
    const kept = new Set([join(this.#directory, DESCRIPTION), ...UNION_PARTS.map((part) => pathOf(this.#directory, part, description))])
    await removeFiles(this.#directory, (path) => !kept.has(path))
    this.#isOver = true
    return new FileUnion(description, this.#handles)
  }

  async abort(): Promise<void> {
    if (this.#isOver) return
    this.#isOver = true
    for (const part of UNION_PARTS) {
      await this.#handles[part].close()
      await rm(`${this.#stem}.${part}.tmp`, { force: true })
    }
  }
}

/** A union in files. They stay open, for another process may replace them meanwhile. */
class FileUnion implements StoredUnion {
  readonly description: UnionDescription
  readonly #handles: Record<UnionPart, FileHandle>

  constructor(description: UnionDescription, handles: Record<UnionPart, FileHandle>) {
    this.description = description
    this.#handles = handles
  }

  read(part: UnionPart): AsyncIterable<Uint8Array> {
    return readOpen(this.#handles[part], this.description.parts[part].bytes)
  }

  async close(): Promise<void> {
    await Promise.all(UNION_PARTS.map((part) => this.#handles[part].close()))
  }
}

async function openParts(directory: string, description: UnionDescription): Promise<StoredUnion | undefined> {
  const payloadIds = await openWhole(pathOf(directory, 'payload-ids', description), description.parts['payload-ids'].bytes)
  if (payloadIds === undefined) return undefined
  const rows = await openWhole(pathOf(directory, 'rows', description), description.parts.rows.bytes)
  if (rows === undefined) await payloadIds.close()
  return rows && new FileUnion(description, { 'payload-ids': payloadIds, rows })
}

function pathOf(directory: string, part: UnionPart, { parts }: UnionDescription): string {
  return join(directory, `${parts[part].sha256}.${part}`)
}

/** Removes old files, and temporary files only if they are a day old: another process may be writing younger ones. */
async function removeFiles(directory: string, isOld: (path: string) => boolean): Promise<void> {
  for (const name of await readdir(directory)) {
    const path = join(directory, name)
    if (!isOld(path)) continue
    const info = await stat(path).catch((error: unknown) => {
      if (!isSystemError(error, 'ENOENT')) throw error
    })
    if (info === undefined || (name.endsWith('.tmp') && Date.now() - info.mtimeMs < ABANDONED_MS)) continue
    await rm(path, { force: true })
  }
}

/** A line of JSON, and a line with its SHA-256: a damaged description would name the wrong sets. */
function formatDescription(description: UnionDescription): string {
  const line = JSON.stringify({ version: VERSION, ...description })
  return `${line}\n${sha256Of(line)}\n`
}

async function readDescription(path: string): Promise<UnionDescription | undefined> {
  try {
    return parseDescription(await readSmallFile(nodeFiles, path, MAX_DESCRIPTION_BYTES))
  } catch (error) {
    if (!isSystemError(error)) throw error
    return undefined
  }
}

function parseDescription(bytes: Buffer | undefined): UnionDescription | undefined {
  const [line = '', check] = bytes?.toString('utf8').split('\n') ?? []
  if (check !== sha256Of(line)) return undefined
  const { version, ...description } = JSON.parse(line) as UnionDescription & { readonly version: unknown }
  return version === VERSION ? description : undefined
}

function sha256Of(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
