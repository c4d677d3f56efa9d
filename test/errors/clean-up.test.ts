import { expect, test } from 'vitest'
import { MetadataError, StoreUnavailableError } from '../../src/errors/errors.ts'
import { afterwards, closing, undoOnError } from '../../src/errors/clean-up.ts'

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

test('undoOnError() gives what the work gives and undoes nothing; after a failure it undoes, and tells what is left', async () => {
  const undone: unknown[] = []
  expect(await undoOnError(async () => 1, async () => undone.push(1))).toBe(1)
  await expect(undoOnError(() => Promise.reject(used), async () => undone.push(2))).rejects.toBe(used)
  expect(undone).toEqual([2])
  const both = undoOnError(() => Promise.reject(used), () => Promise.reject(closed), 'a file is left')
  await expect(both).rejects.toMatchObject({ code: 'entry_not_found', message: 'No such entry; a file is left: Cannot close it', cause: { errors: [used, closed] } })
  await expect(undoOnError(() => Promise.reject(used), () => undefined)).rejects.toBe(used)
})

test('afterwards() tells what its clean-up fails with: with the failure before it, alone, or as a warning after a success', async () => {
  const fails = (): Promise<never> => Promise.reject(closed)
  await expect(afterwards(() => Promise.reject(used), fails, { left: 'a file is left', warnings: [] })).rejects.toMatchObject({ message: 'No such entry; a file is left: Cannot close it' })
  await expect(afterwards(async () => 1, fails)).rejects.toBe(closed)
  const warnings: Error[] = []
  expect(await afterwards(async () => 1, fails, { left: 'a file is left', warnings })).toBe(1)
  expect(await afterwards(async () => 2, fails, { warnings })).toBe(2)
  expect(warnings).toMatchObject([{ message: 'A file is left: Cannot close it', cause: closed }, closed])
})

test('undoOnError() gives two errors of the file system the code of the first, never internal', async () => {
  const failed = (code: string, syscall: string): Error => Object.assign(new Error(`${code}: ${syscall}`), { code, syscall })
  const both = undoOnError(() => Promise.reject(failed('ENOSPC', 'write')), () => Promise.reject(failed('EIO', 'unlink')))
  await expect(both).rejects.toMatchObject({ code: 'destination_no_space', hint: 'Free space on that file system, then try again', message: expect.stringContaining('EIO') as string })
  await expect(undoOnError(() => Promise.reject(failed('EIO', 'read')), () => Promise.reject(used))).rejects.toMatchObject({ code: 'destination_unreachable' })
  await expect(undoOnError(() => Promise.reject(new Error('a fault')), () => Promise.reject(used))).rejects.toMatchObject({ code: 'internal' })
})
