/** Copies a metadata store into an empty store of any kind. */
import type { StoreKind } from '../contracts/backupable.ts'
import { METADATA_STORE } from '../contracts/kinds.ts'
import { closing } from '../errors/clean-up.ts'
import { ChecksumMismatchError } from '../errors/errors.ts'
import type { MetadataStore, MetadataView } from '../contracts/metadata-store.ts'
import { FUNCTION, type OptionKinds, SIGNAL, checkOptions, optional } from '../util/check-options.ts'
import { listener } from '../util/listener.ts'
import { RECORD_KINDS, type RecordKind, type ViewSummary, differences, summarize } from './view-summary.ts'

export const CONVERT_STEPS = ['copy', 'check'] as const
export type ConvertStep = (typeof CONVERT_STEPS)[number]

export interface ConvertProgress {
  readonly step: ConvertStep
  /** Records written; in the check, records read from source and copy. */
  readonly records: number
}

export interface ConvertStoreOptions {
  /** May be in use: the store is copied as it is when the call begins. */
  readonly from: MetadataStore
  /** An empty store that is not in use. */
  readonly to: MetadataStore
  /** Stops the conversion, which rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: ConvertProgress) => void) | undefined
}

const OPTIONS: OptionKinds<ConvertStoreOptions> = { from: METADATA_STORE, to: METADATA_STORE, signal: optional(SIGNAL), onProgress: optional(FUNCTION) }

export interface ConvertReport {
  readonly from: ConvertedStore
  readonly to: ConvertedStore
  /** The number of records of each kind, in source and copy. */
  readonly records: Readonly<Record<RecordKind, number>>
  /** `sha256` is that of the `payload-ids` object in a backup of either store. */
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
 * Copies one consistent view of a store with inode numbers, links, times, upload IDs, locks and settings: a server's references stay valid.
 * The target keeps its own store ID.
 *
 * Before the copy becomes permanent, source and copy are read in full. They must agree in every record and in the set of payload IDs
 * (`checksum_mismatch`).
 *
 * Refuses a target that is not empty (`restore_destination_not_empty`). A failure, an abort or the end of the process leaves it empty.
 */
export async function convertStore(options: ConvertStoreOptions): Promise<ConvertReport> {
  checkOptions('convertStore', options, OPTIONS)
  const { from, to, signal } = options
  const onProgress = listener(options.onProgress)
  const startedMs = performance.now()
  signal?.throwIfAborted()
  return await closing(await from.view(), async (view) => {
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
  })
}

/** The summary of a view and its copy. Rejects with `checksum_mismatch` when they differ. */
async function summaryOfBoth(
  view: MetadataView,
  imported: MetadataView,
  { signal, onProgress }: Pick<ConvertStoreOptions, 'signal' | 'onProgress'>,
): Promise<ViewSummary> {
  let read = 0
  const onRecords = (records: number): void => onProgress?.({ step: 'check', records: (read += records) })
  const [source, copy] = await Promise.allSettled([summarize(view, { signal, onRecords }), summarize(imported, { signal, onRecords })])
  if (source.status === 'rejected') throw source.reason
  if (copy.status === 'rejected') throw copy.reason
  const found = differences(source.value, copy.value)
  if (found.length === 0) return source.value
  throw new ChecksumMismatchError(`Cannot convert the store: the copy differs from its source in ${found.join(', ')}`, {
    hint: 'The target was left empty. Check the source: back it up, and run "holdfast verify"',
    details: { differences: found },
  })
}
