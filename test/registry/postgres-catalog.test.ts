/** Where the catalog of a Postgres store is: one for a store, however its server is named. */
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, realpath, rename, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { openPostgresStore } from '../../src/stores/postgres/index.ts'
import { catalogPathOf, openCatalog, withParts } from '../../src/registry/index.ts'
import { findPostgresCatalog } from '../../src/registry/stores/postgres-catalog.ts'
import { AT, BACKUP, manifestOf } from '../catalog/catalog-events.ts'
import { serverUrl } from '../stores/postgres/server.ts'
import { tempDir } from '../support/temp-dir.ts'

afterEach(() => {
  vi.unstubAllEnvs()
})

interface TwoWays {
  readonly schema: string
  /** Two URLs of the schema that name the server in two ways. */
  readonly urls: readonly [string, string]
  readonly catalogs: string
  /** Where releases up to 0.1.0 had the catalog of each URL. */
  readonly places: readonly [string, string]
}

async function twoWays(): Promise<TwoWays> {
  const state = await realpath(await tempDir())
  vi.stubEnv('XDG_STATE_HOME', state)
  const schema = `catalog_${randomBytes(6).toString('hex')}`
  const [byHost, byParameter] = [new URL(await serverUrl()), new URL(await serverUrl())]
  for (const url of [byHost, byParameter]) url.searchParams.set('schema', schema)
  const otherHost = byHost.hostname === 'localhost' ? '127.0.0.1' : 'localhost'
  byParameter.searchParams.set('host', otherHost)
  const catalogs = join(state, 'holdfast', 'catalogs')
  const placeAt = (host: string): string => join(catalogs, `${host}+${byHost.port || '5432'}+${byHost.pathname.slice(1)}+${schema}`)
  return { schema, urls: [byHost.href, byParameter.href], catalogs, places: [placeAt(byHost.hostname), placeAt(otherHost)] }
}

/** Makes a catalog with a backup of a store. */
async function makeCatalog(path: string, storeId: string): Promise<void> {
  await using catalog = await openCatalog(path)
  await catalog.append({ type: 'backup-recorded', at: AT, backupId: BACKUP, destination: 'file:/a', manifest: { ...manifestOf(), storeId }, how: 'backup' })
}

/** The names of the catalogs, without the directories for holds. */
async function namesIn(catalogs: string): Promise<readonly string[]> {
  return (await readdir(catalogs)).filter((name) => !name.endsWith('-holds')).toSorted()
}

test('catalogPathOf() has the ID of the store, whichever way its server is named', async () => {
  const { schema, urls, catalogs } = await twoWays()
  await using _store = await openPostgresStore({ connection: await serverUrl(), schema, storeId: 'a/../b' })
  for (const url of urls) expect(await catalogPathOf(url)).toBe(join(catalogs, 'id+a%2F..%2Fb'))
})

test('an empty XDG_STATE_HOME is not set: the catalogs are in the home directory, never in the working directory', async () => {
  const home = await tempDir()
  vi.stubEnv('HOME', home)
  vi.stubEnv('XDG_STATE_HOME', '')
  expect(await findPostgresCatalog('id', ['host', '5432', 'database', 'meta'])).toBe(join(home, '.local/state/holdfast/catalogs/id+id'))
})

test.each([0, 1] as const)('catalogPathOf() leads to the catalog of an earlier release, whichever way that named the server (%i)', async (way) => {
  const { schema, urls, catalogs, places } = await twoWays()
  await using store = await openPostgresStore({ connection: await serverUrl(), schema })
  await makeCatalog(places[way], store.storeId)
  for (const url of [urls[0], ...urls]) expect(await realpath(await catalogPathOf(url))).toBe(places[way])
  expect(await namesIn(catalogs)).toContain(`id+${store.storeId}`)
})

test('catalogPathOf() refuses to choose between two catalogs of a store, and is right again when one is left', async () => {
  const { schema, urls, catalogs, places } = await twoWays()
  await using store = await openPostgresStore({ connection: await serverUrl(), schema })
  for (const place of places) await makeCatalog(place, store.storeId)
  const before = await namesIn(catalogs)
  const details = { paths: [...places].toSorted() }
  const refused = { code: 'catalog_unavailable', retryable: false, hint: expect.stringContaining('--catalog PATH (catalog: PATH)') as unknown, details }
  for (const url of urls) await expect(catalogPathOf(url)).rejects.toMatchObject(refused)
  await expect(catalogPathOf(urls[0])).rejects.toThrow(places[1])
  expect(await namesIn(catalogs)).toEqual(before)
  expect(await catalogPathOf(urls[0], 'named')).toBe('named')

  await rm(places[0], { recursive: true })
  for (const url of urls) expect(await realpath(await catalogPathOf(url))).toBe(places[1])
})

test('catalogPathOf() refuses the catalog of a place where the ID of the store leads to another one', async () => {
  const { schema, urls, catalogs, places } = await twoWays()
  await using store = await openPostgresStore({ connection: await serverUrl(), schema })
  for (const place of places) await makeCatalog(place, store.storeId)
  await symlink(places[0], join(catalogs, `id+${store.storeId}`))
  expect(await realpath(await catalogPathOf(urls[0]))).toBe(places[0])
  await expect(catalogPathOf(urls[1])).rejects.toMatchObject({ code: 'catalog_unavailable', details: { paths: places } })
})

test('catalogPathOf() leaves the catalogs of other stores alone, at another server or earlier at the same place', async () => {
  const { schema, urls, catalogs, places } = await twoWays()
  await using store = await openPostgresStore({ connection: await serverUrl(), schema })
  for (const place of places) await makeCatalog(place, 'another')
  for (const url of urls) expect(await catalogPathOf(url)).toBe(join(catalogs, `id+${store.storeId}`))
  await makeCatalog(await catalogPathOf(urls[0]), store.storeId)
  for (const url of urls) expect(await realpath(await catalogPathOf(url))).toBe(join(catalogs, `id+${store.storeId}`))
})

test('catalogPathOf() names the missing catalog that the ID of the store leads to, and waits for it', async () => {
  const { schema, urls, catalogs, places } = await twoWays()
  await using store = await openPostgresStore({ connection: await serverUrl(), schema })
  await makeCatalog(places[0], store.storeId)
  await catalogPathOf(urls[0])
  await rename(places[0], `${places[0]}.away`)
  const message = expect.stringContaining(`"${join(catalogs, `id+${store.storeId}`)}" is a link to "${places[0]}", which is missing`) as unknown
  for (const url of urls) await expect(catalogPathOf(url)).rejects.toMatchObject({ code: 'catalog_unavailable', message })
  await rename(`${places[0]}.away`, places[0])
  for (const url of urls) expect(await realpath(await catalogPathOf(url))).toBe(places[0])
})

test('a store that is lost has the catalog of the backup that is restored, and none that is made for its place', async () => {
  const { urls, catalogs } = await twoWays()
  await makeCatalog(join(catalogs, 'id+lost'), 'lost')
  await mkdir(join(catalogs, 'id+another'))
  await expect(catalogPathOf(urls[0])).rejects.toMatchObject({ code: 'catalog_unavailable', hint: expect.stringContaining(`(catalog: PATH); those of Postgres stores are in ${catalogs}`) as unknown })
  const warn = (text: string): Promise<void> => Promise.reject(new Error(text))
  await withParts({ signal: new AbortController().signal }, async (parts) => {
    const catalog = await parts.catalogIfPossible({ store: urls[0], storeIdIfNone: 'lost', warn })
    expect(await catalog?.backup(BACKUP, 'file:/a')).toMatchObject({ manifest: { storeId: 'lost' } })
  })
  expect(await namesIn(catalogs)).toEqual(['id+another', 'id+lost'])
})
