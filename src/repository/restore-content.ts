/** Filling a store from a backup, and proving that what is in it is what the manifest says. */
import { createHash } from 'node:crypto'
import type { Backupable, SnapshotSummary } from '../contracts/backupable.ts'
import type { BackupObject, Destination } from '../contracts/destination.ts'
import { BackupIncompleteError, ChecksumMismatchError, InternalError, isHoldfastError } from '../errors/errors.ts'
import { countPayloadIds } from '../payload-ids/payload-id-set.ts'
import type { Manifest } from '../contracts/manifest.ts'

export interface ContentOptions {
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: { readonly bytes: number; readonly totalBytes: number; readonly records: number }) => void) | undefined
}

/**
 * Restores a backup's payload into an empty store, and compares the bytes read with the manifest's count and SHA-256 before the store can
 * take them for whole. Rejects with `restore_corrupt`, `checksum_mismatch` or `backup_incomplete`; the store is empty then.
 */
export async function fillFromBackup(store: Backupable, source: { readonly destination: Destination; readonly manifest: Manifest }, options: ContentOptions = {}): Promise<void> {
  const totalBytes = source.manifest.payload.bytes
  const { signal, onProgress } = options
  const payload = new CheckedObject(source, 'payload')
  await store.restore(payload.read(signal), { signal, onProgress: ({ records }) => onProgress?.({ bytes: payload.bytes, totalBytes, records }) })
  if (!payload.isWhole) throw new InternalError(`Cannot trust the restored engine: the store took ${payload.bytes} of ${totalBytes} bytes`)
}

/** Reads a backup's `payload-ids` and compares it with the manifest: bytes, SHA-256 and count. */
export async function checkPayloadIds(source: { readonly destination: Destination; readonly manifest: Manifest }, options: ContentOptions = {}): Promise<void> {
  const { payloadIds: expected, backupId } = source.manifest
  const count = await countPayloadIds(new CheckedObject(source, 'payload-ids').read(options.signal))
  if (count === expected.count) return
  throw new ChecksumMismatchError(`Cannot restore backup ${backupId}: its payload-ids are not those of the manifest`, {
    details: { expected: { count: expected.count }, actual: { count } },
  })
}

/**
 * Reads a restored store through its own `backup`, and compares the records of each section and the payload-ID set with the
 * manifest. Rejects with `checksum_mismatch`, and with the signal's reason.
 */
export async function checkRestored(store: Backupable, manifest: Manifest, options: ContentOptions = {}): Promise<void> {
  const { signal, onProgress } = options
  const totalBytes = manifest.payload.bytes
  let summary: SnapshotSummary | undefined
  const sink = {
    write: async (): Promise<void> => {},
    finish: async (written: SnapshotSummary): Promise<void> => {
      summary = written
    },
    returnsChunks: true,
  }
  const payloadIds = await store.backup(sink, { signal, onProgress: ({ bytes, records }) => onProgress?.({ bytes, totalBytes, records }) }).catch((error: unknown) => {
    // To its caller this is no backup that was cancelled.
    throw signal?.aborted === true && isHoldfastError(error) && error.code === 'backup_aborted' ? signal.reason : error
  })
  try {
    const expected = { records: manifest.records, payloadIds: { count: manifest.payloadIds.count, digest: manifest.payloadIds.set } }
    const actual = { records: summary?.records ?? {}, payloadIds: { count: payloadIds.size, digest: payloadIds.digest } }
    if (JSON.stringify(inOrder(expected)) === JSON.stringify(inOrder(actual))) return
    throw new ChecksumMismatchError(`Cannot use the engine restored from backup ${manifest.backupId}: it does not hold what the manifest says`, { details: { expected, actual } })
  } finally {
    await payloadIds.close()
  }
}

/** One object of a backup, whose end is only reached when its bytes are those of the manifest. */
class CheckedObject {
  readonly #destination: Destination
  readonly #object: BackupObject
  readonly #backupId: string
  readonly #expected: { readonly bytes: number; readonly sha256: string }
  bytes = 0
  isWhole = false

  constructor({ destination, manifest }: { readonly destination: Destination; readonly manifest: Manifest }, object: BackupObject) {
    this.#destination = destination
    this.#object = object
    this.#backupId = manifest.backupId
    this.#expected = object === 'payload' ? manifest.payload : manifest.payloadIds
  }

  async *read(signal: AbortSignal | undefined): AsyncGenerator<Uint8Array, void, undefined> {
    const hash = createHash('sha256')
    for await (const chunk of this.#destination.open(this.#backupId, this.#object, { signal })) {
      signal?.throwIfAborted()
      this.bytes += chunk.byteLength
      if (this.bytes > this.#expected.bytes) throw this.#wrong(ChecksumMismatchError, 'has more bytes than the manifest says')
      hash.update(chunk)
      yield chunk
    }
    if (this.bytes < this.#expected.bytes) throw this.#wrong(BackupIncompleteError, `ends after ${this.bytes} of ${this.#expected.bytes} bytes`)
    if (hash.digest('hex') !== this.#expected.sha256) throw this.#wrong(ChecksumMismatchError, 'has another SHA-256 than the manifest says')
    this.isWhole = true
  }

  #wrong(ErrorClass: typeof ChecksumMismatchError | typeof BackupIncompleteError, what: string): ChecksumMismatchError | BackupIncompleteError {
    return new ErrorClass(`Cannot restore backup ${this.#backupId}: its ${this.#object} ${what}`, { details: { object: this.#object } })
  }
}

function inOrder({ records, payloadIds }: { readonly records: Readonly<Record<string, number>>; readonly payloadIds: object }): unknown {
  return [Object.entries(records).toSorted(([a], [b]) => (a < b ? -1 : 1)), payloadIds]
}
