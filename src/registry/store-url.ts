/** The URLs that name metadata stores on the command line. */
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { InvalidArgumentError } from '../errors/errors.ts'
import { CATALOG_DIRECTORY } from '../stores/level/home/home-files.ts'

export interface LevelUrl {
  readonly scheme: 'level'
  /** The URL as it may be shown. */
  readonly shown: string
  /** The absolute path of the store's directory. */
  readonly path: string
}

export interface PostgresUrl {
  readonly scheme: 'postgres'
  /** The URL as it may be shown: without its password, and without its options but the schema. */
  readonly shown: string
  /** How to connect, with the password if one is given. */
  readonly connection: string
  readonly schema: string
}

export type StoreUrl = LevelUrl | PostgresUrl

const FORMS = 'level:PATH or postgres://USER@HOST/DATABASE?schema=NAME'

/** Rejects with `invalid_argument` for a URL the command line cannot use. What may be a password is never repeated. */
export function parseStoreUrl(url: string): StoreUrl {
  const [, written, rest = ''] = /^([a-z][a-z0-9+.-]*):(.*)$/is.exec(url) ?? []
  if (written === undefined) throw new InvalidArgumentError(`Cannot use ${named(url)} as a store URL: it has no scheme`, { hint: `Write ${mayHoldPassword(url) ? FORMS : `level:${url}`}` })
  switch (written.toLowerCase()) {
    case 'level':
      return levelUrl(url, rest)
    case 'postgres':
    case 'postgresql':
      return postgresUrl(url)
    case 'memory':
      throw new InvalidArgumentError(`Cannot open ${named(url)}: a memory store lives only within its server's process`, {
        hint: 'Name a store on disk, such as level:PATH; back up a memory store from the server itself, through the library',
      })
    default:
      throw new InvalidArgumentError(`Cannot use this store URL: no kind of store is called ${JSON.stringify(written)}`, { hint: `Write ${FORMS}` })
  }
}

/** Where the catalog of a store is, unless it is named: in the store's own directory, or, where it has none, in the user's. */
export function catalogPathOf(storeUrl: string, catalog?: string): string {
  if (catalog !== undefined) return catalog
  const url = parseStoreUrl(storeUrl)
  if (url.scheme === 'level') return join(url.path, CATALOG_DIRECTORY)
  const { host, port, database, schema } = postgresPlace(url)
  const name = [host, port, database, schema].map((part) => encodeURIComponent(part)).join('+')
  const { env } = process
  return join(env['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state'), 'holdfast', 'catalogs', name)
}

/** The server, database and schema that a URL leads to. */
export function postgresPlace({ connection, schema }: PostgresUrl): { readonly host: string; readonly port: string; readonly database: string; readonly schema: string } {
  const { hostname, port, username, pathname, searchParams } = new URL(connection)
  const { env } = process
  // As pg connects: the options of a URL come before its parts, the environment after them, and a database that nobody names has the user's name.
  const user = searchParams.get('user') || username || env['PGUSER'] || env['USER'] || ''
  const database = pathname.slice(1) || env['PGDATABASE'] || user
  return { host: searchParams.get('host') || hostname, port: searchParams.get('port') || port || env['PGPORT'] || '5432', database, schema }
}

/** How to connect to the server that a URL names, with or without a schema. Rejects with `invalid_argument`. */
export function parseServerUrl(url: string): string {
  const found = parsed(url)
  found.searchParams.delete('schema')
  return found.href
}

/** A URL in a message that refuses it, unless it may hold a password. */
function named(url: string): string {
  return mayHoldPassword(url) ? 'what was given' : JSON.stringify(url)
}

function mayHoldPassword(url: string): boolean {
  return url.includes('@') || /password/i.test(url)
}

function levelUrl(url: string, path: string): LevelUrl {
  if (path === '' || path.includes('\0') || /^\/\/(?!\/)/.test(path)) {
    throw new InvalidArgumentError(`Cannot use ${named(url)} as a store URL: ${path === '' ? 'it has no path' : 'its path is none of this machine'}`, {
      hint: 'Write level:PATH with a relative or an absolute path',
    })
  }
  return { scheme: 'level', shown: url, path: resolve(path) }
}

function postgresUrl(text: string): PostgresUrl {
  const url = parsed(text)
  const schemas = url.searchParams.getAll('schema')
  const [schema = ''] = schemas
  if (schemas.length !== 1 || schema === '') {
    throw new InvalidArgumentError(`Cannot use a store URL of Postgres that ${schemas.length > 1 ? 'names more than one schema' : 'names no schema'}`, { hint: 'End it with ?schema=NAME, such as postgres://server@localhost/files?schema=meta' })
  }
  url.searchParams.delete('schema')
  const shown = `postgres://${url.username === '' ? '' : `${url.username}@`}${url.host}${url.pathname}?schema=${encodeURIComponent(schema)}`
  return { scheme: 'postgres', shown, connection: url.href, schema }
}

function parsed(text: string): URL {
  try {
    const url = new URL(text.replace(/^postgres(ql)?:/i, 'postgres:'))
    // What follows a password that was not escaped would be shown as the path.
    if (!url.pathname.slice(1).includes('/') && !url.pathname.includes('@') && url.protocol === 'postgres:' && url.host !== '' && url.hash === '') return url
  } catch {
    // Told below, without the text: it may hold a password.
  }
  throw new InvalidArgumentError('Cannot use this store URL of Postgres: it is not of the form postgres://USER:PASSWORD@HOST:PORT/DATABASE?schema=NAME', {
    hint: 'Escape what is special in a URL, such as "/" as %2F and "@" as %40; a password may also be in PGPASSWORD or ~/.pgpass',
  })
}
