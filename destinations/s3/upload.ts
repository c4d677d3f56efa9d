/** The upload of one backup into a bucket: objects first, the manifest last. */
import { randomUUID } from 'node:crypto'
import { type BackupObject, type BackupUpload, MAX_MANIFEST_BYTES } from '../../src/contracts/destination.ts'
import { CombinedError, ManifestInvalidError } from '../../src/errors/errors.ts'
import { createSmall, removeSmall } from './create.ts'
import type { S3Session } from './session.ts'
import { S3ObjectWriter } from './writer.ts'

export const MANIFEST_NAME = 'manifest.json'

export interface S3UploadOptions {
  readonly backupId: string
  readonly signal?: AbortSignal | undefined
}

type State = 'open' | 'publishing' | 'published' | 'aborted'

/** The key of one object of a backup. */
export function keyOf(session: S3Session, backupId: string, name: BackupObject | typeof MANIFEST_NAME): string {
  return `${session.config.prefix}${backupId}/${name}`
}

export class S3Upload implements BackupUpload {
  readonly #session: S3Session
  readonly #backupId: string
  readonly #signal: AbortSignal | undefined
  /** Names this upload in the metadata of its objects. */
  readonly #nonce = randomUUID()
  readonly #payload: S3ObjectWriter
  readonly #payloadIds: S3ObjectWriter
  #state: State = 'open'
  #isPayloadWhole = false
  #failure: { readonly error: unknown } | undefined
  /** The manifest, from when it may be listed on. */
  #manifest: Uint8Array | undefined
  /** Set when a write of the manifest got no answer. */
  #mayBeListedLater = false
  /** The call under way; `abort` waits for it. */
  #running: Promise<void> | undefined

  constructor(session: S3Session, { backupId, signal }: S3UploadOptions) {
    this.#session = session
    this.#backupId = backupId
    this.#signal = signal
    const writer = (object: BackupObject): S3ObjectWriter => new S3ObjectWriter(session, { key: keyOf(session, backupId, object), nonce: this.#nonce, signal })
    this.#payload = writer('payload')
    this.#payloadIds = writer('payload-ids')
  }

  /** Begins the upload of the stream, which fails without permission to write. */
  async begin(): Promise<void> {
    await this.#orFail(() => this.#payload.begin())
  }

  async write(object: BackupObject, chunk: Uint8Array): Promise<void> {
    this.#checkOpen()
    if (object === 'payload' && this.#isPayloadWhole) throw new TypeError('"payload" comes first and whole, then "payload-ids"')
    await this.#orFail(async () => {
      if (object === 'payload') return await this.#payload.write(chunk)
      await this.#flushPayload()
      await this.#payloadIds.write(chunk)
    })
  }

  async publish(manifest: Uint8Array): Promise<void> {
    this.#checkOpen()
    if (manifest.byteLength > MAX_MANIFEST_BYTES) {
      throw new ManifestInvalidError(`Cannot publish ${this.#backupId}: its manifest has ${manifest.byteLength} bytes, more than ${MAX_MANIFEST_BYTES}`)
    }
    this.#state = 'publishing'
    await this.#orFail(async () => {
      await this.#flushPayload()
      // Payload IDs first: they claim the backup ID with a fresh date. S3 dates a multipart object by its beginning,
      // so a clean-up that found the stream of a long upload alone would take it for a leftover.
      await this.#payloadIds.complete()
      await this.#payload.complete()
      this.#signal?.throwIfAborted()
      this.#manifest = manifest
      const onUnanswered = (): void => {
        this.#mayBeListedLater = true
      }
      await createSmall(this.#session, manifest, { key: this.#manifestKey(), nonce: this.#nonce, signal: this.#signal, onUnanswered })
      this.#state = 'published'
    })
  }

  async abort(): Promise<void> {
    await this.#running
    if (this.#state === 'published' || this.#state === 'aborted') return
    // The manifest first, so that no backup is listed without its objects.
    if (this.#manifest !== undefined) await removeSmall(this.#session, this.#manifest, { key: this.#manifestKey(), nonce: this.#nonce })
    // An unanswered write of the manifest may still be carried out. Then the objects, which are whole, make that backup a good one.
    // Leave them to a clean-up, which comes when no such request can be under way.
    if (!this.#mayBeListedLater) await this.#removeObjects()
    this.#state = 'aborted'
  }

  async #removeObjects(): Promise<void> {
    const results = await Promise.allSettled([this.#payload.abort(), this.#payloadIds.abort()])
    const [first, ...others] = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []))
    if (others.length > 0) throw new CombinedError(`Cannot remove what was uploaded of ${this.#backupId}`, [first, ...others])
    if (first !== undefined) throw first
  }

  async #flushPayload(): Promise<void> {
    if (this.#isPayloadWhole) return
    this.#isPayloadWhole = true
    await this.#payload.flush()
  }

  /** Rejects when the upload has ended or failed. Later calls repeat the first failure. */
  #checkOpen(): void {
    if (this.#failure !== undefined) throw this.#failure.error
    if (this.#state !== 'open') throw new TypeError(`The upload of ${this.#backupId} has ended`)
    this.#signal?.throwIfAborted()
  }

  async #orFail(run: () => Promise<void>): Promise<void> {
    const result = run()
    this.#running = result.catch(() => undefined)
    try {
      await result
    } catch (error) {
      this.#failure = { error }
      throw error
    }
  }

  #manifestKey(): string {
    return keyOf(this.#session, this.#backupId, MANIFEST_NAME)
  }
}
