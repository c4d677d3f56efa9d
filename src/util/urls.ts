/** Parses the common part of the URLs of stores, destinations, catalogs and payload stores: a scheme, and known parameters. */
import { homedir, userInfo } from 'node:os'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { MetadataError } from '../errors/errors.ts'

const SCHEME = /^([a-z][a-z0-9+.-]{0,15}):/i
/** The beginning of a path in another user's home directory, which a shell does not expand within a word. */
const NAMED_HOME = /^~[^/]/
/** The begin of the parameters of a URL with a plain path. A "?" without `NAME=` belongs to the path. */
const PARAMETERS_OF_PATH = /\?(?=[a-z][a-z0-9_-]*=)/i
/** A name that a message may repeat. Anything else may be part of a password. */
const PLAIN_NAME = /^[a-z][a-z0-9_.-]{0,39}$/i

/** The scheme of a URL in lower case; `undefined` if there is none. */
export function schemeOf(url: string): string | undefined {
  return SCHEME.exec(url)?.[1]?.toLowerCase()
}

/** The table's own entry for a scheme, never an inherited one. */
export function kindOf<Kind>(kinds: Readonly<Record<string, Kind>>, scheme: string | undefined): Kind | undefined {
  return scheme !== undefined && Object.hasOwn(kinds, scheme) ? kinds[scheme] : undefined
}

/** The schemes of a table as a sentence lists them: `"file:", "s3:"`. */
export function listSchemes(kinds: Readonly<Record<string, unknown>>): string {
  return Object.keys(kinds).map((scheme) => `"${scheme}:"`).join(', ')
}

/**
 * The path of a URL, for every scheme: `level:PATH` as written, relative or absolute; `level:~/PATH` in the user's home directory, for a
 * shell leaves that to us; `level:///PATH` absolute and percent-decoded. `undefined` if there is no local path: `findPathFault` says why.
 */
export function pathOfUrl(url: string): string | undefined {
  const rest = url.slice(url.indexOf(':') + 1)
  if (NAMED_HOME.test(rest)) return undefined
  const path = rest.startsWith('//') ? decodedPath(rest) : rest.replace(/^~(?=\/|$)/, homeDirectory)
  return path === '' || path?.includes('\0') ? undefined : path
}

/** Finds what is wrong with a URL that has no local path; `undefined` if there is nothing to say but that. */
export function findPathFault(url: string): ParameterFault | undefined {
  const rest = url.slice(url.indexOf(':') + 1)
  if (NAMED_HOME.test(rest)) {
    return { sentence: '"~" with a name is not expanded', hint: 'Write the path in full; begin it with "./" if a directory has that name' }
  }
  if (rest.startsWith('///') && /%(?![0-9a-f]{2})/i.test(rest)) {
    return { sentence: 'its path has a "%" without two hexadecimal digits', hint: 'Write %25 for "%", or the path as it is with one "/" at the beginning' }
  }
  if (rest.startsWith('///') && /[?#]/.test(rest)) {
    const parameters = new URLSearchParams(rest.split('?')[1] ?? '')
    const other = { sentence: 'its path has a "?" or "#"', hint: 'Write %3F for "?", and %23 for "#"' }
    return findParameterFault(parameters, { scheme: url.slice(0, url.indexOf(':')), known: [] }) ?? other
  }
  return undefined
}

/** The user's home directory; an empty HOME names none. Throws `entry_not_found` for a user without one, as a container may have. */
export function homeDirectory(): string {
  try {
    return homedir() || userInfo().homedir
  } catch (cause) {
    throw new MetadataError('entry_not_found', 'Cannot find the home directory: HOME is not set, and the system does not know this user', {
      cause,
      hint: 'Set HOME, or write paths in full; a catalog elsewhere is named with --catalog PATH (catalog: PATH)',
    })
  }
}

function decodedPath(rest: string): string | undefined {
  try {
    const parsed = new URL(`file:${rest}`)
    return rest.startsWith('///') && parsed.search === '' && parsed.hash === '' ? fileURLToPath(parsed) : undefined
  } catch {
    return undefined
  }
}

/** The URL of an absolute path; `pathOfUrl` reverses it. */
export function urlOfPath(scheme: string, path: string): string {
  return PARAMETERS_OF_PATH.test(path) ? pathToFileURL(path).href.replace(/^file:/, `${scheme}:`) : `${scheme}:${path}`
}

/** The parameters of a URL with a plain path. */
export function parametersOfPath(url: string): URLSearchParams {
  const at = url.search(PARAMETERS_OF_PATH)
  return new URLSearchParams(at === -1 ? '' : url.slice(at + 1))
}

export interface ParameterFault {
  readonly sentence: string
  readonly hint: string
}

/** Finds an unknown or repeated parameter of a URL. The result never contains a value. */
export function findParameterFault(
  parameters: URLSearchParams,
  { scheme, known }: { readonly scheme: string; readonly known: readonly string[] },
): ParameterFault | undefined {
  const list = known.length === 0 ? `"${scheme}:" URLs have none` : `Known are ${known.join(', ')}`
  const names = [...parameters.keys()]
  const unknown = names.find((name) => !known.includes(name))
  if (unknown !== undefined) {
    const isPlain = PLAIN_NAME.test(unknown) && !parameters.toString().includes('%40')
    const meant = isPlain ? nearest(unknown, known) : undefined
    return {
      sentence: isPlain ? `${JSON.stringify(unknown)} is not a parameter of "${scheme}:" URLs` : `it has a parameter that "${scheme}:" URLs do not have`,
      hint: meant === undefined ? `Leave it out. ${list}` : `Did you mean ${JSON.stringify(meant)}? ${list}`,
    }
  }
  const doubled = names.find((name, index) => names.indexOf(name) !== index)
  return doubled === undefined ? undefined : { sentence: `it has the parameter ${JSON.stringify(doubled)} more than once`, hint: 'Write it once' }
}

/** The known name that was probably meant: equal but for case and punctuation, or at most two typing errors away. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const plain = plainOf(name)
  const [first] = known.map((candidate) => ({ candidate, distance: distanceBetween(plain, plainOf(candidate)) })).toSorted((a, b) => a.distance - b.distance)
  return first !== undefined && first.distance <= Math.min(2, Math.floor(plain.length / 3)) ? first.candidate : undefined
}

function plainOf(name: string): string {
  return name.toLowerCase().replace(/[_.-]/g, '')
}

/** The edit distance of two texts. */
function distanceBetween(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let index = 0; index < from.length; index++) {
    const next = [index + 1]
    for (let at = 1; at <= to.length; at++) {
      next.push(Math.min((row[at] ?? 0) + 1, (next[at - 1] ?? 0) + 1, (row[at - 1] ?? 0) + (to[at - 1] === from[index] ? 0 : 1)))
    }
    row = next
  }
  return row[to.length] ?? 0
}
