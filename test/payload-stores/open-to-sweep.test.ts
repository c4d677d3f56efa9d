import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openToSweep, PayloadDirectory, payloadIdOf } from '../../src/payload-stores/directory/index.ts'
import { collect } from '../support/collect.ts'
import { tempDir } from '../support/temp-dir.ts'

const user = { storeId: 'store', place: 'level:/srv/store' }
const bytes = Buffer.from('x')

async function payloadsOf(...users: readonly (typeof user)[]): Promise<string> {
  const path = join(await tempDir(), 'payloads')
  const payloads = await PayloadDirectory.open(path, { create: true })
  await payloads.put(payloadIdOf(bytes), bytes)
  for (const known of users) await payloads.addUser(known)
  return path
}

describe('openToSweep()', () => {
  it('opens the directory of the one store that needs payloads there', async () => {
    const path = await payloadsOf(user)
    expect((await openToSweep(path, { user })).path).toBe(path)
  })

  it.each([
    ['another store', { storeId: 'other', place: 'level:/srv/other' }, /the store "other" at "level:\/srv\/other" refers to payloads there too/, /^Keep the payloads/],
    ['a copy of the store', { storeId: 'store', place: 'level:/srv/copy' }, /a copy of it at "level:\/srv\/copy" refers/, /^If both are one store, name it as it is named there; otherwise keep the payloads/],
  ])('refuses while %s needs payloads there', async (_, other, sentence, hint) => {
    for (const register of [false, true]) {
      await expect(openToSweep(await payloadsOf(user, other), { user, register })).rejects.toMatchObject({
        code: 'hold_unavailable',
        message: expect.stringMatching(sentence) as unknown,
        hint: expect.stringMatching(hint) as unknown,
        retryable: false,
      })
    }
  })

  it('refuses a directory that knows of no store, unless it is told that there is no other', async () => {
    const path = await payloadsOf()
    await expect(openToSweep(path, { user })).rejects.toMatchObject({ code: 'hold_unavailable', message: expect.stringContaining('does not record which stores') as unknown })
    await openToSweep(path, { user, register: true, dryRun: true })
    expect(await readdir(path)).not.toContain('stores')
    await openToSweep(path, { user, register: true })
    expect(await (await PayloadDirectory.open(path)).users()).toMatchObject([user])
  })

  it('deletes nothing once another store came to need payloads there, or the guard is lost', async () => {
    const path = await payloadsOf(user)
    let isLost = false
    const payloads = await openToSweep(path, { user, beforeDelete: () => (isLost ? Promise.reject(new Error('lost')) : Promise.resolve()) })
    const found = (await collect(payloads.list())).flat()
    await (await PayloadDirectory.open(path)).addUser({ ...user, storeId: 'other' })
    await expect(payloads.deleteUnchanged(found)).rejects.toMatchObject({ code: 'hold_unavailable' })
    isLost = true
    await expect(payloads.deleteUnchanged(found)).rejects.toThrow('lost')
    expect(await payloads.exists([payloadIdOf(bytes)])).toEqual([true])
  })
})
