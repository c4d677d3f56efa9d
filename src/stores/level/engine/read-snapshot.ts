/** Restores a stream into an empty database, on the calling thread or in a worker. */
import type { SnapshotProgress, SnapshotSource, StoreKind } from '../../../contracts/backupable.ts'
import { SchemaVersionMismatchError, StoreKindMismatchError } from '../../../errors/errors.ts'
import { type SnapshotReader, openSnapshot } from '../../../format/snapshot-reader.ts'
import { applySnapshot } from './apply.ts'
import { type KeyRange, type Section, keySpans } from './key-spans.ts'
import type { WriteBatch } from './write-batches.ts'

export interface ReadSnapshotOptions {
  /** Makes batches for the database to fill. */
  readonly newBatch: () => WriteBatch
  readonly sections: readonly Section[]
  readonly ownKeys: KeyRange | undefined
  readonly storeKind: StoreKind
  /** Kinds of stores whose snapshots have the same records. */
  readonly accepts: readonly StoreKind[]
  readonly schemaVersion: number
  /** Called between frames: a chance to yield, or to end the restore by throwing. */
  readonly checkpoint: () => Promise<void> | void
  readonly onProgress?: ((progress: SnapshotProgress) => void) | undefined
}

/** Writes all records of a stream. After a failure the caller removes what was written. */
export async function readSnapshot(source: SnapshotSource, options: ReadSnapshotOptions): Promise<void> {
  const reader = await openSnapshot(source)
  try {
    checkHeader(reader.header, options)
    await applySnapshot(reader, { ...options, spans: keySpans(options.sections, options.ownKeys) })
  } finally {
    await reader.close()
  }
}

/** Checks that a stream is of a kind, a schema version and sections that the store takes. */
export function checkHeader(
  header: SnapshotReader['header'],
  { storeKind, accepts, schemaVersion, sections }: Pick<ReadSnapshotOptions, 'storeKind' | 'accepts' | 'schemaVersion' | 'sections'>,
): void {
  if (!accepts.includes(header.storeKind)) {
    throw new StoreKindMismatchError(`Cannot restore a snapshot of a "${header.storeKind}" store into a "${storeKind}" store`, {
      details: { expected: accepts, actual: header.storeKind },
    })
  }
  if (header.schemaVersion !== schemaVersion) {
    throw new SchemaVersionMismatchError(
      `Cannot restore a snapshot of schema version ${header.schemaVersion} into a store of schema version ${schemaVersion}`,
      { details: { expected: schemaVersion, actual: header.schemaVersion } },
    )
  }
  const names = sections.map(({ name }) => name)
  if (names.length !== header.sections.length || names.some((name, index) => name !== header.sections[index])) {
    throw new StoreKindMismatchError(`Cannot restore a snapshot with sections ${header.sections.join(', ')}: the store has ${names.join(', ')}`, {
      details: { expected: names, actual: header.sections },
    })
  }
}
