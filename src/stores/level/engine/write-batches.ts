/** Batches of records, which are written at once and filled again. */
import type { ClassicLevel } from 'classic-level'
import type { Value } from './key-spans.ts'
import { BackupUnsupportedError } from '../../../errors/errors.ts'
import { writeUnlessFailed } from '../../../util/failed-writes.ts'
import { type LevelDatabase, storesText } from './text-database.ts'

/** A batch of records. It is empty at first, and again after a write. One call at a time. */
export interface WriteBatch {
  put(key: Value, value: Value): void
  /** Writes all or nothing. With `sync`, LevelDB makes its log durable. */
  write(options: { readonly sync: boolean }): Promise<void>
  /** Frees the batch. */
  close(): Promise<void>
}

/** Batches for any database: arrays of operations. */
export function arrayBatches(db: LevelDatabase): () => WriteBatch {
  // Pass encodings as objects, not by name: operations then have one shape, and abstract-level copies them several times as fast.
  const [textKey, textValue] = [db.keyEncoding('utf8'), db.valueEncoding('utf8')]
  // Look these up only for bytes: a database that stores text does not have such an encoding.
  let bytes: readonly [Encoding, Encoding] | undefined
  const forBytes = (): readonly [Encoding, Encoding] => {
    if (storesText(db)) {
      throw new BackupUnsupportedError('Cannot restore records of bytes: the database stores text', {
        hint: 'Open the database with the option storeEncoding "view"',
      })
    }
    return (bytes ??= [db.keyEncoding('view'), db.valueEncoding('view')])
  }
  return () => {
    let operations: Operation[] = []
    return {
      put(key, value) {
        const keyEncoding = typeof key === 'string' ? textKey : forBytes()[0]
        const valueEncoding = typeof value === 'string' ? textValue : forBytes()[1]
        // Copy bytes, which are views of a frame: a database in memory would keep the frame.
        operations.push({ type: 'put', key: kept(key), value: kept(value), keyEncoding, valueEncoding })
      },
      async write(options) {
        const written = operations
        operations = []
        await writeUnlessFailed(db, () => db.batch(written, options as object))
      },
      close: async () => undefined,
    }
  }
}

/**
 * Batches for LevelDB, twice as fast: chained batches that are used again.
 *
 * A chained batch is meant for one write. V8 does not know the weight of its handle and collects it late, so that many batches would take
 * as much memory as the store. This uses the private methods of abstract-level's implementors, which leave a batch open.
 * They bypass hooks and events of the handle.
 */
export function nativeBatches(db: ClassicLevel): () => WriteBatch {
  return () => {
    const batch = db.batch() as unknown as ImplementedBatch
    return {
      put: (key, value) => batch._put(key, value),
      async write(options) {
        await batch._write(options)
        batch._clear()
      },
      close: () => batch.close(),
    }
  }
}

interface Operation {
  readonly type: 'put'
  readonly key: Value
  readonly value: Value
  readonly keyEncoding: Encoding
  readonly valueEncoding: Encoding
}

type Encoding = ReturnType<LevelDatabase['keyEncoding']>

/** The methods that abstract-level calls on a chained batch. Keys and values are encoded: text or bytes. */
interface ImplementedBatch {
  _put(key: Value, value: Value): void
  _write(options: { readonly sync: boolean }): Promise<void>
  _clear(): void
  close(): Promise<void>
}

function kept(value: Value): Value {
  return typeof value === 'string' ? value : Buffer.from(value)
}
