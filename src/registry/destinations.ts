/** Destinations for the length of one command. */
import type { Destination } from '../contracts/destination.ts'
import { closing } from '../errors/clean-up.ts'
import { openDestination } from '../../destinations/registry.ts'

/** Calls `use` with the destination a URL names, and closes it afterwards. */
export async function withDestination<T>(url: string, use: (destination: Destination) => Promise<T>): Promise<T> {
  return await closing(await openDestination(url), use)
}

/** The same with several. */
export async function withDestinations<T>(urls: readonly string[], use: (destinations: readonly Destination[]) => Promise<T>): Promise<T> {
  const [url, ...others] = urls
  if (url === undefined) return await use([])
  return await withDestination(url, (first) => withDestinations(others, (rest) => use([first, ...rest])))
}
