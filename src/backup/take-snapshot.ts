/** Takes one snapshot of a store, and checks that the store keeps its contract. */
import { types } from 'node:util'
import type { BackupOptions, Backupable, SnapshotProgress, SnapshotSink, SnapshotSummary } from '../contracts/backupable.ts'
import { failureAfter } from '../errors/clean-up.ts'
import { BackupAbortedError, InternalError } from '../errors/errors.ts'
import { CodecScan } from '../format/codec-scan.ts'
import type { PayloadIdSet } from '../payload-ids/payload-id-set.ts'
import { nameOf } from '../util/check-options.ts'

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

/** The time for a store to end after its signal aborted. */
const ABORT_GRACE_MS = 5000
const SHA256 = /^[0-9a-f]{64}$/
const HINT = { hint: 'Report this to the maker of the store: it breaks the contract of Backupable; test it with "holdfast/conformance"' }

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
  const sink: SnapshotSink = {
    async write(chunk) {
      if (!isOpen) throw contractError('it writes after its end')
      if (!types.isUint8Array(chunk)) throw contractError(`it writes ${nameOf(chunk)}, not a Uint8Array`)
      bytes += chunk.byteLength
      codecs.add(chunk)
      await write(chunk)
    },
    async finish(written) {
      if (!isOpen) throw contractError('it finishes twice')
      isOpen = false
      summary = written
    },
    returnsChunks: true,
  }
  try {
    const payloadIds = await awaitUnlessAborted(store.backup(sink, options), signal)
    try {
      // A store need not say how it compresses, and one of an earlier contract cannot.
      return { summary: { ...checkSummary(summary, { bytes, payloadIds }), compression: codecs.compression }, payloadIds }
    } catch (error) {
      throw await failureAfter(error, () => payloadIds?.close?.())
    }
  } finally {
    isOpen = false
  }
}

/** Waits for the result; after an abort, only for the grace time. */
async function awaitUnlessAborted(backup: Promise<PayloadIdSet>, signal: AbortSignal | undefined): Promise<PayloadIdSet> {
  if (signal === undefined) return await backup
  let timer: NodeJS.Timeout | undefined
  let onAbort: (() => void) | undefined
  const late = new Promise<undefined>((resolve) => {
    onAbort = () => void (timer = setTimeout(() => resolve(undefined), ABORT_GRACE_MS))
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  })
  try {
    const payloadIds = await Promise.race([backup, late])
    if (payloadIds !== undefined) return payloadIds
    // Nothing awaits this promise any longer.
    backup.then((set) => set.close()).catch(() => undefined)
    throw new BackupAbortedError(
      `The backup was cancelled; the store did not end its snapshot within ${ABORT_GRACE_MS / 1000} seconds and was left behind`,
      { cause: signal.reason },
    )
  } finally {
    clearTimeout(timer)
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort)
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
  return new InternalError(`Cannot use the snapshot of the store: ${what}`, HINT)
}
