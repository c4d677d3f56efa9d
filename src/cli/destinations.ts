/** Destinations for the length of one command. */
import type { Destination } from '../destination.ts'
import { openDestination } from '../../destinations/registry.ts'

/** Calls `use` with the destination a URL names, and closes it afterwards. */
export async function withDestination<T>(url: string, use: (destination: Destination) => Promise<T>): Promise<T> {
  const destination = await openDestination(url)
  try {
    return await use(destination)
  } finally {
    await destination.close()
  }
}

/** The same with several. */
export async function withDestinations<T>(urls: readonly string[], use: (destinations: readonly Destination[]) => Promise<T>): Promise<T> {
  const destinations: Destination[] = []
  try {
    for (const url of urls) destinations.push(await openDestination(url))
    return await use(destinations)
  } finally {
    await Promise.all(destinations.map((destination) => destination.close()))
  }
}
