/** Backups of an embedder's own database, on a command line that knows only metadata stores. */
import { join } from 'node:path'
import { MemoryLevel } from 'memory-level'
import { describe, expect, it } from 'vitest'
import { fsDestination } from '../../destinations/fs/index.ts'
import { runBackup } from '../../src/backup/run-backup.ts'
import { levelBackupable } from '../../src/stores/level/index.ts'
import { tempDir } from '../support/temp-dir.ts'
import { holdfast, type Outcome } from './holdfast.ts'

/** Runs commands beside the backup of a database of two records. */
async function beside(storeKind: string | undefined): Promise<(...words: string[]) => Promise<Outcome>> {
  const cwd = await tempDir()
  const database = new MemoryLevel()
  await database.batch([{ type: 'put', key: 'a', value: 'p1' }, { type: 'put', key: 'b', value: 'p2' }])
  const store = levelBackupable(database, { storeKind, storeId: 'my-server', payloadIds: (_key: string, value: string) => [value] })
  await runBackup({ store, destination: fsDestination({ path: join(cwd, 'backups') }) })
  return async (...words) => await holdfast([...words, '--from', 'file:backups'], { cwd })
}

describe.each([[undefined], ['my-server']])('a backup of a database of an embedder, of the kind %s', (storeKind) => {
  it('is listed by its name, and its form is verified', async () => {
    const run = await beside(storeKind)
    expect((await run('list')).stdout).toMatch(new RegExp(`my-server +${storeKind ?? 'memory'} +2 +2 `))
    expect(await run('verify', 'latest')).toMatchObject({ code: 0, stdout: expect.stringContaining('what the records mean was not checked') as unknown })
  })

  it('is refused where its records would have to be known, which says what to do', async () => {
    const run = await beside(storeKind)
    expect(await run('ls', 'latest')).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/^error: backup_unsupported: [^\n]*with records of entries\nhint: [^\n]*restoreInto/) as unknown })
    const trial = await run('verify', 'latest', '--level', 'restore')
    if (storeKind === undefined) expect(trial).toMatchObject({ code: 4, stderr: expect.stringMatching(/^error: store_kind_mismatch: [^\n]*sections entries[^\n]*\nhint: [^\n]*restoreInto/) as unknown })
    else expect(trial).toMatchObject({ code: 2, stderr: expect.stringMatching(/^error: invalid_argument: [^\n]*"my-server"\nhint: [^\n]*verifyBackup and openTrial/) as unknown })
    expect(await run('restore', 'latest', '--store', 'level:store', '--yes')).toMatchObject({ code: 4, stdout: '', stderr: expect.stringMatching(/^(?:[^\n]+\n)*error: store_kind_mismatch: [^\n]*\nhint: [^\n]*restoreInto/) as unknown })
  })
})
