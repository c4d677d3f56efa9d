/** Copies a view of any metadata store into an empty database. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { closing } from '../../../errors/clean-up.ts'
import { usedBytesOf } from '../../../metadata/inodes.ts'
import { holdsData } from '../../../metadata/refusals.ts'
import type { Block, ImportOptions, InodeNumber, MetadataView } from '../../../contracts/metadata-store.ts'
import { type Writer, putBlocks, putChunk } from './contents.ts'
import { BatchRotation, fillOrEmpty, isEmpty, removeData } from '../engine/fill-database.ts'
import * as keys from './keys.ts'
import { LevelMetadataView } from './level-metadata-view.ts'
import { type WriteBatch, arrayBatches } from '../engine/write-batches.ts'
import * as records from './records.ts'
import { type LevelDatabase, TextDatabase } from '../engine/text-database.ts'

export interface ImportViewOptions extends ImportOptions {
  /** Whether the finished import survives a power cut. */
  readonly durable: boolean
}

/** Limits of one write: records, and characters. */
const BATCH_RECORDS = 5000
const BATCH_LENGTH: number = 2 * 1024 * 1024

/** Fills the database, or leaves it empty. Nothing else may write to the database meanwhile. See `MetadataStore.importView`. */
export async function importView(db: LevelDatabase, view: MetadataView, options: ImportViewOptions): Promise<void> {
  const { signal, check } = options
  if (!(await isEmpty(db, keys.STORE_KEYS))) throw holdsData()
  signal?.throwIfAborted()
  const text = new TextDatabase(db)
  await text.write(new Map([[keys.IMPORT_KEY, '']]), { sync: true })
  const fill = async (): Promise<void> => {
    await copyView(db, view, options)
    if (check !== undefined) await closing(new LevelMetadataView(text.snapshot()), check)
    signal?.throwIfAborted()
    await text.write(new Map([[keys.IMPORT_KEY, undefined]]), { sync: true })
  }
  await fillOrEmpty(db, fill, () => undoImport(db))
}

/** Empties a database in which an import was cut off. */
export async function undoUnfinishedImport(db: LevelDatabase): Promise<void> {
  if ((await new TextDatabase(db).get(keys.IMPORT_KEY)) !== undefined) await undoImport(db)
}

async function undoImport(db: LevelDatabase): Promise<void> {
  await removeData(db, keys.STORE_KEYS)
  await new TextDatabase(db).write(new Map([[keys.IMPORT_KEY, undefined]]), { sync: true })
}

async function copyView(db: LevelDatabase, view: MetadataView, options: ImportViewOptions): Promise<void> {
  await closing(new BatchWriter(db, options), async (writer) => {
    await copyBlocks(view, writer)
    await writer.putEach(view.entries(), (entry) => writer.put(keys.entryKey(entry), records.encodeEntry(entry)))
    await copyInodes(view, writer)
    await writer.putEach(view.allLocks(), (lock) => writer.put(keys.lockKey(lock.inode, lock.start, lock.owner), records.encodeLock(lock)))
    await writer.putEach(await view.settings(), ([name, value]) => writer.put(keys.settingKey(name), records.encodeText(value)))
    await writer.putEach(await view.shares(), (share) => writer.put(keys.shareKey(share.name), records.encodeShare(share)))
    await writer.putEach(view.uploads(), ({ uploadId, blocks, ...upload }) => {
      writer.put(keys.uploadKey(uploadId), records.encodeUpload({ ...upload, blockCount: blocks.length }))
      putBlocks(writer, { uploadId }, blocks)
    })
    await writer.end()
  })
}

/** Cuts the block lists of files into records. */
async function copyBlocks(view: MetadataView, writer: BatchWriter): Promise<void> {
  let [file, chunk]: [InodeNumber, number] = [0, 0]
  let blocks: Block[] = []
  const endChunk = (): void => {
    if (blocks.length > 0) putChunk(writer, { inode: file }, { chunk: chunk++, blocks })
    blocks = []
  }
  await writer.putEach(view.allBlocks(), ({ inode, ...block }) => {
    if (inode !== file) {
      endChunk()
      file = inode
      chunk = 0
    }
    blocks.push(block)
    if (blocks.length === records.BLOCKS_PER_CHUNK) endChunk()
  })
  endChunk()
}

async function copyInodes(view: MetadataView, writer: BatchWriter): Promise<void> {
  let usedBytes = 0n
  await writer.putEach(view.inodes(), ({ inode, ...record }) => {
    writer.put(keys.inodeKey(inode), records.encodeInode(record))
    if (record.payloadId !== undefined) writer.put(keys.referenceKey(record.payloadId, keys.inodeOwner(inode)), records.REFERENCE_VALUE)
    usedBytes += usedBytesOf(record)
  })
  const nextInode = await view.nextInode()
  if (nextInode > 1) writer.put(keys.NEXT_INODE_KEY, String(nextInode))
  if (usedBytes > 0n) writer.put(keys.USED_BYTES_KEY, String(usedBytes))
}

/** Gathers records, and writes them in batches while the next are gathered. */
class BatchWriter implements Writer {
  readonly #batches: BatchRotation
  readonly #options: ImportOptions
  #batch: WriteBatch
  /** Records and characters in the batch, and records written before. */
  #records = 0
  #length = 0
  #written = 0

  constructor(db: LevelDatabase, options: ImportViewOptions) {
    this.#batches = new BatchRotation(arrayBatches(db), { sync: options.durable })
    this.#batch = this.#batches.spare()
    this.#options = options
  }

  put(key: string, value: string): void {
    this.#batch.put(key, value)
    this.#records++
    this.#length += key.length + value.length
  }

  /** Has the records of each item put. */
  async putEach<T>(items: Iterable<T> | AsyncIterable<T>, put: (item: T) => void): Promise<void> {
    for await (const item of items) {
      put(item)
      if (this.#records >= BATCH_RECORDS || this.#length >= BATCH_LENGTH) await this.#flush()
    }
  }

  /** Writes the rest. */
  async end(): Promise<void> {
    await this.#flush()
    await this.#batches.end()
  }

  /** Waits for the write under way, and frees the batches. */
  async close(): Promise<void> {
    await this.#batches.close()
  }

  /** Writes the batch. Resolves when more may be put; rejects when the signal has aborted. */
  async #flush(): Promise<void> {
    await this.#batches.add(this.#batch)
    this.#batch = this.#batches.spare()
    this.#written += this.#records
    this.#records = 0
    this.#length = 0
    this.#options.onProgress?.({ records: this.#written })
    // Give way to other work of the process, which a database in memory does not do.
    await nextTurn()
    this.#options.signal?.throwIfAborted()
  }
}
