/** Takes one snapshot of a store, and checks that the store keeps its contract. */
import { types } from 'node:util'
import type { BackupOptions, Backupable, SnapshotProgress, SnapshotSink, SnapshotSummary } from '../contracts/backupable.ts'
import { failureAfter } from '../errors/clean-up.ts'
import { brokenContract } from '../errors/broken-contract.ts'
import { BackupAbortedError, type InternalError } from '../errors/errors.ts'
import { CodecScan } from '../format/codec-scan.ts'
import type { PayloadIdSet } from '../payload-ids/payload-id-set.ts'
import { nameOf } from '../util/check-options.ts'
import { ABORT_GRACE_SECONDS, unlessLate } from '../util/unless-late.ts'

export interface TakeSnapshotOptions extends Pick<BackupOptions, 'backupId' | 'compress' | 'signal' | 'maxBytesPerSecond'> {
  /** Takes the bytes of the stream, and is done with them when it resolves. */
  readonly write: (chunk: Uint8Array) => Promise<void>
  readonly onProgress: (progress: SnapshotProgress) => void
}

export interface TakenSnapshot {
  readonly summary: SnapshotSummary
  /** The set of payload IDs; the caller closes it. */
  readonly payloadIds: PayloadIdSet
}

const SHA256 = /^[0-9a-f]{64}$/

/**
 * Has the store write its snapshot, and checks that its summary fits what it wrote. After an abort, a store that does not end within 5
 * seconds is left behind, and its writes are refused. Rejects with what the store rejects with, `internal` when it breaks the contract, the
 * signal's reason, and `backup_aborted` when the store was left behind.
 */
export async function takeSnapshot(store: Backupable, { write, ...options }: TakeSnapshotOptions): Promise<TakenSnapshot> {
  const { signal } = options
  const codecs = new CodecScan()
  let bytes = 0
  let summary: SnapshotSummary | undefined
  let isOpen = true
  let writing: Promise<void> | undefined
  let failure: { readonly error: unknown } | undefined
  const take = async (chunk: Uint8Array): Promise<void> => {
    if (failure !== undefined) throw failure.error
    if (!isOpen) throw contractError('it writes after its end')
    if (!types.isUint8Array(chunk)) throw contractError(`it writes ${nameOf(chunk)}, not a Uint8Array`)
    if (writing !== undefined) throw contractError('it writes again before its last write has ended')
    bytes += chunk.byteLength
    codecs.add(chunk)
    try {
      await (writing = write(chunk))
    } finally {
      writing = undefined
    }
  }
  const sink: SnapshotSink = {
    write(chunk) {
      const taken = take(chunk)
      // A store that does not wait must neither go on unnoticed nor end the process.
      taken.catch((error: unknown) => (failure ??= { error }))
      return taken
    },
    async finish(written) {
      if (!isOpen) throw contractError('it finishes twice')
      if (writing !== undefined) throw contractError('it finishes before its last write has ended')
      isOpen = false
      summary = written
    },
    returnsChunks: true,
  }
  try {
    const payloadIds = await unlessLate(() => store.backup(sink, options), {
      signal,
      late: async (backup) => {
        // A store that waits for the destination is not late itself.
        const waited = await writing?.then(() => undefined, (error: unknown) => error)
        backup.then((set) => set.close()).catch(() => undefined)
        const text = `The backup was cancelled; the store did not end its snapshot within ${ABORT_GRACE_SECONDS} seconds and was left behind`
        return waited ?? new BackupAbortedError(text, { cause: signal?.reason })
      },
    })
    try {
      if (failure !== undefined) throw failure.error
      // A store need not say how it compresses, and one of an earlier contract cannot.
      return { summary: { ...checkSummary(summary, { bytes, payloadIds }), compression: codecs.compression }, payloadIds }
    } catch (error) {
      throw await failureAfter(error, () => payloadIds?.close?.())
    }
  } finally {
    isOpen = false
    // The upload may be removed only after that.
    await writing?.catch(() => undefined)
  }
}

function checkSummary(
  summary: SnapshotSummary | undefined,
  { bytes, payloadIds }: { readonly bytes: number; readonly payloadIds: PayloadIdSet },
): SnapshotSummary {
  if (typeof payloadIds?.size !== 'number') throw contractError('it did not return a set of payload IDs')
  if (summary === undefined || summary === null) throw contractError('it never finished its snapshot')
  if (summary.bytes !== bytes) throw contractError(`it reports ${summary.bytes} bytes, but wrote ${bytes}`)
  if (!SHA256.test(summary.sha256)) throw contractError('it did not report the SHA-256 of its snapshot')
  if (!(Math.abs(summary.createdAtMs) <= MAX_DATE_MS)) throw contractError(`it reports an impossible time, ${summary.createdAtMs}`)
  if (summary.payloadIds?.count !== payloadIds.size || summary.payloadIds.digest !== payloadIds.digest) {
    throw contractError('the payload IDs in its snapshot differ from those that it returned')
  }
  return summary
}

/** The greatest time of a `Date`. */
const MAX_DATE_MS = 8.64e15

function contractError(what: string): InternalError {
  return brokenContract({ name: 'store', suite: 'testBackupable' }, what)
}
