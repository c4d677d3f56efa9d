import { resolve } from 'node:path'
import { Client } from 'pg'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { catalogPathOf, parseStoreUrl, placeOf } from '../../src/registry/index.ts'
import { parseServerUrl } from '../../src/registry/stores/postgres.ts'

const PASSWORD = 'very-secret'

afterEach(() => {
  vi.unstubAllEnvs()
})

describe('parseStoreUrl()', () => {
  it('gives the absolute path of a level: URL', () => {
    expect(parseStoreUrl('level:some/store')).toMatchObject({ shown: 'level:some/store', directory: resolve('some/store') })
    expect(parseStoreUrl('LEVEL:/srv/a b')).toMatchObject({ directory: '/srv/a b' })
    expect(parseStoreUrl('level:/srv/100%?#')).toMatchObject({ directory: '/srv/100%?#' })
    expect(parseStoreUrl('level:///srv/a%3Fb=c')).toMatchObject({ directory: '/srv/a?b=c' })
  })

  it.each(['postgres', 'postgresql', 'Postgres'])('connects with all of a %s: URL but its schema, and shows none of its secrets', (scheme) => {
    expect(parseStoreUrl(`${scheme}://server:${PASSWORD}@db.example:5433/files?schema=meta%20data&sslmode=require&password=${PASSWORD}`)).toMatchObject({
      shown: 'postgres://server@db.example:5433/files?schema=meta%20data',
      trialUrl: `postgres://server:${PASSWORD}@db.example:5433/files?sslmode=require&password=${PASSWORD}`,
    })
  })

  it.each([
    ['without a schema', `postgres://u:${PASSWORD}@h/d`, /has no schema/],
    ['with an empty one', `postgres://u:${PASSWORD}@h/d?schema=`, /has no schema/],
    ['with two', `postgres://u:${PASSWORD}@h/d?schema=a&schema=b`, /"schema" more than once/],
    ['with a password that is not escaped, with "/"', `postgres://u:a/${PASSWORD}@h/d?schema=a`, /not of the form/],
    ['with a password that is not escaped, with "#"', `postgres://u:a#${PASSWORD}@h/d?schema=a`, /not of the form/],
    ['with a password that is not escaped, with "%"', `postgres://u:%zz${PASSWORD}@h:x/d?schema=a`, /not of the form/],
    ['with a port that is none', `postgres://u:${PASSWORD}@h:port/d?schema=a`, /not of the form/],
    ['without slashes', `postgres:u:${PASSWORD}@h/d?schema=a`, /not of the form/],
    ['in quotes', `"postgres://u:${PASSWORD}@h/d?schema=a"`, /has no scheme/],
    ['after a space', ` postgres://u:${PASSWORD}@h/d?schema=a`, /has no scheme/],
    ['without its scheme', `//u:${PASSWORD}@h/d?schema=a`, /has no scheme/],
    ['behind another scheme', `level://u:${PASSWORD}@h/d?schema=a`, /no local path/],
    ['with a parameter that is not known', `postgres://u:${PASSWORD}@h/d?schema=a&connect_timeout=5`, /"connect_timeout" is not a parameter of "postgres:" URLs/],
    ['with a piece of a password for a parameter', `postgres://u:1?${PASSWORD}@h/d?schema=a`, /a parameter that "postgres:" URLs do not have/],
    ['with parameters where there are none', 'level:/srv/store?create=true', /"create" is not a parameter of "level:" URLs/],
    ['in memory', 'memory:', /only in its server's process/],
    ['of no path', 'level:', /no local path/],
    ['of a kind that every object has', 'constructor:x', /"constructor" is not a kind of store/],
    ['of another kind', `mysql://u:${PASSWORD}@h/d`, /"mysql" is not a kind of store/],
  ])('refuses one %s, and does not repeat what may be a password', (_, url, sentence) => {
    const refused = expect(() => parseStoreUrl(url))
    refused.toThrow(expect.objectContaining({ code: 'invalid_argument', message: expect.stringMatching(sentence) as unknown, hint: expect.any(String) as unknown }) as Error)
    refused.not.toThrow(PASSWORD)
  })
})

it.each([
  ['postgres://u@h/d?shema=meta', 'Did you mean "schema"?'],
  ['postgres://u@h/d?schema=a&ssl-mode=require', 'Did you mean "sslmode"?'],
  ['postgres://u@h/d?schema=a&channel_binding=require', 'Leave it out. Known are schema,'],
  ['mysql:x', 'Write level:PATH or postgres://USER@HOST/DATABASE?schema=NAME'],
  ['/srv/store', 'Write level:/srv/store'],
])('parseStoreUrl() of %s says what to do: %s', (url, hint) => {
  expect(() => parseStoreUrl(url)).toThrow(expect.objectContaining({ hint: expect.stringContaining(hint) as unknown }) as Error)
})

it('parseServerUrl() takes a URL with or without a schema', () => {
  expect(parseServerUrl('postgres://u@h/d')).toBe('postgres://u@h/d')
  expect(parseServerUrl('postgresql://u@h/d?schema=a&sslmode=require')).toBe('postgres://u@h/d?sslmode=require')
  expect(() => parseServerUrl('file:/backups')).toThrow(expect.objectContaining({ code: 'invalid_argument' }) as Error)
})

it('catalogPathOf() is what is named, or in the directory of a LevelDB store', async () => {
  expect(await catalogPathOf('level:/srv/store', 'elsewhere')).toBe('elsewhere')
  expect(await catalogPathOf('level:/srv/store')).toBe('/srv/store/catalog')
})

describe('placeOf() of Postgres', () => {
  it('is one for each schema, whatever the role and the way to connect', async () => {
    for (const name of ['PGPORT', 'PGDATABASE', 'PGUSER']) vi.stubEnv(name, undefined)
    const place = await placeOf(`postgres://u:${PASSWORD}@h/d?schema=a/../b`)
    expect(place).toBe('postgres://h:5432/d?schema=a%2F..%2Fb')
    expect(await placeOf('postgresql://other@h:5432/d?schema=a%2F..%2Fb&sslmode=require')).toBe(place)
    expect(await placeOf('postgres://u@h/d?schema=b')).not.toBe(place)
    expect(await placeOf('postgres://u@h/d?schema=a%2F..%2Fb&port=5433')).not.toBe(place)
    expect(await placeOf('postgres://d@h?schema=a%2F..%2Fb')).toBe(place)
    expect(await placeOf('postgres://other@h?schema=a%2F..%2Fb')).not.toBe(place)
  })

  it.each([
    'postgres://h?schema=b',
    'postgres://h/?schema=b',
    'postgres://u@h?schema=b',
    'postgres://h:5434?schema=b',
    'postgres://h/d?schema=b',
    'postgres://h?user=o&schema=b',
    'postgres://h?port=5435&host=i&schema=b',
  ])('is of the server and the database that pg connects to with %s, whatever the environment says', async (url) => {
    for (const environment of [{}, { PGUSER: 'eu' }, { PGDATABASE: 'ed' }, { PGPORT: '5436' }, { PGUSER: 'eu', PGDATABASE: 'ed', PGPORT: '5436', PGHOST: 'eh' }]) {
      for (const name of ['PGHOST', 'PGPORT', 'PGDATABASE', 'PGUSER'] as const) vi.stubEnv(name, (environment as Record<string, string>)[name])
      const { host, port, database } = new Client({ connectionString: url.replace(/[?&]schema=b$/, '') })
      expect(await placeOf(url)).toBe(`postgres://${host}:${port}/${database ?? ''}?schema=b`)
    }
  })
})
