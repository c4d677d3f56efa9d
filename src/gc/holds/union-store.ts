/** Stores the union of all held payload IDs between sweeps. Losing it costs time only. */
import { randomUUID } from 'node:crypto'
import { type FileHandle, readdir, rm } from 'node:fs/promises'
import { endianness } from 'node:os'
import { join } from 'node:path'
import type { PayloadIdsName } from '../../contracts/hold-events.ts'
import { sha256Of } from '../../util/checked-bytes.ts'
import { isSystemError, nodeFiles, readSmallFile } from '../../util/files.ts'
import { makeDirectories } from '../../util/make-directories.ts'
import { createFile, openWhole, readOpen, renameFile, writeAside } from '../../util/open-files.ts'
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
  create(): Promise<UnionDraft>
}

/** The version names the byte order, for rows are in that of the machine. */
const VERSION = `1 ${endianness()}`
const DESCRIPTION = 'union.json'
const MAX_DESCRIPTION_BYTES: number = 64 * 1024 * 1024
const ABANDONED_MS: number = 24 * 60 * 60 * 1000

/** A union store of files (0600) in a directory (0700), made when missing. Nothing else may be in it. */
export function directoryUnionStore(directory: string): UnionStore {
  return {
    async open() {
      const description = await readDescription(join(directory, DESCRIPTION))
      return description && (await openParts(directory, description))
    },
    async create() {
      return await keeping(directory, async () => {
        await makeDirectories(directory)
        return await createDraft(directory)
      })
    },
  }
}

/** Runs a step of keeping the union; an error of the file system names the directory. */
function keeping<T>(directory: string, run: () => Promise<T>): Promise<T> {
  return inAction(`keep the union of held payload IDs in ${JSON.stringify(directory)}`, run)
}

type Handles = Readonly<Record<UnionPart, FileHandle>>

async function createDraft(directory: string): Promise<UnionDraft> {
  const stem = join(directory, randomUUID())
  const payloadIds = await createFile(`${stem}.payload-ids.tmp`)
  const rows = await createFile(`${stem}.rows.tmp`).catch(async (error: unknown) => {
    await payloadIds.close()
    await rm(`${stem}.payload-ids.tmp`, { force: true })
    throw error
  })
  const handles: Handles = { 'payload-ids': payloadIds, rows }
  let isOver = false
  return {
    write: (part, chunks) =>
      keeping(directory, async () => {
        const bytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0)
        const { bytesWritten } = await handles[part].writev([...chunks])
        // A short write is rare; writing the rest brings out its reason.
        if (bytesWritten < bytes) await handles[part].writeFile(Buffer.concat(chunks).subarray(bytesWritten))
      }),
    keep: (description) =>
      keeping(directory, async () => {
        for (const part of UNION_PARTS) {
          await renameFile(await handles[part].stat(), { from: `${stem}.${part}.tmp`, to: pathOf(directory, part, description) })
        }
        const path = join(directory, DESCRIPTION)
        await writeAside({ temporary: `${stem}.json.tmp`, path }, (handle) => handle.writeFile(formatDescription(description)))
        const kept = new Set([path, ...UNION_PARTS.map((part) => pathOf(directory, part, description))])
        await removeFiles(directory, (found) => !kept.has(found))
        isOver = true
        return storedUnion(description, handles)
      }),
    async abort() {
      if (isOver) return
      isOver = true
      for (const part of UNION_PARTS) {
        await handles[part].close()
        await rm(`${stem}.${part}.tmp`, { force: true })
      }
    },
  }
}

/** A union in files. They stay open, for another process may replace them meanwhile. */
function storedUnion(description: UnionDescription, handles: Handles): StoredUnion {
  return {
    description,
    read: (part) => readOpen(handles[part], description.parts[part].bytes),
    close: async () => void (await Promise.all(UNION_PARTS.map((part) => handles[part].close()))),
  }
}

async function openParts(directory: string, description: UnionDescription): Promise<StoredUnion | undefined> {
  const payloadIds = await openWhole(pathOf(directory, 'payload-ids', description), description.parts['payload-ids'].bytes)
  if (payloadIds === undefined) return undefined
  const rows = await openWhole(pathOf(directory, 'rows', description), description.parts.rows.bytes)
  if (rows === undefined) await payloadIds.close()
  return rows && storedUnion(description, { 'payload-ids': payloadIds, rows })
}

function pathOf(directory: string, part: UnionPart, { parts }: UnionDescription): string {
  return join(directory, `${parts[part].sha256}.${part}`)
}

/** Removes old files, and temporary files only if they are a day old: another process may be writing younger ones. */
async function removeFiles(directory: string, isOld: (path: string) => boolean): Promise<void> {
  for (const name of await readdir(directory)) {
    const path = join(directory, name)
    if (!isOld(path)) continue
    const info = await nodeFiles.info(path)
    if (info === undefined || (name.endsWith('.tmp') && Date.now() - info.modifiedAtMs < ABANDONED_MS)) continue
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
