/**
 * Contract 1: what a metadata store must do to be backed up and restored.
 *
 * The bytes are the framed stream of `format/FORMAT.md`; `format/` has the writer and the reader, so that a store
 * only says which records it has.
 */
import type { PayloadIdSet } from '../payload-ids/payload-id-set.ts'

/** The kind of a store: one of Holdfast's own, or a name an embedder chose (lower-case letters, digits, dashes; 1 to 32). */
export type StoreKind = 'memory' | 'level' | 'postgres' | (string & {})

/** How data frames are compressed. */
export const COMPRESSIONS = ['none', 'zstd'] as const
export type Compression = (typeof COMPRESSIONS)[number]

/** What a snapshot says of itself once it is written; all of it is in the stream's header and trailer too. */
export interface SnapshotSummary {
  readonly storeKind: StoreKind
  readonly storeId: string
  readonly schemaVersion: number
  /** When the snapshot was opened, milliseconds since 1970. */
  readonly createdAtMs: number
  /** Records per section, in section order. */
  readonly records: Readonly<Record<string, number>>
  readonly payloadIds: { readonly count: number; readonly digest: string }
  /** Bytes of the whole stream. */
  readonly bytes: number
  /** SHA-256 of the whole stream, lower-case hex. */
  readonly sha256: string
  /** The backup that the stream is of, if its header says so. */
  readonly backupId?: string | undefined
  /** `zstd` where at least one data frame is compressed. @default 'none' */
  readonly compression?: Compression | undefined
}

/** Where `backup` writes. */
export interface SnapshotSink {
  /**
   * Takes the next bytes of the stream. Called again only after the promise resolved: that is the back-pressure. The
   * chunk belongs to the sink from then on, unless it returns chunks. A rejection ends the backup with that very error.
   */
  write(chunk: Uint8Array): Promise<void>
  /** Called once, after the last write, with what was written. Not called when the backup fails. */
  finish(summary: SnapshotSummary): Promise<void>
  /**
   * Whether the sink is done with a chunk once `write` has resolved. Its memory is then used again, which makes a snapshot
   * much cheaper. @default false: the chunk is the sink's
   */
  readonly returnsChunks?: boolean | undefined
}

/** Where `restore` reads: the bytes of one stream, in any chunking. Left early, its `return` is called. */
export type SnapshotSource = AsyncIterable<Uint8Array>

export interface BackupOptions {
  /** The backup that the snapshot becomes, for the header of the stream. A store that ignores it writes a stream that names no backup. */
  readonly backupId?: string | undefined
  /** How to compress data frames. A store that ignores it compresses as it likes; its summary says what it did. @default 'none' */
  readonly compress?: Compression | undefined
  /** Ends the backup; it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  /** Called as the stream grows: bytes and records so far. Never more often than once per frame. */
  readonly onProgress?: ((progress: SnapshotProgress) => void) | undefined
  /** The most bytes per second to produce. @default unlimited */
  readonly maxBytesPerSecond?: number | undefined
}

export interface RestoreOptions {
  /** Ends the restore and leaves the target empty; it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: SnapshotProgress) => void) | undefined
}

export interface SnapshotProgress {
  readonly bytes: number
  readonly records: number
}

/** A store that can be backed up and restored. */
export interface Backupable {
  readonly kind: StoreKind

  /**
   * Streams one consistent snapshot and returns every payload ID it refers to, taken from the same read view.
   *
   * Writers are never blocked. May run several times at once. An entry that cannot be decoded fails the backup
   * (`record_invalid`): it is never skipped, for a skipped file is a payload that garbage collection may take. On any
   * failure the read view is closed and the sink's bytes are worthless. The caller closes the returned set.
   */
  backup(sink: SnapshotSink, options?: BackupOptions): Promise<PayloadIdSet>

  /**
   * Fills an empty store from a stream; the store keeps its own ID.
   *
   * A populated store is refused (`restore_destination_not_empty`) before a byte is read. The store is left empty when
   * the stream is damaged or cut short (`restore_corrupt`), of another kind of store (`store_kind_mismatch`), of another
   * format or schema version (`schema_version_mismatch`), or when the signal aborts.
   */
  restore(source: SnapshotSource, options?: RestoreOptions): Promise<void>
}

/** Whether a store has the capability. Use it before a backup is scheduled for a store that came from elsewhere. */
export function isBackupable(store: unknown): store is Backupable {
  const candidate = store as Partial<Backupable> | null | undefined
  return typeof candidate?.kind === 'string' && typeof candidate.backup === 'function' && typeof candidate.restore === 'function'
}
