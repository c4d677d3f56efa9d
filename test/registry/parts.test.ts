/** What registry opens by URL, and what it refuses. */
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { checkTrial, openCatalog, openPayloadStore, openTrial, parseCatalogUrl, withParts } from '../../src/registry/index.ts'
import { newUlid } from '../../src/util/ulid.ts'
import { tempDir } from '../support/temp-dir.ts'

const signal = new AbortController().signal

describe('withParts()', () => {
  it('opens a store, a destination and holds, and closes them all', async () => {
    const dir = await tempDir()
    const store = `level:${join(dir, 'store')}`
    await mkdir(join(dir, 'backups'))
    for (let round = 0; round < 2; round++) {
      const storeId = await withParts({ signal }, async (parts) => {
        const destination = await parts.destination(`file:${join(dir, 'backups')}`)
        const opened = await parts.store(store, { create: true })
        const { catalog, holds } = await parts.holds({ store, use: 'need', destinations: [destination] })
        expect((await holds.find()).holders).toEqual([])
        await expect(openCatalog(join(dir, 'store/catalog'))).rejects.toMatchObject({ code: 'catalog_unavailable' })
        expect(await catalog.leases()).toEqual([])
        return opened.storeId
      })
      await withParts({ signal }, async (parts) => expect((await parts.store(store)).storeId).toBe(storeId))
    }
  })

  it('closes what was opened, the last first, when the work fails, and tells all that failed', async () => {
    const dir = await tempDir()
    const order: string[] = []
    const failing = withParts({ signal }, async (parts) => {
      const destination = await parts.destination(`file:${join(dir, 'backups')}`)
      const catalog = await parts.catalog(join(dir, 'catalog'))
      const store = await parts.store(`level:${join(dir, 'store')}`, { create: true })
      for (const [name, part] of Object.entries({ destination, catalog, store })) {
        const close = part.close.bind(part)
        part.close = async () => {
          order.push(name)
          await close()
          throw new Error(`${name} did not close`)
        }
      }
      throw new Error('the work failed')
    })
    await expect(failing).rejects.toThrow(/^the work failed.*store did not close.*catalog did not close.*destination did not close/)
    expect(order).toEqual(['store', 'catalog', 'destination'])
    // They are closed nevertheless: each can be opened again.
    await withParts({ signal }, async (parts) => {
      await parts.catalog(join(dir, 'catalog'), { create: false })
      await parts.store(`level:${join(dir, 'store')}`)
    })
  })

  it('closes the other parts too where the close of a kept part throws instead of rejecting', async () => {
    let closed = 0
    const closing = withParts({ signal }, async (parts) => {
      parts.keep({ close: async () => void closed++ })
      parts.keep({
        close: () => {
          throw new Error('did not close')
        },
      })
    })
    await expect(closing).rejects.toThrow(/^did not close$/)
    expect(closed).toBe(1)
  })

  it('rejects with what could not be closed after work that succeeded', async () => {
    const dir = await tempDir()
    const closing = withParts({ signal }, async (parts) => {
      const destination = await parts.destination(`file:${join(dir, 'backups')}`)
      destination.close = () => Promise.reject(new Error('did not close'))
    })
    await expect(closing).rejects.toThrow(/^did not close$/)
  })

  it('continues without a catalog that cannot be opened, and warns', async () => {
    const dir = await tempDir()
    const warnings: string[] = []
    const warn = async (text: string): Promise<void> => void warnings.push(text)
    await (await openCatalog(join(dir, 'catalog'))).close()
    const taken = await openCatalog(join(dir, 'catalog'))
    const found = await withParts({ signal }, (parts) => parts.catalogIfPossible({ store: `level:${join(dir, 'store')}`, catalog: join(dir, 'catalog'), warn }))
    await taken.close()
    expect(found).toBeUndefined()
    expect(warnings).toEqual([expect.stringContaining('This work is not recorded: ')])
  })
})

describe('catalogs and payload stores', () => {
  it('are opened by path or by URL', async () => {
    const dir = await tempDir()
    await (await openCatalog(join(dir, 'catalog'))).close()
    await (await openCatalog(`level:${join(dir, 'catalog')}`, { create: false })).close()
    expect(parseCatalogUrl(`level:${join(dir, 'catalog')}`).holdsDirectory).toBe(join(dir, 'catalog-holds'))
    await openPayloadStore(join(dir, 'payloads'), { create: true })
    expect((await openPayloadStore(`file:${join(dir, 'payloads')}`)).url).toBe(`file:${join(dir, 'payloads')}`)
  })

  it.each([
    ['postgres://u:very-secret@h/d', /"postgres" is not a kind of catalog; known are "level:"/],
    ['level:', /no local path/],
    ['level:catalog?create=true', /"create" is not a parameter of "level:" URLs/],
    ['catalog?create=true', /"create" is not a parameter of "level:" URLs/],
  ])('refuse %s as a catalog, by name', async (url, sentence) => {
    await expect(openCatalog(url)).rejects.toMatchObject({ code: 'invalid_argument', message: expect.stringMatching(sentence) as unknown, hint: expect.not.stringContaining('very-secret') as unknown })
  })

  it.each([
    ['s3://bucket/payloads', /"s3" is not a kind of payload store; known are "file:"/],
    ['file:', /no local path/],
    ['file:payloads?create=true', /"create" is not a parameter of "file:" URLs/],
  ])('refuse %s as a payload store, by name', async (url, sentence) => {
    await expect(openPayloadStore(url)).rejects.toMatchObject({ code: 'invalid_argument', message: expect.stringMatching(sentence) as unknown })
  })
})

describe('openTrial()', () => {
  const backupId = newUlid()

  it.each(['level', 'memory'])('makes the trial of a %s store in the first place that fits, and removes it', async (storeKind) => {
    const dir = await tempDir()
    await mkdir(join(dir, 'trials'))
    const onWarning = (warning: Error): never => {
      throw warning
    }
    const trial = await openTrial({ backupId, storeKind }, { at: ['postgres://u@localhost/never-asked', `level:${join(dir, 'trials')}`], onWarning })
    expect(await readdir(join(dir, 'trials'))).toHaveLength(1)
    await trial.discard()
    expect(await readdir(join(dir, 'trials'))).toEqual([])
  })

  it.each([
    ['a Postgres store without a server', 'postgres', ['level:/tmp'], /no server is named/],
    ['a store of another kind', 'other', ['level:/tmp', 'postgres://u@h/d'], /takes stores of kind "other"/],
    ['a place of another kind', 'level', ['s3://bucket'], /is not a place for trials/],
  ])('refuses %s', (_, storeKind, at, sentence) => {
    expect(() => checkTrial({ backupId, storeKind }, at)).toThrow(expect.objectContaining({ code: 'invalid_argument', message: expect.stringMatching(sentence) as unknown }) as Error)
  })

  it('refuses a parameter of the place by name', async () => {
    await expect(openTrial({ backupId, storeKind: 'level' }, { at: ['level:/tmp?keep=true'], onWarning: () => undefined })).rejects.toThrow(/"keep" is not a parameter/)
  })
})
