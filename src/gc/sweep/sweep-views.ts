/** What a sweep decides by: the held payloads, and those that stores refer to, at one time. */
import { messageOf } from '../../errors/error-message.ts'
import { HoldUnavailableError, InternalError, isHoldfastError } from '../../errors/errors.ts'
import type { PayloadReferences } from '../../contracts/payload-store.ts'
import { type HeldBy, HeldCursor } from '../holds/held-cursor.ts'
import type { Holder, LeaseHolder, ReadHoldsOptions } from '../holds/hold-source.ts'
import type { FoundHolds } from '../holds/hold-set.ts'
import type { Holds } from '../holds/holds.ts'
import { IdCursor, type IdPart } from '../holds/id-cursor.ts'
import { IdPage } from '../holds/id-page.ts'
import { inBatches } from '../../util/batches.ts'

/** IDs of a store that are read at once. */
const PAGE_IDS = 1024

/** Why a payload is kept; `undefined` for one that nothing needs. */
export type Need = 'live' | 'held' | undefined

export interface ViewOptions extends ReadHoldsOptions {
  /** The generation of the holds, which is compared before each deletion. */
  readonly generation: number
}

interface StoreView {
  readonly store: PayloadReferences
  readonly payloadIds: IdCursor<IdPart>
}

/** Tells what needs a payload, by ascending pages of IDs. The caller closes it. */
export class SweepViews {
  readonly generation: number
  readonly holders: readonly Holder[]
  readonly #held: HeldCursor
  readonly #stores: readonly StoreView[]
  /** 1 for each ID of the page that a store refers to. */
  #isLive: Uint8Array = new Uint8Array(0)
  #last: string | undefined

  private constructor(generation: number, holders: readonly Holder[], { held, stores }: { readonly held: HeldCursor; readonly stores: readonly StoreView[] }) {
    this.generation = generation
    this.holders = holders
    this.#held = held
    this.#stores = stores
  }

  /**
   * Reads the holds, then opens a view of each store. All that is read is newer than the generation.
   * Resolves with the leases that hold everything, if there are some. Rejects with `hold_unavailable` when holds or a store cannot be read.
   */
  static async open(holds: Holds, stores: readonly PayloadReferences[], { generation, ...options }: ViewOptions): Promise<SweepViews | readonly LeaseHolder[]> {
    const found: FoundHolds = await holds.find(options)
    if (found.everything.length > 0) return found.everything
    const held = new HeldCursor(await holds.unite(found.sources, options), found.sources)
    const views: StoreView[] = []
    try {
      for (const store of stores) {
        const payloadIds = new IdCursor(pagesOf(store))
        views.push({ store, payloadIds })
        // The first load opens the view.
        await payloadIds.load().catch((cause: unknown) => Promise.reject(unreadable(store, cause, options.signal)))
      }
      return new SweepViews(generation, found.holders, { held, stores: views })
    } catch (error) {
      await closeAll(views, held)
      throw error
    }
  }

  /**
   * Looks up the next page of IDs, which ascend from page to page.
   * Rejects with `hold_unavailable`, and with `internal` for an ID that is not greater than its predecessor: it would wrongly seem
   * unneeded.
   */
  async find(page: IdPage): Promise<void> {
    const wrong = page.disorderAfter(this.#last)
    if (wrong !== -1) {
      const before = page.payloadIds[wrong - 1] ?? this.#last
      throw new InternalError(`Cannot tell what needs a payload: ${JSON.stringify(page.payloadIds[wrong])} is asked for after ${JSON.stringify(before)}`)
    }
    this.#last = page.payloadIds.at(-1) ?? this.#last
    this.#isLive = new Uint8Array(page.count)
    for (const { store, payloadIds } of this.#stores) {
      try {
        await payloadIds.find(page, (index) => void (this.#isLive[index] = 1))
      } catch (cause) {
        throw unreadable(store, cause)
      }
    }
    await this.#held.find(page)
  }

  /** What needs the ID at a place of the page. A store counts before a hold. */
  needOf(index: number): Need {
    if (this.#isLive[index] === 1) return 'live'
    return this.#held.has(index) ? 'held' : undefined
  }

  countHeld(index: number, bytes: number): void {
    this.#held.count(index, bytes)
  }

  heldBy(): readonly HeldBy[] {
    return this.#held.heldBy()
  }

  async close(): Promise<void> {
    await closeAll(this.#stores, this.#held)
  }
}

/** Reads the payload IDs of a store in pages. Rejects with `internal` when they do not ascend: lookups would miss some. */
async function* pagesOf(store: PayloadReferences): AsyncGenerator<IdPart, void, undefined> {
  let last: string | undefined
  for await (const payloadIds of inBatches(store.retainedPayloadIds?.() ?? store.payloadIds(), PAGE_IDS)) {
    const page = IdPage.of(payloadIds)
    const wrong = page.disorderAfter(last)
    if (wrong !== -1) {
      throw new InternalError(`Cannot use the payload IDs of the store "${store.storeId}": ${JSON.stringify(payloadIds[wrong])} comes after ${JSON.stringify(payloadIds[wrong - 1] ?? last)}`)
    }
    last = payloadIds.at(-1)
    yield { page }
  }
}

function unreadable({ storeId }: PayloadReferences, cause: unknown, signal?: AbortSignal): unknown {
  if (signal?.aborted === true) return signal.reason
  return new HoldUnavailableError(`Cannot tell what the store "${storeId}" refers to: ${messageOf(cause)}`, {
    cause,
    retryable: isHoldfastError(cause) ? cause.retryable : undefined,
    hint: 'Nothing was deleted. Make the store readable, then try again',
  })
}

async function closeAll(views: readonly StoreView[], held: HeldCursor): Promise<void> {
  const closed = await Promise.allSettled([...views.map(({ payloadIds }) => payloadIds.close()), held.close()])
  const failed = closed.find((result) => result.status === 'rejected')
  if (failed !== undefined) throw failed.reason
}
