/** `postgres://USER@HOST/DATABASE?schema=NAME`: metadata stores in schemas. */
import process from 'node:process'
import { findParameterFault } from '../../util/urls.ts'
import { refuseStoreUrl, type StoreAddress, type StoreKind } from './address.ts'
import { findPostgresCatalog, type Place } from './postgres-catalog.ts'

export const postgresStores: StoreKind = { form: 'postgres://USER@HOST/DATABASE?schema=NAME', parse: parsePostgresUrl }

/** The URL parameters of `pg`, and `schema`, which is ours. Others are refused: `pg` ignores them silently. */
const PARAMETERS: readonly string[] = [
  'schema',
  'user',
  'password',
  'host',
  'port',
  'ssl',
  'sslmode',
  'sslcert',
  'sslkey',
  'sslrootcert',
  'sslnegotiation',
  'uselibpqcompat',
  'application_name',
  'fallback_application_name',
  'client_encoding',
  'options',
  'statement_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
  'query_timeout',
]

function parsePostgresUrl(text: string): StoreAddress {
  const url = parseUrl(text)
  const schema = url.searchParams.get('schema') ?? ''
  if (schema === '') throw refuseStoreUrl('it has no schema', 'End it with ?schema=NAME, such as postgres://server@localhost/files?schema=meta')
  url.searchParams.delete('schema')
  const connection = url.href
  const place = placeOf(url, schema)
  return {
    shown: `postgres://${url.username === '' ? '' : `${url.username}@`}${url.host}${url.pathname}?schema=${encodeURIComponent(schema)}`,
    catalogPath: async (storeIdIfNone) => {
      const storeId = await (await driver()).readPostgresStoreId({ connection, schema })
      return await findPostgresCatalog(storeId ?? storeIdIfNone, place)
    },
    trialUrl: connection,
    place: async () => `postgres://${encodeURIComponent(place[0])}:${place[1]}/${place[2]}?schema=${encodeURIComponent(schema)}`,
    openStore: async ({ create = false, adopt, pace }) => await (await driver()).openPostgresStore({ connection, schema, create, adopt, pace }),
    openHome: async ({ adopt, pace }) => await (await driver()).openPostgresHome({ connection, schema, adopt, pace }),
    guardPayloads: async (use) => await (await driver()).guardPostgresPayloads({ connection, schema, use }),
  }
}

/** The connection string of a URL, with or without a schema. Throws `invalid_argument`. */
export function parseServerUrl(text: string): string {
  const url = parseUrl(text)
  url.searchParams.delete('schema')
  return url.href
}

async function driver(): Promise<typeof import('../../stores/postgres/index.ts')> {
  return await import('../../stores/postgres/index.ts')
}

/** The server, database and schema of a URL. */
function placeOf({ hostname, port, username, pathname, searchParams }: URL, schema: string): Place {
  const { env } = process
  // Like pg: parameters of a URL win over its parts, these over the environment; the default database is named after the user.
  const user = searchParams.get('user') || username || env['PGUSER'] || env['USER'] || ''
  const database = pathname.slice(1) || env['PGDATABASE'] || user
  return [searchParams.get('host') || hostname, searchParams.get('port') || port || env['PGPORT'] || '5432', database, schema]
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text.replace(/^postgres(ql)?:/i, 'postgres:')) : undefined
  // Part of an unescaped password would be shown as the path. The message does not repeat the text, which may hold a password.
  if (url === undefined || url.pathname.slice(1).includes('/') || url.pathname.includes('@') || url.protocol !== 'postgres:' || url.host === '' || url.hash !== '') {
    throw refuseStoreUrl(
      'it is not of the form postgres://USER:PASSWORD@HOST:PORT/DATABASE?schema=NAME',
      'Escape special characters, such as "/" as %2F and "@" as %40; a password may also be in PGPASSWORD or ~/.pgpass',
    )
  }
  const fault = findParameterFault(url.searchParams, { scheme: 'postgres', known: PARAMETERS })
  if (fault !== undefined) throw refuseStoreUrl(fault.sentence, fault.hint)
  return url
}

