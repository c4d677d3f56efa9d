/** Catalogs by URL or path. A new kind is one line here. */
import type { Catalog } from '../contracts/catalog.ts'
import { InvalidArgumentError } from '../errors/errors.ts'
import { findParameterFault, kindOf, listSchemes, parametersOfPath, pathOfUrl, schemeOf } from '../util/urls.ts'

export interface OpenCatalogOptions {
  /** Whether to make the catalog where there is none. @default true */
  readonly create?: boolean | undefined
}

/** A catalog URL that was understood. The driver is loaded when it is opened. */
export interface CatalogAddress {
  open(options: OpenCatalogOptions): Promise<Catalog>
  /** The directory of this machine for what sweeps by the catalog remember; losing it costs time only. */
  readonly holdsDirectory: string
}

const KINDS: Readonly<Record<string, (url: string) => CatalogAddress>> = {
  level: levelCatalogAt,
}

/** Opens the catalog that a URL or a path names: `level:PATH`, or the path alone. Close it. Rejects with `invalid_argument` and `catalog_unavailable`. */
export async function openCatalog(url: string, options: OpenCatalogOptions = {}): Promise<Catalog> {
  return await parseCatalogUrl(url).open(options)
}

/** Understands the URL or the path of a catalog; nothing is opened. Throws `invalid_argument`, naming the kinds there are. */
export function parseCatalogUrl(url: string): CatalogAddress {
  const scheme = schemeOf(url) ?? 'level'
  const kind = kindOf(KINDS, scheme)
  if (kind !== undefined) return kind(schemeOf(url) === undefined ? `level:${url}` : url)
  throw refuse(`no kind of catalog is called ${JSON.stringify(scheme)}; known are ${listSchemes(KINDS)}`, 'Write the path of a directory, beginning with "./" where it holds a colon')
}

function levelCatalogAt(url: string): CatalogAddress {
  const path = pathOfUrl(url)
  if (path === undefined) throw refuse('it names no path of this machine', 'Write the path of a directory')
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
