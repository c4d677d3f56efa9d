import { describe, expect, test } from 'vitest'
import { newUlid } from '../../src/util/ulid.ts'
import { resolveBackup, resolveBackups } from '../../src/repository/resolve-backup.ts'
import type { Destination } from '../../src/contracts/destination.ts'

function listing(...ids: readonly string[]): Destination {
  return {
    url: 'file:/backups',
    list: async function* () {
      yield* ids
    },
  } as Partial<Destination> as Destination
}

const [first, second, third] = ['01HZZZZZZZ0000000000000001', '01HZZZZZZZ0000000000000002', '01JZZZZZZZ0000000000000003']

describe('resolveBackup()', () => {
  test('finds the latest, a whole ID and a unique beginning, in capitals or not', async () => {
    const destination = listing(first, second, third)
    expect(await resolveBackup(destination, 'latest')).toBe(third)
    expect(await resolveBackup(destination, second)).toBe(second)
    expect(await resolveBackup(destination, second.toLowerCase())).toBe(second)
    expect(await resolveBackup(destination, '01j')).toBe(third)
    const unlisted = newUlid()
    expect(await resolveBackup(destination, unlisted)).toBe(unlisted)
  })

  test('finds several with one listing, and whole IDs with none', async () => {
    let listings = 0
    const destination = listing(first, second, third)
    const counted = { ...destination, list: (): AsyncIterable<string> => (listings++, destination.list()) }
    expect(await resolveBackups(counted, ['01j', 'latest', second])).toEqual([third, third, second])
    expect(listings).toBe(1)
    expect(await resolveBackups(counted, [first, second])).toEqual([first, second])
    expect(listings).toBe(1)
    await expect(resolveBackups({ ...destination, list: () => expect.fail('listed') }, [first, '../x'])).rejects.toMatchObject({ code: 'invalid_argument' })
  })

  test('names the candidates of a beginning that several have', async () => {
    await expect(resolveBackup(listing(first, second, third), '01H')).rejects.toMatchObject({
      code: 'invalid_argument',
      hint: expect.stringContaining(`${first}, ${second}`),
      details: { matches: [first, second] },
    })
  })

  test('rejects with manifest_missing when there is none', async () => {
    await expect(resolveBackup(listing(), 'latest')).rejects.toMatchObject({ code: 'manifest_missing' })
    await expect(resolveBackup(listing(first), '02')).rejects.toMatchObject({ code: 'manifest_missing' })
  })

  test.each(['', '../x', 'LATEST!', '01H/..', `${first}0`, 'é', 'newest one', 'il'])('refuses %j before anything is listed', async (text) => {
    const destination = { ...listing(), list: () => expect.fail('listed') }
    await expect(resolveBackup(destination, text)).rejects.toMatchObject({ code: 'invalid_argument' })
  })
})
