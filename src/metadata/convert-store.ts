/** Copies a metadata store into an empty one of whatever kind. */
import type { StoreKind } from '../contracts/backupable.ts'
import { ChecksumMismatchError } from '../errors/errors.ts'
import type { MetadataStore, MetadataView } from '../contracts/metadata-store.ts'
import { RECORD_KINDS, type RecordKind, type ViewSummary, differences, summarize } from './view-summary.ts'

export const CONVERT_STEPS = ['copy', 'check'] as const
export type ConvertStep = (typeof CONVERT_STEPS)[number]

export interface ConvertProgress {
  readonly step: ConvertStep
  /** Records that were written, or (of the copy and of its source) read again to be compared. */
  readonly records: number
}

export interface ConvertStoreOptions {
  /** It may be in use: what is copied is the store as it is when the call begins. */
  readonly from: MetadataStore
  /** An empty store, not in use. */
  readonly to: MetadataStore
  /** Ends the conversion; it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: ConvertProgress) => void) | undefined
}

export interface ConvertReport {
  readonly from: ConvertedStore
  readonly to: ConvertedStore
  /** How many of each kind the copy has, as its source does. */
  readonly records: Readonly<Record<RecordKind, number>>
  /** `sha256` is that of the `payload-ids` object that a backup of either would have. */
  readonly payloadIds: { readonly count: number; readonly sha256: string }
  /** Sum of the sizes of all regular files. */
  readonly usedBytes: number
  readonly durationMs: number
}

export interface ConvertedStore {
  readonly kind: StoreKind
  readonly storeId: string
}

/**
 * Copies one consistent view of a store, as it is: inode numbers, links, times, upload IDs, locks and settings, so that what a server knows of them
 * stays true. The target keeps its own store ID. Before the copy is made to last, source and copy are both read from end to end, and must agree
 * in every record and in the set of payload IDs (`checksum_mismatch`).
 *
 * A populated target is refused (`restore_destination_not_empty`); it is left empty by a failure, by an abort, and when the process ends before.
 */
export async function convertStore({ from, to, signal, onProgress }: ConvertStoreOptions): Promise<ConvertReport> {
  const startedMs = performance.now()
  signal?.throwIfAborted()
  const view = await from.view()
  try {
    let checked: ViewSummary | undefined
    await to.importView(view, {
      signal,
      onProgress: ({ records }) => onProgress?.({ step: 'copy', records }),
      check: async (imported) => {
        checked = await summaryOfBoth(view, imported, { signal, onProgress })
      },
    })
    if (checked === undefined) throw new TypeError('importView() ended without calling check()')
    const { records, payloadIds, usedBytes } = checked
    return {
      from: { kind: from.kind, storeId: from.storeId },
      to: { kind: to.kind, storeId: to.storeId },
      records: Object.fromEntries(RECORD_KINDS.map((kind) => [kind, records[kind].count])) as Record<RecordKind, number>,
      payloadIds: { count: payloadIds.count, sha256: payloadIds.digest },
      usedBytes,
      durationMs: Math.round(performance.now() - startedMs),
    }
  } finally {
    await view.close()
  }
}

/** The summary that a view and its copy share; `checksum_mismatch` when they do not. */
async function summaryOfBoth(view: MetadataView, imported: MetadataView, { signal, onProgress }: Pick<ConvertStoreOptions, 'signal' | 'onProgress'>): Promise<ViewSummary> {
  let read = 0
  const onRecords = (records: number): void => onProgress?.({ step: 'check', records: (read += records) })
  const [source, copy] = await Promise.allSettled([summarize(view, { signal, onRecords }), summarize(imported, { signal, onRecords })])
  if (source.status === 'rejected') throw source.reason
  if (copy.status === 'rejected') throw copy.reason
  const found = differences(source.value, copy.value)
  if (found.length === 0) return source.value
  throw new ChecksumMismatchError(`Cannot convert the store: the copy differs from its source in ${found.join(', ')}`, {
    hint: 'The target was left empty; check the source with a backup and "holdfast verify"',
    details: { differences: found },
  })
}
