import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { readFile, readdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { onTestFinished, test, vi } from 'vitest'
import { directoryUnionStore } from '../../src/gc/holds/union-store.ts'
import { nodeFiles, systemError } from '../../src/util/files.ts'
import { writeAside } from '../../src/util/open-files.ts'
import { collect } from '../support/collect.ts'
import { tempDir } from '../support/temp-dir.ts'

/** Makes renames fail with an error, after something was done. */
function failRenames(code: string, before: (from: string, to: string) => Promise<void>): void {
  const spy = vi.spyOn(nodeFiles, 'rename').mockImplementation(async (from, to) => {
    await before(from, to)
    throw systemError(code, 'rename', from)
  })
  onTestFinished(() => spy.mockRestore())
}

test.each(['EIO', 'ETIMEDOUT', 'ENOENT'])('writeAside() and a union take a rename that was done and answered with %s for done', async (code) => {
  const directory = await tempDir()
  const [temporary, path] = [join(directory, 'new.tmp'), join(directory, 'file')]
  await writeFile(path, 'old')
  failRenames(code, rename)
  await writeAside({ temporary, path }, (handle) => handle.writeFile('new'))
  equal(await readFile(path, 'utf8'), 'new')

  const store = directoryUnionStore(join(directory, 'union'))
  const draft = await store.create()
  await draft.write('rows', [Buffer.from('1234')])
  const parts = { 'payload-ids': { bytes: 0, sha256: 'a' }, rows: { bytes: 4, sha256: 'b' } }
  await (await draft.keep({ sets: [], count: 0, words: 1, parts })).close()
  const kept = await store.open()
  ok(kept !== undefined)
  equal(Buffer.concat(await collect(kept.read('rows'))).toString(), '1234')
  await kept.close()
})

test('writeAside() does not take another file for its own', async () => {
  const directory = await tempDir()
  const [temporary, path] = [join(directory, 'new.tmp'), join(directory, 'file')]
  await writeFile(path, 'new')
  failRenames('ENOENT', (from) => nodeFiles.removeFile(from))
  await rejects(writeAside({ temporary, path }, (handle) => handle.writeFile('new')), { code: 'ENOENT' })
  deepEqual(await readdir(directory), ['file'])
})
