/** Batches of records, to be written at once and filled again. */
import type { ClassicLevel } from 'classic-level'
import type { Value } from './key-spans.ts'
import type { LevelDatabase } from './text-database.ts'

/** Empty at first, and again when a write has resolved. One call at a time. */
export interface WriteBatch {
  put(key: Value, value: Value): void
  /** Writes all or nothing; with `sync`, LevelDB makes its log durable. */
  write(options: { readonly sync: boolean }): Promise<void>
  /** Frees the batch. */
  close(): Promise<void>
}

/** Batches for any database: arrays of operations. */
export function arrayBatches(db: LevelDatabase): () => WriteBatch {
  // Not by name: every operation then has the same shape from the start, which makes abstract-level's copies several times as fast.
  const [textKey, textValue] = [db.keyEncoding('utf8'), db.valueEncoding('utf8')]
  // Found when there are bytes: a database that stores text has no such encoding.
  let bytes: readonly [Encoding, Encoding] | undefined
  const forBytes = (): readonly [Encoding, Encoding] => (bytes ??= [db.keyEncoding('view'), db.valueEncoding('view')])
  return () => {
    let operations: Operation[] = []
    return {
      put(key, value) {
        const keyEncoding = typeof key === 'string' ? textKey : forBytes()[0]
        const valueEncoding = typeof value === 'string' ? textValue : forBytes()[1]
        // Bytes are views of what was read, which a database in memory must not keep.
        operations.push({ type: 'put', key: kept(key), value: kept(value), keyEncoding, valueEncoding })
      },
      async write(options) {
        const written = operations
        operations = []
        await db.batch(written, options as object)
      },
      close: async () => undefined,
    }
  }
}

/**
 * Batches for LevelDB, twice as fast: chained batches that are used again. A chained batch is made for one write, and the memory
 * of each is given back only when V8 gets to collecting its handle, of whose weight it knows nothing: many would take as much memory
 * as the store. So this calls what abstract-level has implementors provide, which leaves the batch open. Hooks
 * and events of the handle are passed over.
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

/** What abstract-level calls on a chained batch. Keys and values are encoded: text, or bytes. */
interface ImplementedBatch {
  _put(key: Value, value: Value): void
  _write(options: { readonly sync: boolean }): Promise<void>
  _clear(): void
  close(): Promise<void>
}

function kept(value: Value): Value {
  return typeof value === 'string' ? value : Buffer.from(value)
}
