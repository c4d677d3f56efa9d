/** Reads and durably writes the two small files of a home: the pointer to the live engine, and the journal of a restore. */
import { join } from 'node:path'
import { messageOf } from '../../../errors/error-message.ts'
import { StoreUnavailableError } from '../../../errors/errors.ts'
import { type Files, readSmallFile, removeIfThere, replaceFile } from '../../../util/files.ts'
import type { RestoreJournal } from '../../../contracts/swappable.ts'
import { type HomePointer, JOURNAL_FILE, MAX_HOME_FILE_BYTES, POINTER_FILE, encodeJournal, encodePointer, parseJournal, parsePointer } from './home-files.ts'
import { inStep } from '../engine/open-failure.ts'

export class HomeRecords {
  readonly #files: Files
  readonly #home: string
  /** Whether the last write of the pointer failed with an unknown outcome. */
  #inDoubt = false

  constructor(files: Files, home: string) {
    this.#files = files
    this.#home = home
  }

  async readPointer(): Promise<HomePointer | undefined> {
    return await this.#read(POINTER_FILE, parsePointer)
  }

  /** Replaces the pointer if it differs: the one step of a swap. */
  async point(pointer: HomePointer): Promise<void> {
    const content = encodePointer(pointer)
    parsePointer(content)
    const before = await this.readPointer()
    if (!this.#inDoubt && before !== undefined && isSame(before, pointer)) return
    try {
      await inStep(this.#home, 'swap', () => replaceFile(this.#files, join(this.#home, POINTER_FILE), content))
      this.#inDoubt = false
    } catch (error) {
      this.#inDoubt ||= await this.readPointer().then(
        (now) => !isSame(now ?? {}, before ?? {}),
        () => true,
      )
      throw error
    }
  }

  async readJournal(): Promise<RestoreJournal | undefined> {
    return await this.#read(JOURNAL_FILE, parseJournal)
  }

  async writeJournal(journal: RestoreJournal): Promise<void> {
    await inStep(this.#home, 'write the journal of', () => replaceFile(this.#files, join(this.#home, JOURNAL_FILE), encodeJournal(journal)))
  }

  async clearJournal(): Promise<void> {
    await inStep(this.#home, 'clear the journal of', async () => {
      await removeIfThere(this.#files, join(this.#home, JOURNAL_FILE))
      await this.#files.syncDirectory(this.#home)
    })
  }

  async #read<T>(name: string, parse: (bytes: Uint8Array) => T): Promise<T | undefined> {
    const path = join(this.#home, name)
    try {
      const bytes = await readSmallFile(this.#files, path, MAX_HOME_FILE_BYTES)
      return bytes === undefined ? undefined : parse(bytes)
    } catch (error) {
      throw new StoreUnavailableError(`Cannot read "${path}": ${messageOf(error)}`, {
        cause: error,
        hint: `Put "${name}" back from a copy of this directory, or give the process permission to read it`,
      })
    }
  }
}

function isSame(a: HomePointer, b: HomePointer): boolean {
  return a.storeId === b.storeId && a.engine === b.engine && a.previous === b.previous
}
