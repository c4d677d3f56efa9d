/** Loads the function that says which payload IDs a record refers to, from a module of the embedder's. */
import type { PayloadIdExtractor } from './scan.ts'

/** Imports the module of a URL. Throws `TypeError` when it does not export a function named `payloadIds`. */
export async function loadPayloadIds(url: string): Promise<PayloadIdExtractor> {
  const module = (await import(url)) as { readonly payloadIds?: unknown }
  if (typeof module.payloadIds !== 'function') throw new TypeError(`The module "${url}" does not export a function named "payloadIds"`)
  return module.payloadIds as PayloadIdExtractor
}
