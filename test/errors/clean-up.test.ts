import { expect, test } from 'vitest'
import { MetadataError, StoreUnavailableError } from '../../src/errors/errors.ts'
import { closing } from '../../src/errors/clean-up.ts'

const used = new MetadataError('entry_not_found', 'No such entry')
const closed = new StoreUnavailableError('Cannot close it')

function resource(failure?: Error): { closes: number; close(): Promise<void> } {
  return {
    closes: 0,
    async close() {
      this.closes += 1
      if (failure !== undefined) throw failure
    },
  }
}

test('closing() gives what the use gives, and closes once', async () => {
  const it = resource()
  expect(await closing(it, async () => it.closes)).toBe(0)
  expect(it.closes).toBe(1)
})

test('closing() rejects with the error of the use, of closing, or both under the code of the use', async () => {
  const fine = resource()
  await expect(closing(fine, () => Promise.reject(used))).rejects.toBe(used)
  expect(fine.closes).toBe(1)
  await expect(closing(resource(closed), async () => 1)).rejects.toBe(closed)
  const broken = resource(closed)
  const both = closing(broken, () => Promise.reject(used))
  await expect(both).rejects.toMatchObject({ code: 'entry_not_found', message: expect.stringMatching(/No such entry.*Cannot close it/) as string, cause: { errors: [used, closed] } })
  expect(broken.closes).toBe(1)
})
