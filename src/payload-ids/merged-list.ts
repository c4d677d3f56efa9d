/** Streams of ascending payload IDs, and what comes of merging them. */
import type { IdList } from './id-list.ts'

export type IdLists = AsyncGenerator<IdList, void, undefined>

/** Its bytes change when the next list is asked for. */
export interface MergedList extends IdList {
  /** For each ID, which runs have it: bit 0 for the first run, and so on. Of no meaning where more than 32 runs are merged. */
  readonly runs: Uint32Array
}

/** The next list that has an ID; `undefined` at the end. */
export async function nextOf(run: IdLists): Promise<IdList | undefined> {
  for (;;) {
    const { done, value } = await run.next()
    if (done === true) return undefined
    if (value.count > 0) return value
  }
}
