/**
 * Contract 1: what a metadata store must do to be backed up and restored.
 *
 * The bytes are the framed stream of `format/FORMAT.md`; `format/` has the writer and the reader, so that a store only supplies its
 * records.
 */
import type { PayloadIdSet } from '../payload-ids/payload-id-set.ts'

/** The kind of a store: one of Holdfast's own, or a name an embedder chose (lower-case letters, digits, dashes; 1 to 32). */
export type StoreKind = 'memory' | 'level' | 'postgres' | (string & {})

/** How data frames are compressed. */
export const COMPRESSIONS = ['none', 'zstd'] as const
export type Compression = (typeof COMPRESSIONS)[number]

/** What the data frames of a stream hold: records with keys, an archive in the store kind's own form, or files. */
export const BACKUP_CONTENTS = ['records', 'archive', 'files'] as const
export type BackupContent = (typeof BACKUP_CONTENTS)[number]

/** The facts of a written snapshot; the stream's header and trailer have them too. */
export interface SnapshotSummary {
  readonly storeKind: StoreKind
  readonly storeId: string
  readonly schemaVersion: number
  /** @default 'archive' for a store of the kind `postgres`, otherwise 'records' */
  readonly content?: BackupContent | undefined
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

/** The sink that `backup` writes to. */
export interface SnapshotSink {
  /**
   * Takes the next bytes of the stream. The store calls `write` again only after the promise resolved: that is the back-pressure. The chunk
   * belongs to the sink, unless `returnsChunks` is set. A rejection ends the backup with the same error; a call before the one before has
   * ended fails it with `internal`.
   */
  write(chunk: Uint8Array): Promise<void>
  /** Called once, after the last write. Not called when the backup fails. */
  finish(summary: SnapshotSummary): Promise<void>
  /**
   * Whether the sink is done with a chunk when `write` resolves. The store then reuses the chunk's memory, which makes a snapshot much
   * cheaper. @default false: the chunk is the sink's
   */
  readonly returnsChunks?: boolean | undefined
}

/** The bytes of one stream, in any chunking, that `restore` reads. If `restore` stops early, it calls `return`. */
export type SnapshotSource = AsyncIterable<Uint8Array>

export interface BackupOptions {
  /** The backup's ID, for the header of the stream. A store may ignore this option; its stream then names no backup. */
  readonly backupId?: string | undefined
  /** How to compress data frames. A store may ignore this option; its summary says what it did. @default 'none' */
  readonly compress?: Compression | undefined
  /** Ends the backup, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  /** Called with the bytes and records so far, at most once per frame. */
  readonly onProgress?: ((progress: SnapshotProgress) => void) | undefined
  /** The most bytes per second to produce. @default unlimited */
  readonly maxBytesPerSecond?: number | undefined
}

export interface RestoreOptions {
  /** Ends the restore, which leaves the target empty and rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: SnapshotProgress) => void) | undefined
}

export interface SnapshotProgress {
  readonly bytes: number
  readonly records: number
  /** About how many bytes the stream will have, where the store knows that. @default not known */
  readonly totalBytes?: number | undefined
}

/** A store that can be backed up and restored. */
export interface Backupable {
  readonly kind: StoreKind
  /** The store's ID, where it is known before a snapshot. @default not known: the snapshot says it */
  readonly storeId?: string | undefined

  /**
   * Streams one consistent snapshot, and returns every payload ID in the same read view.
   *
   * Writers are never blocked. May run several times at once. An entry that cannot be decoded fails the backup (`record_invalid`): skipping
   * an entry would let garbage collection delete its payload. On any failure the read view is closed and the sink's bytes are worthless.
   * The caller closes the returned set.
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

/** Whether a store can be backed up. Check this before scheduling backups of a store of another maker. */
export function isBackupable(store: unknown): store is Backupable {
  const candidate = store as Partial<Backupable> | null | undefined
  return typeof candidate?.kind === 'string' && typeof candidate.backup === 'function' && typeof candidate.restore === 'function'
}
