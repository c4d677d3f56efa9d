/** Opens destinations by URL. A new driver is one file and one line here. */
import type { Destination } from '../src/contracts/destination.ts'
import { DestinationConfigInvalidError } from '../src/errors/errors.ts'
import { STRING, checkArgument } from '../src/util/check-options.ts'
import { kindOf, listSchemes, schemeOf } from '../src/util/urls.ts'
import { loadWith } from '../src/util/optional-package.ts'

/** The drivers by scheme. Each is loaded, with the packages it needs, when a URL first asks for it. */
const DRIVERS: Readonly<Record<string, (url: string) => Promise<Destination>>> = {
  file: async (url) => (await import('./fs/index.ts')).openFsDestination(url),
  s3: async (url) => (await loadWith('@aws-sdk/client-s3', () => import('./s3/index.ts'))).openS3Destination(url),
}

/** The URL schemes that have a driver. */
export const DESTINATION_SCHEMES: readonly string[] = Object.keys(DRIVERS)

/**
 * Opens the destination that a URL names, such as `file:backups`. Reads and writes nothing yet.
 *
 * Throws `destination_config_invalid` when the scheme is not known, or when the driver cannot use the rest of the URL.
 * No message repeats the URL, which may have credentials in it.
 */
export async function openDestination(url: string): Promise<Destination> {
  checkArgument('openDestination', url, { name: 'url', kind: STRING })
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
