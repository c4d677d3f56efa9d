/** Catalogs by URL or path. A new kind is one line here. */
import type { Catalog } from '../contracts/catalog.ts'
import { InvalidArgumentError } from '../errors/errors.ts'
import { BOOLEAN, STRING, checkArgument, checkOptions, optional } from '../util/check-options.ts'
import { findParameterFault, findPathFault, kindOf, listSchemes, parametersOfPath, pathOfUrl, schemeOf } from '../util/urls.ts'

export interface OpenCatalogOptions {
  /** Whether to create a missing catalog. @default true */
  readonly create?: boolean | undefined
}

/** A parsed catalog URL. `open` loads the driver. */
export interface CatalogAddress {
  open(options: OpenCatalogOptions): Promise<Catalog>
  /** The local directory where sweeps with the catalog cache holds; losing it costs only time. */
  readonly holdsDirectory: string
}

const KINDS: Readonly<Record<string, (url: string) => CatalogAddress>> = {
  level: levelCatalogAt,
}

/**
 * Opens the catalog at a URL or a path: `level:PATH`, or the path alone. The caller closes it. Rejects with `invalid_argument` and
 * `catalog_unavailable`.
 */
export async function openCatalog(url: string, options: OpenCatalogOptions = {}): Promise<Catalog> {
  checkArgument('openCatalog', url, { name: 'url', kind: STRING })
  checkOptions('openCatalog', options, { create: optional(BOOLEAN) })
  return await parseCatalogUrl(url).open(options)
}

/** Parses the URL or the path of a catalog; opens nothing. Throws `invalid_argument`, which lists the known kinds. */
export function parseCatalogUrl(url: string): CatalogAddress {
  const scheme = schemeOf(url) ?? 'level'
  const kind = kindOf(KINDS, scheme)
  if (kind !== undefined) return kind(schemeOf(url) === undefined ? `level:${url}` : url)
  throw refuse(
    `${JSON.stringify(scheme)} is not a kind of catalog; known are ${listSchemes(KINDS)}`,
    'Write the path of a directory; begin it with "./" if it contains a colon',
  )
}

function levelCatalogAt(url: string): CatalogAddress {
  const path = pathOfUrl(url)
  if (path === undefined) {
    const { sentence = 'it has no local path', hint = 'Write the path of a directory' } = findPathFault(url) ?? {}
    throw refuse(sentence, hint)
  }
  const fault = findParameterFault(parametersOfPath(url), { scheme: 'level', known: [] })
  if (fault !== undefined) throw refuse(fault.sentence, fault.hint)
  return {
    open: async (options) => await (await import('../catalog/level/index.ts')).openLevelCatalog(path, options),
    holdsDirectory: `${path}-holds`,
  }
}

function refuse(sentence: string, hint: string): InvalidArgumentError {
  return new InvalidArgumentError(`Cannot use this catalog: ${sentence}`, { hint })
}
