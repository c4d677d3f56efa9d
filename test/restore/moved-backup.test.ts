/** A stream names the backup it is of: one that was moved under another ID is refused, though the manifest there vouches for it. */
import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { fsDestination } from '../../destinations/fs/index.ts'
import { runBackup } from '../../src/backup/run-backup.ts'
import { verifyBackup } from '../../src/repository/verify-backup.ts'
import { restoreBackup } from '../../src/restore/restore-backup.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'
import { newUlid } from '../../src/util/ulid.ts'
import { tempDir } from '../support/temp-dir.ts'

const FIXTURES = join(import.meta.dirname, '../../fixtures')
const GOLDEN_ID = '01JGZ7GK3G0000000000000001'

async function copyUnder(path: string, from: string, backupId: string): Promise<string> {
  await cp(from, join(path, backupId), { recursive: true })
  const manifest = join(path, backupId, 'manifest.json')
  const { backupId: before } = JSON.parse(await readFile(manifest, 'utf8')) as { backupId: string }
  await writeFile(manifest, (await readFile(manifest, 'utf8')).replace(before, backupId))
  return backupId
}

it.each(['none', 'zstd'] as const)('a backup names itself in its stream, compressed with %s, and is refused under another ID', async (compress) => {
  const path = await tempDir()
  const destination = fsDestination({ path })
  const store = await openMemoryStore()
  onTestFinished(() => store.close())
  const { root } = await store.createShare('share')
  await store.create({ parent: root, name: 'file' }, { type: 'file', content: { payloadId: 'one' } })
  const { backupId, manifest } = await runBackup({ store, destination, compress })
  expect(manifest).toMatchObject({ compression: compress, content: 'records', objects: { payload: manifest.payload } })
  await store.createShare('later')
  const moved = await copyUnder(path, join(path, backupId), newUlid())
  const refusal = { code: 'checksum_mismatch', details: { what: 'backup ID', expected: moved, actual: backupId } }
  await expect(verifyBackup({ destination, backupId: moved })).rejects.toMatchObject(refusal)
  await expect(restoreBackup({ target: store, destination, backupId: moved })).rejects.toMatchObject(refusal)
  expect((await store.shares()).map(({ name }) => name)).toEqual(['later', 'share'])
  await restoreBackup({ target: store, destination, backupId })
  expect((await store.shares()).map(({ name }) => name)).toEqual(['share'])
})

it('a stream of release 0.1.0 names no backup, and is taken under any ID', async () => {
  const path = await tempDir()
  const moved = await copyUnder(path, join(FIXTURES, 'v1-metadata-store'), newUlid())
  expect(moved).not.toBe(GOLDEN_ID)
  await verifyBackup({ destination: fsDestination({ path }), backupId: moved })
})
