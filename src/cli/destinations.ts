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
