/** Finds the backups that an operator's texts name. */
import { isUlid } from '../util/ulid.ts'
import type { Destination, DestinationOptions } from '../contracts/destination.ts'
import { InvalidArgumentError, ManifestMissingError } from '../errors/errors.ts'
import { listIds } from './destination-calls.ts'

const ID_PREFIX = /^[0-9A-HJKMNP-TV-Z]{1,26}$/
const MAX_SHOWN = 3
const MAX_LISTED = 100

/**
 * Finds the ID of the backup that `text` names: a whole ID, listed or not; the beginning of exactly one listed ID, in any case; or
 * `latest`, the greatest listed one.
 *
 * Rejects with `invalid_argument` when the text is malformed or matches several IDs (in `details.matches`), and with `manifest_missing`
 * when it matches none.
 */
export async function resolveBackup(destination: Destination, text: string, options: DestinationOptions = {}): Promise<string> {
  return (await resolveBackups(destination, [text], options))[0] as string
}

/** Finds the IDs of several backups, in the order of their texts, as `resolveBackup` does, with one listing at most. */
export async function resolveBackups(destination: Destination, texts: readonly string[], options: DestinationOptions = {}): Promise<readonly string[]> {
  for (const text of texts) checkText(text)
  const listed: string[] = []
  if (!texts.every((text) => isUlid(text.toUpperCase()))) for await (const backupId of listIds(destination, options)) listed.push(backupId)
  return texts.map((text) => find(text, listed, destination))
}

function checkText(text: string): void {
  if (text !== 'latest' && !ID_PREFIX.test(text.toUpperCase())) {
    throw new InvalidArgumentError(`Cannot use ${JSON.stringify(text.slice(0, 64))} as a backup ID: it is neither a ULID nor the beginning of one`, {
      hint: 'Use an ID from "holdfast list", the beginning of one, or "latest"',
    })
  }
}

function find(text: string, listed: readonly string[], destination: Destination): string {
  if (text === 'latest') return latestOf(listed, destination)
  const prefix = text.toUpperCase()
  if (isUlid(prefix)) return prefix
  const matches = listed.filter((backupId) => backupId.startsWith(prefix))
  const [match, second] = matches
  if (match === undefined) throw new ManifestMissingError(`Cannot find a backup that begins with "${prefix}" at ${JSON.stringify(destination.url)}`)
  if (second === undefined) return match
  throw new InvalidArgumentError(`Cannot tell which backup "${prefix}" means: ${matches.length} begin with it`, {
    hint: `Type more of the ID: ${matches.slice(0, MAX_SHOWN).join(', ')}${matches.length > MAX_SHOWN ? ', ...' : ''}`,
    details: { matches: matches.slice(0, MAX_LISTED) },
  })
}

function latestOf(listed: readonly string[], destination: Destination): string {
  const latest = listed.at(-1)
  if (latest !== undefined) return latest
  throw new ManifestMissingError(`Cannot find a backup at ${JSON.stringify(destination.url)}: there is none`, { hint: 'Take one with "holdfast backup"' })
}
