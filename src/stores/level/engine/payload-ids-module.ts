/** The functions that find the payload IDs of a database, also from an embedder's module. */
import { SYNC_FUNCTION, checkArgument } from '../../../util/check-options.ts'
import { type FrameCounter, type FrameCounterOptions, type PayloadIdCounter, recordCounter } from './payload-id-counter.ts'
import type { PayloadIdExtractor } from './scan.ts'

export interface PayloadIdFunctions {
  readonly payloadIdsOf: PayloadIdExtractor
  readonly newCounter: ((options: FrameCounterOptions) => FrameCounter) | undefined
}

/** What a module exports. */
interface PayloadIdModule {
  readonly payloadIds: PayloadIdExtractor
  readonly countPayloadIds: () => PayloadIdCounter
  readonly countFrames: (options: FrameCounterOptions) => FrameCounter
}

export function payloadIdFunctions(payloadIdsOf: PayloadIdExtractor, countPayloadIds: (() => PayloadIdCounter) | undefined): PayloadIdFunctions {
  return { payloadIdsOf, newCounter: countPayloadIds && (() => recordCounter(countPayloadIds())) }
}

/**
 * Imports a module that exports `payloadIds` and, if it counts too, `countPayloadIds`; Holdfast's own module exports `countFrames` instead.
 * Throws `TypeError` when one of them is not a function.
 */
export async function loadPayloadIds(url: string): Promise<PayloadIdFunctions> {
  const module = (await import(url)) as Readonly<Record<string, unknown>>
  for (const name of ['countPayloadIds', 'countFrames']) {
    if (module[name] !== undefined && typeof module[name] !== 'function') throw new TypeError(`"${name}" of the module "${url}" is not a function`)
  }
  const { payloadIds, countPayloadIds, countFrames } = module as Partial<PayloadIdModule>
  if (typeof payloadIds !== 'function') throw new TypeError(`The module "${url}" does not export a function named "payloadIds"`)
  checkArgument('levelBackupable', payloadIds, { name: `payloadIds of "${url}"`, kind: SYNC_FUNCTION })
  return countFrames === undefined ? payloadIdFunctions(payloadIds, countPayloadIds) : { payloadIdsOf: payloadIds, newCounter: countFrames }
}
