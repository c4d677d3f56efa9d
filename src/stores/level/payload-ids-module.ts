/** Loads the functions that say which payload IDs a database refers to, from a module of the embedder's. */
import type { PayloadIdCounter } from './payload-id-counter.ts'
import type { PayloadIdExtractor } from './scan.ts'

export interface PayloadIdFunctions {
  readonly payloadIds: PayloadIdExtractor
  readonly countPayloadIds?: (() => PayloadIdCounter) | undefined
}

/** Imports the module of a URL. Throws `TypeError` when what it exports under these names is no function, or there is no `payloadIds`. */
export async function loadPayloadIds(url: string): Promise<PayloadIdFunctions> {
  const { payloadIds, countPayloadIds } = (await import(url)) as Record<string, unknown>
  if (typeof payloadIds !== 'function') throw new TypeError(`The module "${url}" does not export a function named "payloadIds"`)
  if (countPayloadIds !== undefined && typeof countPayloadIds !== 'function') throw new TypeError(`"countPayloadIds" of the module "${url}" is no function`)
  return { payloadIds, countPayloadIds } as PayloadIdFunctions
}
