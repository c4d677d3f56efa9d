import { Pool } from 'pg'
import { describe, expect, it, onTestFinished } from 'vitest'
import { newUlid } from '../../../src/util/ulid.ts'
import { PostgresMetadataStore, openPostgresHome, openPostgresStore } from '../../../src/stores/postgres/index.ts'
import { lockKey } from '../../../src/stores/postgres/connection/advisory-locks.ts'
import { dump, fillStore } from '../../restore/trees.ts'
import { alteredPool, breakConnection, losing } from './altered-pool.ts'
import { homeIn, openTransaction, privilegesOf, rowsOf, schemaName, schemasLike, storeIn } from './homes.ts'
import { quote, sharedPool } from './schemas.ts'
import { serverUrl } from './server.ts'

/** Makes a store with something in it, closed. */
async function madeStore(schema: string): Promise<{ readonly storeId: string; readonly content: string; readonly engine: string }> {
  await using store = await openPostgresStore({ connection: await sharedPool(), schema })
  await fillStore(store, { seed: 1, files: 12 })
  return { storeId: store.storeId, content: await dump(store), engine: (await store.engines()).live ?? '' }
}

async function contentIn(schema: string): Promise<string> {
  await using store = await openPostgresStore({ connection: await sharedPool(), schema, create: false })
  return await dump(store)
}

/** Reads the live tables over and over until it is stopped; gives how long each read took, in ascending order. */
function reading(schema: string): { readonly stop: () => void; readonly waits: Promise<readonly number[]> } {
  const stopped = new AbortController()
  const read = async (): Promise<readonly number[]> => {
    const waits: number[] = []
    while (!stopped.signal.aborted) {
      const startedAt = performance.now()
      await rowsOf(`SELECT count(*) FROM ${schema}.inodes JOIN ${schema}.entries USING (inode)`)
      waits.push(performance.now() - startedAt)
    }
    return waits.toSorted((x, y) => x - y)
  }
  return { stop: () => stopped.abort(), waits: read() }
}

/** A second engine, sealed and ready to be swapped in. */
async function sideOf(home: Awaited<ReturnType<typeof homeIn>>): Promise<string> {
  const engine = newUlid()
  const side = await home.openSide(engine, { storeId: (await home.readStoreId()) ?? 'new' })
  await side.seal()
  return engine
}

describe('openPostgresStore', () => {
  it('makes a store, and opens it again as it was; its records are in a schema beside it', async () => {
    const schema = await schemaName()
    const { storeId, content } = await madeStore(schema)
    expect(await contentIn(schema)).toBe(content)
    const store = await storeIn(schema, { create: false, storeId })
    expect(store.storeId).toBe(storeId)
    expect(await schemasLike(await sharedPool(), schema)).toEqual([schema, `${schema}_holdfast`])
  })

  it('refuses a schema without a store where none is to be made, and leaves no trace', async () => {
    const schema = await schemaName()
    await expect(openPostgresStore({ connection: await sharedPool(), schema, create: false })).rejects.toMatchObject({ code: 'store_unavailable' })
    expect(await schemasLike(await sharedPool(), schema)).toEqual([])
  })

  it('refuses a store of another ID, and an ID that is none', async () => {
    const schema = await schemaName()
    await madeStore(schema)
    await expect(openPostgresStore({ connection: await sharedPool(), schema, storeId: 'another' })).rejects.toMatchObject({ code: 'store_id_mismatch', hint: expect.stringContaining('"storeId"') as string })
    await expect(openPostgresStore({ connection: await sharedPool(), schema, storeId: 'two words' })).rejects.toMatchObject({ code: 'invalid_argument' })
  })

  it('opened by many at once where there is none makes one store', async () => {
    const schema = await schemaName()
    const stores = await Promise.all(Array.from({ length: 4 }, () => storeIn(schema)))
    expect(new Set(stores.map(({ storeId }) => storeId)).size).toBe(1)
    expect((await stores[0]?.engines())?.leftovers).toEqual([])
    expect(await schemasLike(await sharedPool(), schema)).toEqual([schema, `${schema}_holdfast`])
  })

  it('may be open in many handles: what one writes the others read', async () => {
    const schema = await schemaName()
    const [first, second] = [await storeIn(schema), await storeIn(schema)]
    await first.setSetting('from', 'the first')
    expect(await second.setting('from')).toBe('the first')
  })

  it.each(['we"ird', 'Ünï\\code😀', "it's; DROP", 'a.b c', 'select'])('takes the name %s, which needs quoting, through restores and back', async (prefix) => {
    const schema = await schemaName(prefix)
    const { content, engine } = await madeStore(schema)
    const home = await homeIn(schema)
    const side = await sideOf(home)
    await home.swap(side, { storeId: 'x', previous: engine })
    expect(await schemasLike(await sharedPool(), schema)).toEqual([schema, `${schema}_holdfast`, `${schema}_old_${engine}`])
    await home.swap(engine, { storeId: (await home.readStoreId()) ?? '', previous: undefined })
    await home.removeEngine(side)
    expect(await schemasLike(await sharedPool(), schema)).toEqual([schema, `${schema}_holdfast`])
    expect(await rowsOf(`SELECT FROM ${quote(schema)}.inodes LIMIT 1`)).toHaveLength(1)
    expect(content).not.toBe('')
  })

  it('takes a name of 28 bytes and refuses one of 29, naming the limit', async () => {
    const schema = (await schemaName('é')).padEnd(27, 'x')
    expect(Buffer.byteLength(schema)).toBe(28)
    const { engine } = await madeStore(schema)
    const home = await homeIn(schema)
    await home.swap(await sideOf(home), { storeId: 'x', previous: engine })
    await home.swap(engine, { storeId: 'x', previous: undefined })
    await expect(openPostgresStore({ connection: await sharedPool(), schema: `${schema}x` })).rejects.toMatchObject({
      code: 'invalid_argument',
      message: expect.stringMatching(/29 bytes.*28/) as string,
    })
  })

  it.each([
    ['public', /extensions/],
    ['pg_meta', /Postgres/],
    ['information_schema', /Postgres/],
    ['', /one character/],
    ['a\0b', /NUL/],
  ])('refuses the name %j with the reason', async (schema, message) => {
    await expect(openPostgresStore({ connection: await sharedPool(), schema })).rejects.toMatchObject({ code: 'invalid_argument', message: expect.stringMatching(message) as string })
  })

  it.each([
    ['a table', 'CREATE TABLE %.precious (id int)'],
    ['a function', `CREATE FUNCTION %.precious() RETURNS int LANGUAGE sql AS 'SELECT 1'`],
    ['a type', `CREATE TYPE %.precious AS ENUM ('a')`],
  ])('refuses a schema that holds %s of others, and changes nothing', async (_, statement) => {
    const schema = await schemaName()
    await rowsOf(`CREATE SCHEMA ${schema}`)
    await rowsOf(statement.replace('%', schema))
    for (const open of [openPostgresStore, openPostgresHome]) {
      await expect(open({ connection: await sharedPool(), schema })).rejects.toMatchObject({ code: 'store_unavailable', message: expect.stringContaining('holds') as string })
    }
    expect(await schemasLike(await sharedPool(), schema)).toEqual([schema])
  })

  it('makes its store in the place of an empty schema, with its owner and its grants', async () => {
    const schema = await schemaName()
    await withRoles(async ([owner, reader]) => {
      await rowsOf(`CREATE SCHEMA ${schema} AUTHORIZATION ${owner}`)
      await rowsOf(`GRANT USAGE ON SCHEMA ${schema} TO ${reader}`)
      await rowsOf(`ALTER DEFAULT PRIVILEGES FOR ROLE ${owner} IN SCHEMA ${schema} GRANT SELECT ON TABLES TO ${reader}`)
      const before = await privilegesOf(schema)
      await madeStore(schema)
      const after = (await privilegesOf(schema)).filter(({ kind }) => kind === 'schema' || kind === 'default')
      expect(after).toEqual(before)
    })
  })

  it('a first restore into a schema that others filled meanwhile is refused, and drops nothing of it', async () => {
    const schema = await schemaName()
    const home = await homeIn(schema)
    const engine = await sideOf(home)
    await rowsOf(`CREATE SCHEMA ${schema}`)
    await rowsOf(`CREATE TABLE ${schema}.precious (id int)`)
    await expect(home.swap(engine, { storeId: 'new', previous: undefined })).rejects.toMatchObject({ code: 'store_unavailable', message: expect.stringContaining('something else') as string })
    expect(await rowsOf(`SELECT FROM ${schema}.precious`)).toEqual([])
    expect((await home.engines()).live).toBe(undefined)
  })

  describe('adopt', () => {
    it('refuses a store that was made without a home and not asked for, with a hint, and leaves it as it is', async () => {
      const schema = await schemaName()
      await using plain = await PostgresMetadataStore.open(await sharedPool(), { schema, storeId: 'plain' })
      await fillStore(plain, { seed: 2, files: 5 })
      await expect(openPostgresStore({ connection: await sharedPool(), schema })).rejects.toMatchObject({ code: 'store_unavailable', hint: expect.stringContaining('--adopt (adopt: true)') as string })
      const refused = openPostgresStore({ connection: await sharedPool(), schema, adopt: false })
      await expect(refused).rejects.toMatchObject({ code: 'store_unavailable', hint: 'Name a schema that does not exist or is empty' })
      expect(await schemasLike(await sharedPool(), schema)).toEqual([schema])
    })

    it('takes it over where it is, with its ID, and opens it again without being asked', async () => {
      const schema = await schemaName()
      await using plain = await PostgresMetadataStore.open(await sharedPool(), { schema, storeId: 'plain' })
      await fillStore(plain, { seed: 2, files: 5 })
      const content = await dump(plain)
      const adopted = await storeIn(schema, { adopt: true })
      expect(adopted.storeId).toBe('plain')
      expect(await dump(adopted)).toBe(content)
      expect(await contentIn(schema)).toBe(content)
    })

    it('refuses tables that are not a store', async () => {
      const schema = await schemaName()
      await rowsOf(`CREATE SCHEMA ${schema} CREATE TABLE precious (id int)`)
      await expect(openPostgresStore({ connection: await sharedPool(), schema, adopt: true })).rejects.toMatchObject({ code: 'store_unavailable' })
      expect(await schemasLike(await sharedPool(), schema)).toEqual([schema])
    })
  })

  describe('records', () => {
    it.each([
      ['lost their home row', 'DELETE FROM %.home'],
      ['of a later format', 'UPDATE %.home SET format = 99'],
      ['without one of their tables', 'DROP TABLE %.restore_journal'],
      ['in a schema that is of something else', 'DROP SCHEMA % CASCADE; CREATE SCHEMA %'],
    ])('%s: refuses to open, removes nothing, and says where they are', async (_, damage) => {
      const schema = await schemaName()
      await madeStore(schema)
      await rowsOf(damage.replaceAll('%', `${schema}_holdfast`))
      for (const open of [openPostgresStore, openPostgresHome]) {
        await expect(open({ connection: await sharedPool(), schema })).rejects.toMatchObject({ code: 'store_unavailable', message: expect.stringContaining(`${schema}_holdfast`) as string })
      }
      expect(await rowsOf(`SELECT FROM ${schema}.inodes LIMIT 1`)).toHaveLength(1)
    })
  })

  it.each([
    ['its schema is gone', 'DROP SCHEMA % CASCADE'],
    ['its tables are gone', 'DROP SCHEMA % CASCADE; CREATE SCHEMA %'],
    ['it lost its version', 'TRUNCATE %.holdfast_versions'],
    ['it is of another store', `UPDATE %.holdfast_identity SET store_id = 'another'`],
  ])('of a live engine that is damaged (%s) refuses; openPostgresHome opens, and knows the store ID', async (_, damage) => {
    const schema = await schemaName()
    const { storeId } = await madeStore(schema)
    await rowsOf(damage.replaceAll('%', schema))
    await expect(openPostgresStore({ connection: await sharedPool(), schema })).rejects.toMatchObject({ code: expect.stringMatching(/^store_(unavailable|id_mismatch)$/) as string })
    const home = await homeIn(schema)
    expect(await home.readStoreId()).toBe(storeId)
    await expect(home.checkLive()).rejects.toMatchObject({ code: expect.stringMatching(/^store_(unavailable|id_mismatch)$/) as string })
  })

  it('refuses a pool of fewer connections than it needs at once, rather than wait for ever', async () => {
    const pool = new Pool({ connectionString: await serverUrl(), max: 2 })
    onTestFinished(() => pool.end())
    await expect(openPostgresStore({ connection: pool, schema: 'meta' })).rejects.toThrow(RangeError)
  })

  it('made of a URL connects by it, and its connections end with the store', async () => {
    const schema = await schemaName()
    const url = new URL(await serverUrl())
    url.searchParams.set('application_name', schema)
    const store = await openPostgresStore({ connection: url.href, schema })
    await store.createShare('s')
    const connected = (): Promise<readonly unknown[]> => rowsOf('SELECT FROM pg_stat_activity WHERE application_name = $1', [schema])
    expect((await connected()).length).toBeGreaterThan(0)
    await store.close()
    await expect.poll(connected).toEqual([])
  })

  it.each(['postgres://me:sec%ret@h/d', 'postgres://me:sec/ret@h/d', 'postgres://me:sec:ret@', 'http://me:secret@h/d', 'sec ret'])('refuses the URL %s without repeating it', async (connection) => {
    const error: unknown = await openPostgresStore({ connection, schema: 'meta' }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'invalid_argument' })
    expect(everythingSaid(error)).not.toMatch(/sec.?ret|ret@/)
  })

  it('never tells the password of a URL: not where no server listens, nor where the password is wrong', async () => {
    const wrong = new URL(await serverUrl())
    wrong.password = 'hunter2-wrong'
    const nobody = new URL(wrong)
    nobody.port = '1'
    for (const { href } of [wrong, nobody]) {
      const error: unknown = await openPostgresStore({ connection: href, schema: 'meta' }).catch((reason: unknown) => reason)
      expect(error).toMatchObject({ code: 'store_unavailable' })
      expect(everythingSaid(error)).not.toContain('hunter2')
    }
  })
})

describe('PostgresHome', () => {
  it('openSide refuses a schema of others, and removeEngine leaves it', async () => {
    const schema = await schemaName()
    await madeStore(schema)
    const home = await homeIn(schema)
    const foreign = newUlid()
    await rowsOf(`CREATE SCHEMA "${schema}_restore_${foreign}"`)
    await rowsOf(`CREATE TABLE "${schema}_restore_${foreign}".precious (id int)`)
    await expect(home.openSide(foreign, { storeId: 'x' })).rejects.toMatchObject({ code: 'store_unavailable' })
    expect((await home.engines()).leftovers).toEqual([])
    await home.removeEngine(foreign)
    expect(await rowsOf(`SELECT FROM "${schema}_restore_${foreign}".precious`)).toEqual([])
  })

  it('swap, swap back and unswap change nothing when they are called again', async () => {
    const schema = await schemaName()
    const home = await homeIn(schema)
    const [first, second] = [await sideOf(home), await sideOf(home)]
    const state = async (): Promise<unknown> => [await home.engines(), await home.readStoreId(), await schemasLike(await sharedPool(), schema)]
    const steps = [
      () => home.swap(first, { storeId: 'new', previous: undefined }),
      () => home.swap(second, { storeId: 'new', previous: first }),
      () => home.swap(first, { storeId: 'new', previous: second }),
      () => home.unswap(),
    ]
    for (const step of steps) {
      await step()
      const once = await state()
      await step()
      expect(await state()).toEqual(once)
    }
    expect(await home.engines()).toEqual({ live: undefined, previous: undefined, leftovers: [first, second] })
    expect(await home.readStoreId()).toBe(undefined)
  })

  it('swap to an engine that was never made is refused, and nothing is renamed', async () => {
    const schema = await schemaName()
    const { engine, storeId, content } = await madeStore(schema)
    const home = await homeIn(schema)
    await expect(home.swap(newUlid(), { storeId, previous: engine })).rejects.toMatchObject({ code: 'store_unavailable' })
    expect(await home.engines()).toEqual({ live: engine, previous: undefined, leftovers: [] })
    expect(await contentIn(schema)).toBe(content)
  })

  it('swap whose COMMIT breaks its connection asks the server whether it was made', async () => {
    const schema = await schemaName()
    const { engine, storeId, content } = await madeStore(schema)
    let befalls: typeof losing | undefined
    const pool = alteredPool(await sharedPool(), 'COMMIT', (run, client) => {
      const once = befalls
      befalls = undefined
      return once === undefined ? run() : once(run, client)
    })
    const home = await homeIn(schema, { connection: pool })
    const next = await sideOf(home)
    befalls = breakConnection
    await expect(home.swap(next, { storeId, previous: engine })).rejects.toMatchObject({ code: 'store_unavailable', retryable: true })
    expect(await home.engines()).toEqual({ live: engine, previous: undefined, leftovers: [next] })
    expect(await contentIn(schema)).toBe(content)
    befalls = losing
    await home.swap(next, { storeId, previous: engine })
    expect(await home.engines()).toEqual({ live: next, previous: engine, leftovers: [] })
  })

  describe('leftovers', () => {
    it('are swept at open, and no schema that only looks like one', async () => {
      const schema = await schemaName()
      const { content } = await madeStore(schema)
      const home = await homeIn(schema)
      const leftover = await sideOf(home)
      await home.close()
      const lookalikes = [`${schema}_restore_${newUlid()}`, `${schema}_old_${newUlid()}`, `${schema}_restore_x`]
      for (const name of lookalikes) await rowsOf(`CREATE SCHEMA "${name}" CREATE TABLE precious (id int)`)
      expect(await schemasLike(await sharedPool(), schema)).toContain(`${schema}_restore_${leftover}`)
      expect(await contentIn(schema)).toBe(content)
      expect(await schemasLike(await sharedPool(), schema)).toEqual([schema, `${schema}_holdfast`, ...lookalikes].toSorted())
    })

    it('are not swept while another handle is filling them', async () => {
      const schema = await schemaName()
      await madeStore(schema)
      const home = await homeIn(schema)
      const engine = newUlid()
      const side = await home.openSide(engine, { storeId: 'x' })
      await storeIn(schema)
      expect((await home.engines()).leftovers).toEqual([engine])
      await side.discard()
      await home.resume()
    })

    it('that others depend on are warned of and stay, with what depends on them', async () => {
      const schema = await schemaName()
      const { content, engine, storeId } = await madeStore(schema)
      await rowsOf(`CREATE SCHEMA ${schema}_reports`)
      await rowsOf(`CREATE VIEW ${schema}_reports.shares AS SELECT name FROM ${schema}.shares`)
      const home = await homeIn(schema)
      const next = await sideOf(home)
      await home.swap(next, { storeId, previous: engine })
      await home.swap(next, { storeId, previous: undefined })
      await home.close()
      const warnings: Error[] = []
      const store = await storeIn(schema, { onWarning: (warning) => warnings.push(warning) })
      expect(warnings).toMatchObject([{ code: 'store_unavailable', hint: expect.stringContaining('view') as string }])
      expect((await store.engines()).leftovers).toEqual([engine])
      expect(await rowsOf(`SELECT * FROM ${schema}_reports.shares`)).toEqual([{ name: 'share-1' }])
      expect(content).toContain('share-1')
    })

    it('that a transaction still reads are warned of and stay until the next open', async () => {
      const schema = await schemaName()
      await madeStore(schema)
      const home = await homeIn(schema)
      const leftover = await sideOf(home)
      await home.close()
      const reader = await openTransaction(`SELECT FROM "${schema}_restore_${leftover}".inodes`)
      const warnings: Error[] = []
      await storeIn(schema, { onWarning: (warning) => warnings.push(warning) })
      expect(warnings).toMatchObject([{ code: 'store_not_drained', retryable: true }])
      await reader.end()
      expect((await (await storeIn(schema)).engines()).leftovers).toEqual([])
    })
  })

  describe('a lock held against the swap', () => {
    it('gives store_not_drained in time, naming the sessions that have it, with everything as before; readers wait no longer than one attempt', async () => {
      const schema = await schemaName()
      const { engine, storeId } = await madeStore(schema)
      const home = await homeIn(schema, { swapTimeoutMs: 1500 })
      const next = await sideOf(home)
      const before = [await home.engines(), await schemasLike(await sharedPool(), schema), await privilegesOf(schema)]
      const holder = await openTransaction(`LOCK TABLE ${schema}.inodes IN ACCESS SHARE MODE`)
      const reads = reading(schema)
      const swapping = home.swap(next, { storeId, previous: engine }).finally(() => reads.stop())
      await expect(swapping).rejects.toMatchObject({
        code: 'store_not_drained',
        retryable: true,
        details: { timeoutMs: 1500, holders: expect.arrayContaining([expect.objectContaining({ pid: expect.any(Number) as number })]) as unknown },
      })
      const waits = await reads.waits
      expect(waits.length).toBeGreaterThan(10)
      expect(waits[Math.floor(waits.length * 0.9)]).toBeLessThan(1400)
      expect([await home.engines(), await schemasLike(await sharedPool(), schema), await privilegesOf(schema)]).toEqual(before)
      await holder.end()
      await home.swap(next, { storeId, previous: engine })
      expect((await home.engines()).live).toBe(next)
    })

    it('and let go in time is only waited for', async () => {
      const schema = await schemaName()
      const { engine, storeId } = await madeStore(schema)
      const home = await homeIn(schema)
      const next = await sideOf(home)
      const holder = await openTransaction(`LOCK TABLE ${schema}.blocks IN SHARE MODE`)
      const swapping = home.swap(next, { storeId, previous: engine })
      setTimeout(() => void holder.end(), 700)
      await swapping
      expect((await home.engines()).live).toBe(next)
    })

    it.skipIf(process.env['HOLDFAST_TEST_POSTGRES_URL'] !== undefined)('by an automatic VACUUM that takes long does not keep it out', async () => {
      const schema = await schemaName()
      const { engine, storeId } = await madeStore(schema)
      const home = await homeIn(schema)
      const next = await sideOf(home)
      // One page each tenth of a second.
      await rowsOf(`ALTER TABLE ${schema}.settings SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)`)
      await rowsOf(`INSERT INTO ${schema}.settings SELECT 'setting ' || i, repeat('x', 1000) FROM generate_series(1, 5000) i`)
      await rowsOf(`DELETE FROM ${schema}.settings WHERE length(value) = 1000`)
      await rowsOf(`ALTER SYSTEM SET autovacuum_naptime = '1s'`)
      onTestFinished(async () => void (await rowsOf('ALTER SYSTEM RESET autovacuum_naptime')))
      await rowsOf('SELECT pg_reload_conf()')
      const vacuums = (): Promise<readonly unknown[]> => rowsOf(`SELECT FROM pg_stat_progress_vacuum WHERE relid = '${schema}.settings'::regclass`)
      await expect.poll(vacuums, { timeout: 200_000 }).toHaveLength(1)
      const reads = reading(schema)
      await home.swap(next, { storeId, previous: engine }).finally(() => reads.stop())
      expect((await home.engines()).live).toBe(next)
      // The server takes a second to see that the VACUUM is in the way, which would take minutes.
      expect((await reads.waits).at(-1)).toBeLessThan(30_000)
    })

    it('of the kind that a VACUUM takes, in a session that the server does not cancel, makes readers wait no longer', async () => {
      const schema = await schemaName()
      const { engine, storeId } = await madeStore(schema)
      const home = await homeIn(schema, { swapTimeoutMs: 4000 })
      const next = await sideOf(home)
      await openTransaction(`LOCK TABLE ${schema}.settings IN SHARE UPDATE EXCLUSIVE MODE`)
      const reads = reading(schema)
      await expect(home.swap(next, { storeId, previous: engine }).finally(() => reads.stop())).rejects.toMatchObject({ code: 'store_not_drained' })
      expect((await reads.waits).at(-1)).toBeLessThan(3500)
    })

    it('by a writer keeps an undrained swap out too', async () => {
      const schema = await schemaName()
      const { engine, storeId } = await madeStore(schema)
      const home = await homeIn(schema, { swapTimeoutMs: 300 })
      const next = await sideOf(home)
      await openTransaction(`SELECT pg_advisory_xact_lock_shared(${lockKey('writes', schema).join(', ')})`)
      await expect(home.swap(next, { storeId, previous: engine })).rejects.toMatchObject({ code: 'store_not_drained' })
      expect((await home.engines()).live).toBe(engine)
    })
  })

  describe('drain', () => {
    it('gives store_not_drained when a writer of another process does not end in time, and writes go on', async () => {
      const schema = await schemaName()
      await madeStore(schema)
      const [home, other] = [await homeIn(schema), await storeIn(schema)]
      const writer = await openTransaction(`SELECT pg_advisory_xact_lock_shared(${lockKey('writes', schema).join(', ')})`)
      await expect(home.drainWrites({ timeoutMs: 200 })).rejects.toMatchObject({ code: 'store_not_drained', details: { timeoutMs: 200 } })
      await other.setSetting('a', 'b')
      await writer.end()
      await home.drainWrites({ timeoutMs: 5000 })
      await home.resume()
    })

    it('whose session was lost is noticed: neither another drain nor a swap goes on as if writers had been kept out', async () => {
      const schema = await schemaName()
      const { engine, storeId } = await madeStore(schema)
      const [home, other] = [await homeIn(schema), await storeIn(schema)]
      const next = await sideOf(home)
      await home.drainWrites({ timeoutMs: 1000 })
      await terminateHolders(schema)
      await expect.poll(() => other.setSetting('slipped', 'in').then(() => 'written', () => 'refused')).toBe('written')
      await expect(home.drain({ timeoutMs: 1000 })).rejects.toMatchObject({ code: expect.stringMatching(/^store_(not_drained|unavailable)$/) as string })
      await expect(home.drain({ timeoutMs: 1000 })).rejects.toMatchObject({ code: 'store_not_drained' })
      await expect(home.swap(next, { storeId, previous: engine })).rejects.toMatchObject({ code: 'store_not_drained', message: expect.stringContaining('broke') as string })
      expect(await home.engines()).toEqual({ live: engine, previous: undefined, leftovers: [next] })
      await home.resume()
      await home.drain({ timeoutMs: 1000 })
      await home.swap(next, { storeId, previous: engine })
      await home.resume()
    })

    it('close() ends it', async () => {
      const schema = await schemaName()
      await madeStore(schema)
      const [home, other] = [await openPostgresHome({ connection: await sharedPool(), schema }), await storeIn(schema)]
      await home.drain({ timeoutMs: 1000 })
      await home.close()
      await other.setSetting('a', 'b')
    })
  })

  it('a swap leaves what refers to the tables with the engine before, and what names them finds the next', async () => {
    const schema = await schemaName()
    const { engine, storeId } = await madeStore(schema)
    const [pool, other] = [await sharedPool(), `${schema}_of_others`]
    await pool.query(`CREATE SCHEMA ${other}; CREATE VIEW ${other}.settings AS TABLE ${schema}.settings; CREATE TABLE ${other}.notes (inode bigint REFERENCES ${schema}.inodes);
      CREATE FUNCTION ${other}.by_identity() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM ${schema}.inodes; END;
      CREATE FUNCTION ${other}.by_name() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM ${schema}.inodes';
      CREATE PUBLICATION ${other}_table FOR TABLE ${schema}.inodes; CREATE PUBLICATION ${other}_schema FOR TABLES IN SCHEMA ${schema};
      CREATE INDEX by_hand ON ${schema}.settings (length(value)); ALTER TABLE ${schema}.settings ENABLE ROW LEVEL SECURITY`)
    onTestFinished(async () => void (await pool.query(`DROP PUBLICATION ${other}_table, ${other}_schema; DROP SCHEMA ${other} CASCADE`)))
    const home = await homeIn(schema)
    await home.swap(await sideOf(home), { storeId, previous: engine })
    const old = `${schema}_old_${engine}`
    expect(await rowsOf(`SELECT DISTINCT schemaname FROM pg_publication_tables WHERE pubname IN ('${other}_table', '${other}_schema')`)).toEqual([{ schemaname: old }])
    expect(await rowsOf(`SELECT confrelid = '"${old}".inodes'::regclass AS stays FROM pg_constraint WHERE conrelid = '${other}.notes'::regclass AND contype = 'f'`)).toEqual([{ stays: true }])
    const [counts] = await rowsOf(`SELECT ${other}.by_identity() > 0 AS identity, ${other}.by_name() AS name, (SELECT count(*) > 0 FROM ${other}.settings) AS view`)
    expect(counts).toEqual({ identity: true, name: '0', view: true })
    expect(await rowsOf(`SELECT relrowsecurity, to_regclass('${schema}.by_hand') AS index FROM pg_class WHERE oid = '${schema}.settings'::regclass`)).toEqual([{ relrowsecurity: false, index: null }])
  })

  describe('grants', () => {
    it('and owners follow to the engine that is swapped in, and back, down to columns, routines and default privileges', async () => {
      const schema = await schemaName()
      const { engine, storeId } = await madeStore(schema)
      await withRoles(async ([owner, reader, writer]) => {
        for (const statement of grantsOf(schema, { owner, reader, writer })) await rowsOf(statement)
        const before = await privilegesOf(schema)
        const home = await homeIn(schema)
        const next = await sideOf(home)
        await home.swap(next, { storeId, previous: engine })
        expect(await privilegesOf(schema)).toEqual(before)
        await rowsOf(`REVOKE SELECT ON ${schema}.shares FROM ${reader}`)
        await rowsOf(`GRANT DELETE ON ${schema}.settings TO ${reader}`)
        const changed = await privilegesOf(schema)
        await home.swap(engine, { storeId, previous: next })
        expect(await privilegesOf(schema)).toEqual(changed)
      })
    })

    it('follow when the role that restores is not a superuser but a member of the owner', async () => {
      const schema = await schemaName()
      await withRoles(async ([owner, reader, writer]) => {
        const database = (await rowsOf('SELECT current_database() AS name'))[0]?.['name'] as string
        await rowsOf(`GRANT CREATE ON DATABASE ${quote(database)} TO ${owner}`)
        await rowsOf(`GRANT ${owner} TO ${writer}`)
        await rowsOf(`ALTER ROLE ${writer} LOGIN PASSWORD 'w'`)
        const url = new URL(await serverUrl())
        url.username = writer
        url.password = 'w'
        const pool = new Pool({ connectionString: url.href })
        onTestFinished(() => pool.end())
        const store = await openPostgresStore({ connection: pool, schema })
        onTestFinished(() => store.close())
        await fillStore(store, { seed: 1, files: 3 })
        const { live } = await store.engines()
        for (const statement of grantsOf(schema, { owner, reader, writer: reader })) await rowsOf(statement)
        const before = await privilegesOf(schema)
        const home = await openPostgresHome({ connection: pool, schema })
        onTestFinished(() => home.close())
        const next = await sideOf(home)
        await home.swap(next, { storeId: store.storeId, previous: live })
        expect(await privilegesOf(schema)).toEqual(before)
        await rowsOf(`REVOKE CREATE ON DATABASE ${quote(database)} FROM ${owner}`)
      })
    })
  })
})

function grantsOf(schema: string, { owner, reader, writer }: { readonly owner: string; readonly reader: string; readonly writer: string }): readonly string[] {
  return [
    `GRANT USAGE ON SCHEMA ${schema} TO ${reader}, ${writer}`,
    `GRANT SELECT ON ALL TABLES IN SCHEMA ${schema} TO ${reader}`,
    `GRANT INSERT, UPDATE ON ${schema}.settings TO ${writer} WITH GRANT OPTION`,
    `GRANT UPDATE (mode) ON ${schema}.inodes TO ${writer}`,
    `GRANT USAGE ON SEQUENCE ${schema}.inode_numbers TO ${writer}`,
    `REVOKE EXECUTE ON FUNCTION ${schema}.refuse FROM PUBLIC`,
    `GRANT SELECT ON ${schema}.used_bytes TO PUBLIC`,
    `ALTER DEFAULT PRIVILEGES FOR ROLE ${owner} IN SCHEMA ${schema} GRANT SELECT ON TABLES TO ${reader}`,
    `ALTER DEFAULT PRIVILEGES FOR ROLE ${owner} IN SCHEMA ${schema} GRANT EXECUTE ON FUNCTIONS TO ${writer}`,
    `ALTER SCHEMA ${schema} OWNER TO ${owner}`,
    ...['inodes', 'entries', 'settings', 'blocks'].map((table) => `ALTER TABLE ${schema}.${table} OWNER TO ${owner}`),
  ]
}

/** Runs a task with three roles that are dropped after it. */
async function withRoles(task: (roles: readonly [string, string, string]) => Promise<void>): Promise<void> {
  const suffix = Math.random().toString(36).slice(2, 10)
  const roles = [`owner_${suffix}`, `reader_${suffix}`, `writer_${suffix}`] as const
  for (const role of roles) await rowsOf(`CREATE ROLE ${role}`)
  onTestFinished(async () => {
    for (const role of roles) {
      await rowsOf(`REASSIGN OWNED BY ${role} TO CURRENT_USER`)
      await rowsOf(`DROP OWNED BY ${role}`)
      await rowsOf(`DROP ROLE ${role}`)
    }
  })
  await task(roles)
}

/** Ends the sessions of the server that hold a store's writers off. */
async function terminateHolders(schema: string): Promise<void> {
  const [high, low] = lockKey('writes', schema)
  const ended = await rowsOf(
    `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted AND classid = $1::int8::bit(32)::int8::oid AND objid = $2::int8::bit(32)::int8::oid`,
    [high, low],
  )
  expect(ended).toHaveLength(1)
}

/** An error with all that it carries, as text. */
function everythingSaid(error: unknown): string {
  const parts: string[] = []
  for (let at: unknown = error; at instanceof Error; at = at.cause) parts.push(at.message, at.stack ?? '', JSON.stringify(at), ...Object.values(at).map(String))
  return parts.join('\n')
}
