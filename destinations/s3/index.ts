/** Backups in a bucket of Amazon S3 or a compatible store. */
import { SIGNAL_OPTION, checkBackupCall, checkCleanUpCall, checkOpenCall } from '../../src/contracts/checked-calls.ts'
import {
  BACKUP_OBJECTS, type BackupObject, type BackupStat, type BackupUpload, type Destination, type DestinationOptions, type DestinationWarning,
  MAX_MANIFEST_BYTES, type CleanUpOptions, type CleanUpReport, type ReadObjectOptions,
} from '../../src/contracts/destination.ts'
import { BackupProtectedError, DestinationUnreachableError, ManifestInvalidError, ManifestMissingError } from '../../src/errors/errors.ts'
import { STRING, checkArgument, checkOptions } from '../../src/util/check-options.ts'
import { parseS3Url, resolveS3Config, S3_OPTIONS, type S3DestinationOptions, URL_OPTIONS } from './config.ts'
import { listEntries } from './listing.ts'
import { duplicate, isAbsent, lookAt, readSmall, remove, type S3ObjectInfo } from './objects.ts'
import { readObject } from './read.ts'
import { S3Session } from './session.ts'
import { removeLeftovers } from './clean-up.ts'
import { keyOf, MANIFEST_NAME, S3Upload } from './upload.ts'
import { validateS3 } from './validate.ts'

export type { S3Access, S3Credentials, S3DestinationOptions, S3ObjectLock, S3PayloadStore } from './config.ts'

/**
 * A destination in a bucket. Each backup is three objects: `PREFIX/ID/payload`, `PREFIX/ID/payload-ids` and `PREFIX/ID/manifest.json`.
 *
 * The names are those of a directory destination, so that `aws s3 sync` turns one into the other.
 * The manifest is created last, by a write that fails if it exists.
 * The first call of a method sends the first request. No error, warning or inspection shows credentials.
 *
 * Requests are tried again with growing waits, and each ends within its timeouts.
 * Memory of an upload is (`partsInFlight` + 1) x `partBytes`; after 800 parts, two parts of 1/800 of the upload if that is more.
 *
 * Throws `destination_config_invalid` for options that cannot be used, such as a prefix that overlaps the payload store's.
 */
export function s3Destination(options: S3DestinationOptions): Destination {
  checkOptions('s3Destination', options, S3_OPTIONS)
  return new S3Destination(new S3Session(resolveS3Config(options)))
}

/** Opens a destination by URL: `s3://BUCKET/PREFIX?region=&endpoint=&path-style=`, percent-encoded. Throws `destination_config_invalid`. */
export function openS3Destination(url: string, options: Omit<S3DestinationOptions, 'bucket' | 'prefix'> = {}): Destination {
  checkArgument('openS3Destination', url, { name: 'url', kind: STRING })
  checkOptions('openS3Destination', options, URL_OPTIONS)
  return s3Destination({ ...options, ...parseS3Url(url) })
}

class S3Destination implements Destination {
  readonly scheme = 's3'
  readonly url: string
  readonly #session: S3Session

  constructor(session: S3Session) {
    this.url = session.config.url
    this.#session = session
  }

  async validate(options: DestinationOptions = {}): Promise<readonly DestinationWarning[]> {
    checkOptions('validate', options, SIGNAL_OPTION)
    options.signal?.throwIfAborted()
    return await validateS3(this.#session, options.signal)
  }

  async put(backupId: string, options: DestinationOptions = {}): Promise<BackupUpload> {
    checkBackupCall('put', backupId, options)
    const { signal } = options
    signal?.throwIfAborted()
    if ((await lookAt(this.#session, this.#key(backupId), signal)) !== undefined) throw duplicate(this.#session, this.#key(backupId))
    const upload = new S3Upload(this.#session, { backupId, signal })
    await upload.begin()
    return upload
  }

  async manifest(backupId: string, options: DestinationOptions = {}): Promise<Uint8Array> {
    checkBackupCall('manifest', backupId, options)
    const key = this.#key(backupId)
    try {
      const bytes = await readSmall(this.#session, { key, maxBytes: MAX_MANIFEST_BYTES, signal: options.signal })
      if (bytes === undefined) throw new ManifestInvalidError(`Cannot read "${this.#place(key)}": a manifest has at most ${MAX_MANIFEST_BYTES} bytes`)
      return bytes
    } catch (error) {
      if (!(await isAbsent(this.#session, { key, error, signal: options.signal }))) throw error
      throw new ManifestMissingError(`Cannot find backup ${backupId} at "${this.#place(this.#session.config.prefix)}"`, {
        cause: error,
        details: { backupId, key },
      })
    }
  }

  async *open(backupId: string, object: BackupObject, options: ReadObjectOptions = {}): AsyncIterable<Uint8Array> {
    checkOpenCall(backupId, object, options)
    const { signal, startByte = 0 } = options
    await this.#checkListed(backupId, signal)
    yield* readObject(this.#session, { key: this.#key(backupId, object), startByte, signal })
  }

  async stat(backupId: string, options: DestinationOptions = {}): Promise<BackupStat> {
    checkBackupCall('stat', backupId, options)
    const { signal } = options
    await this.#checkListed(backupId, signal)
    const [payload, payloadIds] = await Promise.all(BACKUP_OBJECTS.map((object) => lookAt(this.#session, this.#key(backupId, object), signal)))
    return { bytes: { payload: payload?.bytes, 'payload-ids': payloadIds?.bytes } }
  }

  async *list(options: DestinationOptions = {}): AsyncIterable<string> {
    checkOptions('list', options, SIGNAL_OPTION)
    // Some stores list out of order, or a key twice.
    const ids = new Set<string>()
    for await (const { backupId, name } of listEntries(this.#session, options.signal)) if (name === MANIFEST_NAME) ids.add(backupId)
    for (const backupId of [...ids].sort()) {
      options.signal?.throwIfAborted()
      yield backupId
    }
  }

  async delete(backupId: string, options: DestinationOptions = {}): Promise<void> {
    checkBackupCall('delete', backupId, options)
    const { signal } = options
    const manifest = this.#key(backupId)
    const objects = BACKUP_OBJECTS.map((object) => this.#key(backupId, object))
    for (const key of [manifest, ...objects]) {
      const info = await lookAt(this.#session, key, signal)
      if (info?.hold !== undefined) throw protectedError(backupId, this.#place(key), info.hold)
    }
    await remove(this.#session, manifest, signal)
    await this.#waitUntilGone(manifest, signal)
    for (const key of objects) await remove(this.#session, key, signal)
  }

  async cleanUp(options: CleanUpOptions = {}): Promise<CleanUpReport> {
    checkCleanUpCall(options)
    return await removeLeftovers(this.#session, options)
  }

  takeWarnings(): readonly DestinationWarning[] {
    return this.#session.store.takeWarnings()
  }

  async close(): Promise<void> {
    this.#session.close()
  }

  /** Throws `manifest_missing` unless the backup is listed. */
  async #checkListed(backupId: string, signal: AbortSignal | undefined): Promise<void> {
    // A HEAD does not tell a missing key from a missing bucket; the GET of the manifest does.
    if ((await lookAt(this.#session, this.#key(backupId), signal)) === undefined) await this.manifest(backupId, { signal })
  }

  /** Waits until a deleted manifest is not shown any more. Only then may its objects go. */
  async #waitUntilGone(key: string, signal: AbortSignal | undefined): Promise<void> {
    for (let tries = 1; (await lookAt(this.#session, key, signal)) !== undefined; tries++) {
      if (tries >= this.#session.config.attempts) {
        throw new DestinationUnreachableError(`Cannot delete "${this.#place(key)}": the store still shows it after deleting it`)
      }
      await this.#session.backOff(tries, signal)
      await remove(this.#session, key, signal)
    }
  }

  #key(backupId: string, name: BackupObject | typeof MANIFEST_NAME = MANIFEST_NAME): string {
    return keyOf(this.#session, backupId, name)
  }

  #place(key: string): string {
    return `s3://${this.#session.config.bucket}/${key}`
  }
}

function protectedError(backupId: string, place: string, { mode, retainUntil, isLegalHold }: NonNullable<S3ObjectInfo['hold']>): BackupProtectedError {
  const holders = [
    ...(retainUntil === undefined ? [] : [`Object Lock in ${mode?.toLowerCase()} mode until ${retainUntil.toISOString()}`]),
    ...(isLegalHold ? ['a legal hold'] : []),
  ]
  return new BackupProtectedError(`Cannot delete backup ${backupId}: "${place}" is protected by ${holders.join(' and ')}`, {
    hint: isLegalHold ? 'Remove the legal hold, if you may' : 'Wait until then; in governance mode, a key with s3:BypassGovernanceRetention can lift the lock',
    details: { backupId, place, mode, retainUntil: retainUntil?.toISOString(), isLegalHold },
  })
}
