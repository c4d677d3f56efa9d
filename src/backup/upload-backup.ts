/** Uploads a backup to a destination, object after object, and reports the bytes. */
import type { BackupUpload, Destination } from '../contracts/destination.ts'
import type { PayloadIdSet } from '../payload-ids/payload-id-set.ts'

export interface UploadOptions {
  readonly backupId: string
  readonly signal?: AbortSignal | undefined
  /** Called after each write with the bytes of the object so far; the write waits for the callback. */
  readonly onWritten: (bytes: number) => Promise<void>
}

/** Begins the upload of a backup, which is not listed before `publish`. */
export async function openUpload(destination: Destination, options: UploadOptions): Promise<Upload> {
  return new Upload(await destination.put(options.backupId, { signal: options.signal }), options)
}

/** The upload of one backup. */
export class Upload {
  readonly #upload: BackupUpload
  readonly #options: UploadOptions
  #payloadBytes = 0

  constructor(upload: BackupUpload, options: UploadOptions) {
    this.#upload = upload
    this.#options = options
  }

  /** Appends to the payload. */
  async payload(chunk: Uint8Array): Promise<void> {
    await this.#upload.write('payload', chunk)
    this.#payloadBytes += chunk.byteLength
    await this.#options.onWritten(this.#payloadBytes)
  }

  /** Writes the payload IDs, and resolves with their encoded size. */
  async payloadIds(payloadIds: PayloadIdSet): Promise<number> {
    let bytes = 0
    for await (const chunk of payloadIds.encoded()) {
      this.#options.signal?.throwIfAborted()
      await this.#upload.write('payload-ids', chunk)
      bytes += chunk.byteLength
      await this.#options.onWritten(bytes)
    }
    return bytes
  }

  /** Lists the backup, in one step. */
  async publish(manifest: Uint8Array): Promise<void> {
    await this.#upload.publish(manifest)
  }

  /** Removes what was uploaded. */
  async abort(): Promise<void> {
    await this.#upload.abort()
  }
}
