/** Where the catalog of a Postgres store is: one for a store, however its server is named. */
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { openPostgresStore } from '../../src/stores/postgres/index.ts'
import { catalogPathOf } from '../../src/registry/index.ts'
import { serverUrl } from '../stores/postgres/server.ts'
import { tempDir } from '../support/temp-dir.ts'

afterEach(() => {
  vi.unstubAllEnvs()
})

/** A schema for a store, and two URLs of it that name the server in two ways. */
async function twoWays(): Promise<{ readonly schema: string; readonly urls: readonly [string, string]; readonly catalogs: string }> {
  const state = await tempDir()
  vi.stubEnv('XDG_STATE_HOME', state)
  const schema = `catalog_${randomBytes(6).toString('hex')}`
  const [byHost, byParameter] = [new URL(await serverUrl()), new URL(await serverUrl())]
  for (const url of [byHost, byParameter]) url.searchParams.set('schema', schema)
  byParameter.searchParams.set('host', byHost.hostname === 'localhost' ? '127.0.0.1' : 'localhost')
  return { schema, urls: [byHost.href, byParameter.href], catalogs: join(state, 'holdfast', 'catalogs') }
}

test('catalogPathOf() has the ID of the store, whichever way its server is named', async () => {
  const { schema, urls, catalogs } = await twoWays()
  await using _store = await openPostgresStore({ connection: await serverUrl(), schema, storeId: 'a/../b' })
  for (const url of urls) expect(await catalogPathOf(url)).toBe(join(catalogs, 'id+a%2F..%2Fb'))
})

test('catalogPathOf() leads to the catalog that a restore made before there was a store, or an earlier release', async () => {
  const { schema, urls, catalogs } = await twoWays()
  const before = await catalogPathOf(urls[0])
  expect(before).toMatch(new RegExp(`^${catalogs}/[^/]+\\+\\d+\\+[^/]+\\+${schema}$`))
  await mkdir(before, { recursive: true })
  await using store = await openPostgresStore({ connection: await serverUrl(), schema })
  for (const url of [urls[0], ...urls]) expect(await realpath(await catalogPathOf(url))).toBe(await realpath(before))
  expect(await readdir(catalogs)).toContain(`id+${store.storeId}`)
})
