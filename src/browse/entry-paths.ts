/** The paths of a backup's entries, `share/name/name`. */
import type { InodeNumber } from '../contracts/metadata-store.ts'
import { nameOfEntry, textOfKey } from '../stores/level/store/keys.ts'
import { decodeEntry, decodeShare } from '../stores/level/store/records.ts'
import { type OpenRecords, recordsOf } from './backup-records.ts'

interface Named {
  readonly parent: InodeNumber | undefined
  readonly name: string
}

const SECTIONS: ReadonlySet<string> = new Set(['entries', 'shares'])

/** Knows the place of every directory, and one name of each wanted inode. */
export class EntryPaths {
  readonly #names = new Map<InodeNumber, Named>()
  readonly #wanted: ReadonlySet<InodeNumber>

  constructor(wanted: Iterable<InodeNumber>) {
    this.#wanted = new Set(wanted)
  }

  async read(open: OpenRecords): Promise<void> {
    for await (const [key, value] of recordsOf(open, SECTIONS)) {
      if (key.startsWith('shares/')) {
        this.#names.set(decodeShare(value).root, { parent: undefined, name: textOfKey(key) })
        continue
      }
      const { inode, type } = decodeEntry(value)
      if (type !== 'directory' && (!this.#wanted.has(inode) || this.#names.has(inode))) continue
      this.#names.set(inode, { parent: Number(key.slice('entries/'.length, key.lastIndexOf('/'))), name: nameOfEntry(key) })
    }
  }

  pathOfInode(inode: InodeNumber): string {
    const place = this.#names.get(inode)
    if (place === undefined) return `(inode ${inode})`
    return place.parent === undefined ? place.name : this.pathOf({ parent: place.parent, name: place.name })
  }

  pathOf(place: { readonly parent: InodeNumber; readonly name: string }): string {
    const names = [place.name]
    const above = new Set<InodeNumber>()
    for (let inode: InodeNumber | undefined = place.parent; inode !== undefined; ) {
      const next: Named | undefined = above.has(inode) ? undefined : this.#names.get(inode)
      above.add(inode)
      names.push(next?.name ?? `(inode ${inode})`)
      inode = next?.parent
    }
    return names.toReversed().join('/')
  }
}
