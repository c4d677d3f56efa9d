import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { openLevelCatalog } from '../../src/catalog/level/index.ts'
import { type Child, startChild } from '../support/child.ts'
import { randomFrom, runs, seed } from '../support/seed.ts'
import { tempDir } from '../support/temp-dir.ts'
import { JOB, started } from './catalog-events.ts'

function child(mode: 'append' | 'hold', path: string): Child {
  const started = startChild(new URL('../../dist/test/catalog/catalog-child.js', import.meta.url), [mode, path])
  onTestFinished(() => started.kill())
  return started
}

describe('openLevelCatalog()', () => {
  test('finds again what was appended', async () => {
    const path = join(await tempDir(), 'deeper', 'catalog')
    const first = await openLevelCatalog(path)
    await first.append(started(), { type: 'job-ended', at: started().at, jobId: JOB, state: 'succeeded' })
    await first.close()
    await using catalog = await openLevelCatalog(path, { create: false })
    expect(await catalog.job(JOB)).toMatchObject({ state: 'succeeded' })
    expect(statSync(path).mode & 0o777).toBe(0o700)
  })

  test('loses nothing that append() resolved for, whenever the process is killed', async () => {
    const random = randomFrom(seed)
    for (let run = 0; run < runs(5); run++) {
      const path = join(await tempDir(), 'catalog')
      const writer = child('append', path)
      const last = 1 + Math.floor(random() * 200)
      let durable = -1
      while (durable < last) durable = Number(await writer.line())
      await writer.kill()
      await using catalog = await openLevelCatalog(path)
      const job = await catalog.job(JOB)
      expect(job?.state, `seed ${seed}`).toBe('interrupted')
      expect(job?.progress?.bytes, `seed ${seed}`).toBeGreaterThanOrEqual(durable)
    }
  })

  test('leaves a job running whose process runs, and ends it as interrupted when that was killed', async () => {
    const path = join(await tempDir(), 'catalog')
    const holder = child('hold', path)
    const jobId = await holder.line()
    const before = await openLevelCatalog(path)
    expect(await before.job(jobId)).toMatchObject({ state: 'running' })
    await before.close()
    await holder.kill()
    await using catalog = await openLevelCatalog(path)
    expect(await catalog.job(jobId)).toMatchObject({ state: 'interrupted' })
  })

  test('refuses a directory that holds something else, and leaves it as it was; the beginnings of a LevelDB are none', async () => {
    const path = await tempDir()
    writeFileSync(join(path, 'manifest.json'), '{}')
    await expect(openLevelCatalog(path)).rejects.toMatchObject({ code: 'catalog_unavailable', message: `Cannot open the catalog at "${path}": the directory holds something else`, hint: expect.stringContaining('missing or empty') })
    expect(readdirSync(path)).toEqual(['manifest.json'])
    const begun = await tempDir()
    for (const name of ['LOCK', 'LOG']) writeFileSync(join(begun, name), '')
    await (await openLevelCatalog(begun)).close()
  })

  test('refuses a directory below one that takes none', { timeout: 60_000 }, async () => {
    await expect(openLevelCatalog('/proc/holdfast/catalog')).rejects.toMatchObject({ code: 'catalog_unavailable' })
  })

  test('refuses a catalog that this or another process has open', async () => {
    const path = join(await tempDir(), 'catalog')
    const writer = child('append', path)
    await writer.line()
    await expect(openLevelCatalog(path)).rejects.toMatchObject({ code: 'catalog_unavailable', message: `Cannot open the catalog: another process has it open, at "${path}"` })
    await writer.kill()
    const catalog = await openLevelCatalog(path)
    await expect(openLevelCatalog(path)).rejects.toMatchObject({ code: 'catalog_unavailable', message: expect.stringContaining('this process'), hint: 'Use the handle that has it open, or close that first' })
    await catalog.append(started())
    await catalog.close()
    await (await openLevelCatalog(path)).close()
  })

  test('refuses a missing path, a file, and a directory without a catalog', async () => {
    const directory = await tempDir()
    await expect(openLevelCatalog(join(directory, 'missing'), { create: false })).rejects.toMatchObject({ code: 'catalog_unavailable', retryable: false, hint: expect.stringContaining('catalog rebuild') as unknown })
    writeFileSync(join(directory, 'file'), '')
    await expect(openLevelCatalog(join(directory, 'file'))).rejects.toMatchObject({ code: 'catalog_unavailable' })
    mkdirSync(join(directory, 'empty'))
    await expect(openLevelCatalog(join(directory, 'empty'), { create: false })).rejects.toMatchObject({ code: 'catalog_unavailable' })
  })
})
