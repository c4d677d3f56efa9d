/**
 * Payloads as files in a directory, named by their content: payload `abcdef...` is the file `ab/cdef...`. A file never changes its content,
 * so an existing payload is not written again.
 */
import { createHash, randomUUID } from 'node:crypto'
import { join, resolve } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { BackupIncompleteError, ChecksumMismatchError, InvalidArgumentError, MetadataError } from '../../errors/errors.ts'
import { LIST_PAYLOADS_OPTIONS, SIGNAL_OPTION } from '../../contracts/checked-calls.ts'
import type { PayloadStoreOptions, KnownUser, PayloadUser, StoredPayload, WritablePayloadStore } from '../../contracts/payload-store.ts'
import { FILES, type Files, isSystemError, nodeFiles, removeIfThere, syncIfPossible, writeByRename } from '../../util/files.ts'
import { type NotedWarning, NotedWarnings } from '../../util/noted-warnings.ts'
import { BOOLEAN, FUNCTION, type Kind, type OptionKinds, STRING, checkArgument, checkOptions, optional, shownText } from '../../util/check-options.ts'
import { asHoldfastError, inAction } from '../../util/system-errors.ts'
import { plural } from '../../util/text.ts'
import { addUser, readUsers } from './payload-users.ts'

const PAYLOAD_ID = /^[0-9a-f]{64}$/
const DIRECTORY = /^[0-9a-f]{2}$/
const LISTED_AT_ONCE = 64
/** The number of deletions between two calls of `beforeDelete`. */
const DELETED_AT_ONCE = 64
/** The most bytes of one read; a payload of an import has no more. */
const MAX_READ_BYTES: number = 4 * 1024 * 1024
/** What opening a link, a FIFO, a directory or a socket fails with. */
const NOT_A_FILE = ['EINVAL', 'ELOOP', 'EISDIR', 'ENXIO'] as const
/** What setting a time fails with where that cannot be done: the file has gone or is another user's, or the file system sets no times. */
const NO_NEW_TIME = ['ENOENT', 'EPERM', 'EACCES', 'ENOTSUP', 'ENOSYS', 'EINVAL'] as const
const TEMPORARY = /^[0-9a-f]{62}\.[0-9a-f-]{36}\.tmp$/
/** The most time that a new time needs to differ from the last: FAT has a time every 2 s. */
const RENEWED_WITHIN_MS = 3000
/** The age at which a temporary file is a leftover: a running import writes one in a single go. */
const GRACE_MS: number = 24 * 60 * 60 * 1000

/** The payload ID of bytes: their SHA-256, in lower-case hex. */
export function payloadIdOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

export interface PayloadDirectoryOptions {
  /** Whether to create a missing directory. @default false */
  readonly create?: boolean | undefined
  /** The file system. @default the real one */
  readonly files?: Files | undefined
  /** Called before each batch of deletions; a rejection ends them. @default none */
  readonly beforeDelete?: (() => Promise<void>) | undefined
}

const ARRAY: Kind = { what: 'an array', fits: Array.isArray }
const OPTIONS: OptionKinds<PayloadDirectoryOptions> = { create: optional(BOOLEAN), files: optional(FILES), beforeDelete: optional(FUNCTION) }

/**
 * A payload store in a directory. A payload is written once, durably, and renewed when put again; `sync` makes the names durable. The
 * directory records the stores that use it, so that a sweep for one store does not delete payloads of another.
 */
export class PayloadDirectory implements WritablePayloadStore {
  readonly path: string
  readonly #files: Files
  readonly #beforeDelete: () => Promise<void>
  /** Payloads being written, so that equal blocks are written once. */
  readonly #writing = new Map<string, Promise<boolean>>()
  /** Payloads being deleted; a write of the same payload waits. */
  readonly #deleting = new Map<string, Promise<boolean>>()
  readonly #directories = new Map<string, Promise<void>>()
  readonly #warnings = new NotedWarnings()
  /** Whether the file system is known to ignore new times. */
  #ignoresTimes = false
  #undeleted = 0
  #firstUndeleted: { readonly payloadId: string; readonly error: unknown } | undefined

  private constructor(path: string, files: Files, beforeDelete: () => Promise<void>) {
    this.path = path
    this.#files = files
    this.#beforeDelete = beforeDelete
  }

  /** Opens a payload directory; rejects with `entry_not_found` when it is missing and `create` is not set. */
  static async open(path: string, options: PayloadDirectoryOptions = {}): Promise<PayloadDirectory> {
    checkArgument('PayloadDirectory.open', path, { name: 'path', kind: STRING })
    checkOptions('PayloadDirectory.open', options, OPTIONS)
    const { create = false, files = nodeFiles, beforeDelete = async () => {} } = options
    const info = await files.info(path)
    if (info === undefined) {
      if (!create) {
        throw new MetadataError('entry_not_found', `Cannot open the payloads in ${JSON.stringify(path)}: there is no such directory`, {
          hint: 'Name the directory that "import" or the server writes the payloads to',
        })
      }
      await files.makeDirectory(path)
    } else if (info.type !== 'directory') {
      throw new MetadataError('not_a_directory', `Cannot open the payloads in ${JSON.stringify(path)}: it is not a directory`, {
        hint: 'Name the directory itself, not a link to it',
      })
    }
    return new PayloadDirectory(path, files, beforeDelete)
  }

  get url(): string {
    return `file:${resolve(this.path)}`
  }

  async *list(options: PayloadStoreOptions & { readonly after?: string | undefined } = {}): AsyncGenerator<readonly StoredPayload[], void, undefined> {
    checkOptions('list', options, LIST_PAYLOADS_OPTIONS)
    const { after = '', signal } = options
    for (const directory of (await this.#namesIn(this.path)).filter((name) => DIRECTORY.test(name) && name >= after.slice(0, 2))) {
      const names = await this.#namesIn(join(this.path, directory))
      const payloadIds = names.map((name) => directory + name).filter((payloadId) => PAYLOAD_ID.test(payloadId) && payloadId > after)
      for (let from = 0; from < payloadIds.length; from += LISTED_AT_ONCE) {
        signal?.throwIfAborted()
        const found = await Promise.all(payloadIds.slice(from, from + LISTED_AT_ONCE).map((payloadId) => this.#stored(payloadId)))
        yield found.filter((payload) => payload !== undefined)
      }
    }
  }

  async #namesIn(directory: string): Promise<readonly string[]> {
    return await inAction(`list ${JSON.stringify(directory)}`, () => this.#files.list(directory))
  }

  async exists(payloadIds: readonly string[], options: PayloadStoreOptions = {}): Promise<readonly boolean[]> {
    checkArgument('exists', payloadIds, { name: 'payloadIds', kind: ARRAY })
    checkOptions('exists', options, SIGNAL_OPTION)
    options.signal?.throwIfAborted()
    return await Promise.all(payloadIds.map(async (payloadId) => (await this.#stored(payloadId)) !== undefined))
  }

  /**
   * Deletes unchanged payloads. A payload that the file system cannot delete is skipped; `checkDeleted` reports it.
   *
   * A payload that this handle writes or renews at the same time stays. Other processes must be kept off by the store's lock or guard, and
   * `beforeDelete`: they could renew a file unseen between its check and its removal.
   */
  async deleteUnchanged(payloads: readonly StoredPayload[], options: PayloadStoreOptions = {}): Promise<readonly string[]> {
    checkArgument('deleteUnchanged', payloads, { name: 'payloads', kind: ARRAY })
    checkOptions('deleteUnchanged', options, SIGNAL_OPTION)
    const deleted: string[] = []
    for (const [index, payload] of payloads.entries()) {
      options.signal?.throwIfAborted()
      if (index % DELETED_AT_ONCE === 0) await this.#beforeDelete()
      try {
        if (await this.#delete(payload)) deleted.push(payload.payloadId)
      } catch (error) {
        if (!isSystemError(error)) throw error
        this.#undeleted += 1
        this.#firstUndeleted ??= { payloadId: payload.payloadId, error }
      }
    }
    return deleted
  }

  /** Deletes one payload unless it was changed or is being changed. */
  async #delete({ payloadId, version }: StoredPayload): Promise<boolean> {
    for (let writing = this.#writing.get(payloadId); writing !== undefined; writing = this.#writing.get(payloadId)) await writing.catch(() => undefined)
    const deleting = (async () => {
      if ((await this.#stored(payloadId))?.version !== version) return false
      await removeIfThere(this.#files, this.#pathOf(payloadId))
      return true
    })()
    this.#deleting.set(payloadId, deleting)
    return await deleting.finally(() => this.#deleting.delete(payloadId))
  }

  checkDeleted(): void {
    if (this.#firstUndeleted === undefined) return
    const { payloadId, error } = this.#firstUndeleted
    throw asHoldfastError(
      error,
      `delete ${plural(this.#undeleted, 'payload')} that nothing needs, the first of them ${JSON.stringify(this.#pathOf(payloadId))}`,
    )
  }

  async removeAbandoned(): Promise<void> {
    for (const directory of (await this.#files.list(this.path)).filter((name) => DIRECTORY.test(name))) {
      for (const name of (await this.#files.list(join(this.path, directory))).filter((found) => TEMPORARY.test(found))) {
        const temporary = join(this.path, directory, name)
        const info = await this.#files.info(temporary)
        if (info?.type !== 'file' || Date.now() - info.modifiedAtMs < GRACE_MS) continue
        await removeIfThere(this.#files, temporary)
      }
    }
  }

  async addUser(user: PayloadUser): Promise<void> {
    await addUser(this.#files, this.path, user)
  }

  /** The stores that use this directory. Rejects with `hold_unavailable`. */
  async users(): Promise<readonly KnownUser[]> {
    return await readUsers(this.#files, this.path)
  }

  async otherUser({ storeId, place }: PayloadUser): Promise<KnownUser | undefined> {
    return (await this.users()).find((user) => user.storeId !== storeId || (user.place ?? place) !== place)
  }

  /** A payload as it is listed; `undefined` for a missing one and for a malformed ID. */
  async #stored(payloadId: string): Promise<StoredPayload | undefined> {
    if (!PAYLOAD_ID.test(payloadId)) return undefined
    const info = await this.#files.info(this.#pathOf(payloadId))
    if (info?.type !== 'file') return undefined
    return { payloadId, version: `${info.modifiedAtMs}-${info.bytes}`, bytes: info.bytes, ageMs: Date.now() - info.modifiedAtMs }
  }

  put(payloadId: string, bytes: Uint8Array): Promise<boolean> {
    const known = this.#writing.get(payloadId)
    if (known !== undefined) return known.then(() => false)
    const deleting = this.#deleting.get(payloadId)
    const writing = deleting === undefined ? this.#write(payloadId, bytes) : deleting.catch(() => undefined).then(() => this.#write(payloadId, bytes))
    this.#writing.set(payloadId, writing)
    // Once written, the file itself shows that the payload is there.
    return writing.finally(() => this.#writing.delete(payloadId))
  }

  async sync(): Promise<void> {
    for (const directory of this.#directories.keys()) await this.#sync(join(this.path, directory))
    await this.#sync(this.path)
  }

  takeWarnings(): readonly NotedWarning[] {
    return this.#warnings.take()
  }

  async #sync(directory: string): Promise<void> {
    if (await inAction(`sync ${JSON.stringify(directory)}`, () => syncIfPossible(this.#files, directory))) return
    this.#warnings.lacks({
      code: 'directories_not_synced',
      message: `The file system of "${this.path}" cannot sync directories: a crash of the machine may take back the last payloads`,
    })
  }

  async read(payloadId: string): Promise<Uint8Array> {
    const path = this.#pathOf(payloadId)
    const bytes = await readWhole(this.#files, path).catch((error: unknown) => {
      const state = isSystemError(error, 'ENOENT') ? 'is missing' : isSystemError(error, ...NOT_A_FILE) ? 'is not a regular file' : undefined
      if (state === undefined) throw asHoldfastError(error, `read payload "${payloadId}" from ${JSON.stringify(path)}`)
      throw new BackupIncompleteError(`Cannot read payload "${payloadId}": ${JSON.stringify(path)} ${state}`, {
        cause: error,
        hint: 'Name the directory that the payloads were imported into; if this is the right one, the payload is lost',
        details: { payloadId },
      })
    })
    const actual = payloadIdOf(bytes)
    if (actual !== payloadId) {
      throw new ChecksumMismatchError(`Cannot use payload "${payloadId}": the SHA-256 of its file is ${actual}`, {
        hint: 'The payload file is damaged; check the storage under the payload directory',
        details: { payloadId, actual },
      })
    }
    return bytes
  }

  async #write(payloadId: string, bytes: Uint8Array): Promise<boolean> {
    const path = this.#pathOf(payloadId)
    return await inAction(`write payload ${JSON.stringify(path)}`, () => this.#writeTo(path, payloadId, bytes))
  }

  async #writeTo(path: string, payloadId: string, bytes: Uint8Array): Promise<boolean> {
    const existing = await this.#files.info(path)
    if (existing?.type === 'file' && existing.bytes === bytes.byteLength && (await this.#renew(path, existing.modifiedAtMs))) return false
    await this.#ensureDirectory(payloadId.slice(0, 2))
    // A random name, not a process ID: in a container the next process may have the same ID as a killed one.
    await writeByRename(this.#files, { temporary: `${path}.${randomUUID()}.tmp`, path }, bytes)
    return true
  }

  /** Gives a file another version. Resolves with whether it did: not where the file has gone, or its new time is refused or ignored. */
  async #renew(path: string, modifiedAtMs: number): Promise<boolean> {
    const endMs = performance.now() + RENEWED_WITHIN_MS
    try {
      while (!this.#ignoresTimes) {
        await this.#files.renewFile(path)
        const renewed = await this.#files.info(path)
        if (renewed?.modifiedAtMs !== modifiedAtMs) return renewed !== undefined
        this.#ignoresTimes ||= performance.now() > endMs
        // Within the millisecond of the last write, the version would be the same.
        await setTimeout(1)
      }
      return false
    } catch (error) {
      if (!isSystemError(error, ...NO_NEW_TIME)) throw error
      return false
    }
  }

  #ensureDirectory(name: string): Promise<void> {
    const known = this.#directories.get(name)
    if (known !== undefined) return known
    const making = this.#makeDirectory(join(this.path, name))
    this.#directories.set(name, making)
    return making
  }

  async #makeDirectory(path: string): Promise<void> {
    try {
      await this.#files.makeDirectory(path)
    } catch (error) {
      if (!isSystemError(error, 'EEXIST')) throw error
      return
    }
    if ((((await this.#files.info(path))?.mode ?? 0) & 0o077) === 0) return
    this.#warnings.lacks({ code: 'permissions_not_kept', message: `The file system of "${this.path}" does not keep permissions: how it is mounted decides which users can read payloads` })
  }

  #pathOf(payloadId: string): string {
    if (!PAYLOAD_ID.test(payloadId)) {
      throw new InvalidArgumentError(`Cannot find payload ${shownText(payloadId)} in a payload directory: it is not a SHA-256 in hex`, {
        hint: 'Only payloads made by "holdfast import" are kept in payload directories',
      })
    }
    return join(this.path, payloadId.slice(0, 2), payloadId.slice(2))
  }
}

/** Reads a regular file whole; follows no link. */
async function readWhole(files: Files, path: string): Promise<Uint8Array> {
  const bytes = (await files.info(path))?.bytes ?? 0
  const chunks: Uint8Array[] = []
  for await (const chunk of files.read(path, { chunkBytes: Math.max(1, Math.min(bytes, MAX_READ_BYTES)) })) chunks.push(chunk)
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)
}
