/** The upload of one backup into a directory: written and made durable under a temporary name, published by one rename. */
import { join } from 'node:path'
import { BACKUP_OBJECTS, type BackupObject, type BackupUpload, MAX_MANIFEST_BYTES } from '../../src/contracts/destination.ts'
import { DestinationPathConflictError, DuplicateBackupIdError, ManifestInvalidError } from '../../src/errors/errors.ts'
import { hasContent, isSystemError, renameSurely, type WritableFile, writeBehind } from '../../src/util/files.ts'
import { MANIFEST_FILE, removeBackupFiles, removePublished } from './backup-files.ts'
import { onPath } from './errors.ts'
import type { FsRoot } from './root.ts'

export interface FsUploadPaths {
  /** The directory to write to. It exists and is empty. */
  readonly temporary: string
  /** The name it gets when it is published. */
  readonly published: string
}

export interface FsUploadOptions {
  readonly root: FsRoot
  readonly flushBytes?: number | undefined
  readonly backupId: string
  readonly signal?: AbortSignal | undefined
}

type State = 'open' | 'publishing' | 'renamed' | 'published' | 'failed' | 'aborted'

export class FsUpload implements BackupUpload {
  readonly #root: FsRoot
  readonly #paths: FsUploadPaths
  readonly #flushBytes: number | undefined
  readonly #backupId: string
  readonly #signal: AbortSignal | undefined
  readonly #open = new Map<BackupObject, WritableFile>()
  #state: State = 'open'
  #failure: unknown
  /** The call under way; `abort` waits for it. */
  #running: Promise<void> | undefined

  constructor(paths: FsUploadPaths, options: FsUploadOptions) {
    this.#paths = paths
    this.#root = options.root
    this.#flushBytes = options.flushBytes
    this.#backupId = options.backupId
    this.#signal = options.signal
  }

  async write(object: BackupObject, chunk: Uint8Array): Promise<void> {
    this.#checkOpen()
    if (object === 'payload' && this.#open.has('payload-ids')) throw new TypeError('"payload" comes first and whole, then "payload-ids"')
    await this.#orFail(async () => {
      const file = await this.#file(object)
      await onPath('write', this.#path(object), () => file.write(chunk))
    })
  }

  async publish(manifest: Uint8Array): Promise<void> {
    this.#checkOpen()
    if (manifest.byteLength > MAX_MANIFEST_BYTES) {
      throw new ManifestInvalidError(`Cannot publish ${this.#backupId}: its manifest has ${manifest.byteLength} bytes, more than ${MAX_MANIFEST_BYTES}`)
    }
    this.#state = 'publishing'
    await this.#orFail(async () => {
      for (const object of BACKUP_OBJECTS) await this.#finish(await this.#file(object), this.#path(object))
      await this.#writeManifest(manifest)
      await this.#root.sync(this.#paths.temporary)
      await this.#rename(manifest)
      this.#state = 'renamed'
      await this.#root.sync(this.#root.path)
      this.#state = 'published'
    })
  }

  async abort(): Promise<void> {
    await this.#running
    if (this.#state === 'published' || this.#state === 'aborted') return
    // The call that failed has reported the failure; here the handles are only freed.
    await Promise.allSettled([...this.#open.values()].map((file) => file.close()))
    if (this.#state === 'renamed') await removePublished(this.#root, this.#paths.published, { rivals: false })
    else await removeBackupFiles(this.#root, this.#paths.temporary)
    this.#state = 'aborted'
  }

  /** Rejects when the upload has ended or failed. A file that failed once is not trusted again: later calls repeat the first failure. */
  #checkOpen(): void {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#state !== 'open') throw new TypeError(`The upload of ${this.#backupId} has ended`)
    this.#signal?.throwIfAborted()
  }

  async #orFail(run: () => Promise<void>): Promise<void> {
    const result = run()
    this.#running = result.catch(() => undefined)
    try {
      await result
    } catch (error) {
      this.#failure = error
      // After the rename, `abort` has to remove the directory under its final name.
      if (this.#state !== 'renamed') this.#state = 'failed'
      throw error
    }
  }

  async #file(object: BackupObject): Promise<WritableFile> {
    const opened = this.#open.get(object)
    if (opened !== undefined) return opened
    const path = this.#path(object)
    const file = writeBehind(await onPath('create', path, () => this.#root.files.create(path)), this.#flushBytes)
    this.#open.set(object, file)
    return file
  }

  async #finish(file: WritableFile, path: string): Promise<void> {
    this.#signal?.throwIfAborted()
    await onPath('sync', path, () => file.sync())
    await onPath('close', path, () => file.close())
  }

  async #writeManifest(manifest: Uint8Array): Promise<void> {
    const path = join(this.#paths.temporary, MANIFEST_FILE)
    const file = await onPath('create', path, () => this.#root.files.create(path))
    try {
      await onPath('write', path, () => file.write(manifest))
      await onPath('sync', path, () => file.sync())
    } finally {
      await onPath('close', path, () => file.close())
    }
  }

  async #rename(manifest: Uint8Array): Promise<void> {
    const { temporary, published } = this.#paths
    const { files } = this.#root
    this.#signal?.throwIfAborted()
    const info = await this.#root.info(temporary)
    // Check the type: a rename would publish a planted link.
    if (info?.type !== 'directory') {
      throw new DestinationPathConflictError(`Cannot publish ${this.#backupId}: "${temporary}" is not the directory that was written any more`)
    }
    this.#root.noteMode(info)
    await onPath('publish', published, async () => {
      try {
        await renameSurely(files, { from: temporary, to: published }, () => hasContent(files, join(published, MANIFEST_FILE), manifest))
      } catch (error) {
        if (isSystemError(error, 'ENOTEMPTY', 'EEXIST')) throw duplicate(this.#backupId, published, error)
        throw error
      }
    })
  }

  #path(object: BackupObject): string {
    return join(this.#paths.temporary, object)
  }
}

/** The error for a backup ID that exists. */
export function duplicate(backupId: string, path: string, cause?: unknown): DuplicateBackupIdError {
  return new DuplicateBackupIdError(`Cannot publish ${backupId}: "${path}" already exists`, { cause, details: { backupId, path } })
}
