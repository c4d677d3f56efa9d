import { mkdir, symlink } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { placeOf } from '../../src/registry/index.ts'
import { tempDir } from '../support/temp-dir.ts'

describe('placeOf()', () => {
  it('gives the same place however a Postgres store is named, and no secret', async () => {
    const place = await placeOf('postgres://server:secret@db.example/files?schema=meta')
    expect(place).toBe('postgres://db.example:5432/files?schema=meta')
    expect(await placeOf('postgresql://other@db.example:5432/files?schema=meta&sslmode=require&password=secret')).toBe(place)
  })

  it.each(['postgres://a@db.example/files?schema=other', 'postgres://a@db.example/more?schema=meta', 'postgres://a@db.example:5433/files?schema=meta', 'postgres://a@db/files?schema=meta'])('tells %s from it', async (url) => {
    expect(await placeOf(url)).not.toBe(await placeOf('postgres://a@db.example/files?schema=meta'))
  })

  it('takes variables of Postgres that are empty for not set', async () => {
    onTestFinished(() => void vi.unstubAllEnvs())
    for (const name of ['PGUSER', 'PGDATABASE', 'PGPORT', 'PGHOST']) vi.stubEnv(name, '')
    vi.stubEnv('USER', 'me')
    expect(await placeOf('postgres://db.example?schema=meta')).toBe('postgres://db.example:5432/me?schema=meta')
    vi.stubEnv('PGUSER', 'server')
    expect(await placeOf('postgres://db.example?schema=meta')).toBe('postgres://db.example:5432/server?schema=meta')
  })

  it('gives the real path of a LevelDB store, also before it is made', async () => {
    const dir = await tempDir()
    await mkdir(join(dir, 'real'))
    await symlink('real', join(dir, 'link'))
    const place = `level:${join(dir, 'real/a/b')}`
    expect(await placeOf(`level:${join(dir, 'link/a/b')}`)).toBe(place)
    expect(await placeOf(`level:${relative(process.cwd(), join(dir, 'link'))}/a/../a/b/`)).toBe(place)
    await mkdir(join(dir, 'real/a/b'), { recursive: true })
    expect(await placeOf(`level:${join(dir, 'link/a/b')}`)).toBe(place)
  })
})
