/** Copies a view of any metadata store into an empty database. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { usedBytesOf } from '../../../metadata/inodes.ts'
import { holdsData } from '../../../metadata/refusals.ts'
import type { Block, ImportOptions, InodeNumber, MetadataView } from '../../../contracts/metadata-store.ts'
import { type Writer, blocksOfInode, blocksOfUpload, putBlocks, putChunk } from './contents.ts'
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
    if (check !== undefined) await checkImported(text, check)
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

async function checkImported(text: TextDatabase, check: (imported: MetadataView) => Promise<void>): Promise<void> {
  const imported = new LevelMetadataView(text.snapshot())
  try {
    await check(imported)
  } finally {
    await imported.close()
  }
}

async function copyView(db: LevelDatabase, view: MetadataView, options: ImportViewOptions): Promise<void> {
  const writer = new BatchWriter(db, options)
  try {
    await copyBlocks(view, writer)
    await copyEntries(view, writer)
    await copyInodes(view, writer)
    await copyLocks(view, writer)
    await copySettingsAndShares(view, writer)
    await copyUploads(view, writer)
    await writer.end()
  } finally {
    await writer.close()
  }
}

async function copyBlocks(view: MetadataView, writer: BatchWriter): Promise<void> {
  let list = new BlockList(0, writer)
  for await (const { inode, payloadId, offset, bytes } of view.allBlocks()) {
    if (inode !== list.inode) {
      list.end()
      list = new BlockList(inode, writer)
    }
    list.add({ payloadId, offset, bytes })
    if (writer.isFull) await writer.flush()
  }
  list.end()
}

/** Cuts the block list of a file into records. */
class BlockList {
  readonly inode: InodeNumber
  readonly #writer: Writer
  #chunk = 0
  #blocks: Block[] = []

  constructor(inode: InodeNumber, writer: Writer) {
    this.inode = inode
    this.#writer = writer
  }

  add(block: Block): void {
    this.#blocks.push(block)
    if (this.#blocks.length === records.BLOCKS_PER_CHUNK) this.end()
  }

  end(): void {
    if (this.#blocks.length > 0) putChunk(this.#writer, blocksOfInode(this.inode), { chunk: this.#chunk++, blocks: this.#blocks })
    this.#blocks = []
  }
}

async function copyEntries(view: MetadataView, writer: BatchWriter): Promise<void> {
  for await (const entry of view.entries()) {
    writer.put(keys.entryKey(entry), records.encodeEntry(entry))
    if (writer.isFull) await writer.flush()
  }
}

async function copyInodes(view: MetadataView, writer: BatchWriter): Promise<void> {
  let usedBytes = 0n
  for await (const { inode, ...record } of view.inodes()) {
    writer.put(keys.inodeKey(inode), records.encodeInode(record))
    if (record.payloadId !== undefined) writer.put(keys.referenceKey(record.payloadId, keys.inodeOwner(inode)), records.REFERENCE_VALUE)
    usedBytes += usedBytesOf(record)
    if (writer.isFull) await writer.flush()
  }
  const nextInode = await view.nextInode()
  if (nextInode > 1) writer.put(keys.NEXT_INODE_KEY, String(nextInode))
  if (usedBytes > 0n) writer.put(keys.USED_BYTES_KEY, String(usedBytes))
}

async function copyLocks(view: MetadataView, writer: BatchWriter): Promise<void> {
  for await (const lock of view.allLocks()) {
    writer.put(keys.lockKey(lock.inode, lock.start, lock.owner), records.encodeLock(lock))
    if (writer.isFull) await writer.flush()
  }
}

async function copySettingsAndShares(view: MetadataView, writer: BatchWriter): Promise<void> {
  for (const [name, value] of await view.settings()) {
    writer.put(keys.settingKey(name), records.encodeText(value))
    if (writer.isFull) await writer.flush()
  }
  for (const share of await view.shares()) {
    writer.put(keys.shareKey(share.name), records.encodeShare(share))
    if (writer.isFull) await writer.flush()
  }
}

async function copyUploads(view: MetadataView, writer: BatchWriter): Promise<void> {
  for await (const { uploadId, blocks, ...upload } of view.uploads()) {
    writer.put(keys.uploadKey(uploadId), records.encodeUpload({ ...upload, blockCount: blocks.length }))
    putBlocks(writer, blocksOfUpload(uploadId), blocks)
    if (writer.isFull) await writer.flush()
  }
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

  get isFull(): boolean {
    return this.#records >= BATCH_RECORDS || this.#length >= BATCH_LENGTH
  }

  put(key: string, value: string): void {
    this.#batch.put(key, value)
    this.#records++
    this.#length += key.length + value.length
  }

  /** Writes the batch. Resolves when more may be put; rejects when the signal has aborted. */
  async flush(): Promise<void> {
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

  /** Writes the rest. */
  async end(): Promise<void> {
    await this.flush()
    await this.#batches.end()
  }

  /** Waits for the write under way, and frees the batches. */
  async close(): Promise<void> {
    await this.#batches.close()
  }
}
