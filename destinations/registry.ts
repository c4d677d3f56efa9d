/** Destinations by URL. A new driver is one file and one line here. */
import type { Destination } from '../src/contracts/destination.ts'
import { DestinationConfigInvalidError } from '../src/errors/errors.ts'
import { kindOf, listSchemes, schemeOf } from '../src/util/urls.ts'
import { loadWith } from '../src/util/optional-package.ts'

/** Each loads its driver, and what that needs, only when a URL asks for it. */
const DRIVERS: Readonly<Record<string, (url: string) => Promise<Destination>>> = {
  file: async (url) => (await import('./fs/index.ts')).openFsDestination(url),
  s3: async (url) => (await loadWith('@aws-sdk/client-s3', () => import('./s3/index.ts'))).openS3Destination(url),
}

/** The URL schemes there are drivers for. */
export const DESTINATION_SCHEMES: readonly string[] = Object.keys(DRIVERS)

/**
 * Makes the destination a URL names, such as `file:backups`. Nothing is read or written yet.
 *
 * Throws `destination_config_invalid` when the scheme is not known, naming those that are, or when the driver cannot use the
 * rest. No message repeats the URL, which may hold credentials.
 */
export async function openDestination(url: string): Promise<Destination> {
  const scheme = schemeOf(url)
  if (scheme === undefined) {
    throw new DestinationConfigInvalidError(`Cannot open the destination: its URL has no scheme; known are ${listSchemes(DRIVERS)}`, {
      hint: 'For a directory write "file:PATH"',
    })
  }
  const driver = kindOf(DRIVERS, scheme)
  if (driver === undefined) throw new DestinationConfigInvalidError(`Cannot open the destination: "${scheme}:" is not a known scheme; known are ${listSchemes(DRIVERS)}`)
  return await driver(url)
}
