import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Destination } from '../../src/contracts/destination.ts'
import { newUlid } from '../../src/util/ulid.ts'
import { openBackup, type RecordBatch } from '../../src/repository/stored-backup.ts'
import { runBackup } from '../../src/backup/run-backup.ts'
import { altered } from '../support/altered.ts'
import { collect } from '../support/collect.ts'
import { FakeStore } from '../support/fake-store.ts'
import { flipped, newPlace, tamper } from '../backup/backups.ts'

async function* readRecords({ signal, ...place }: { readonly destination: Destination; readonly backupId: string; readonly signal?: AbortSignal }): AsyncGenerator<RecordBatch> {
  yield* (await openBackup(place)).records({ signal })
}

describe('StoredBackup records()', () => {
  test('gives the records of a backup, a frame at a time', async () => {
    const place = await newPlace()
    const store = FakeStore.of(250)
    const { backupId } = await runBackup({ store, destination: place.destination, catalog: place.catalog })
    const found = []
    const counts: number[] = []
    for await (const batch of readRecords({ ...place, backupId })) {
      expect(batch.section).toBe('entries')
      counts.push(batch.count)
      found.push(...batch.records())
    }
    expect(counts).toEqual([100, 100, 50])
    expect(found).toEqual(store.records)
  })

  test('leaves the stored object when the iteration is left', async () => {
    const place = await newPlace()
    const { backupId } = await runBackup({ store: FakeStore.of(250), destination: place.destination, catalog: place.catalog })
    let isOpen = false
    const watched = altered(place.destination, {
      open: async function* (id, object, options) {
        isOpen = true
        try {
          yield* place.destination.open(id, object, options)
        } finally {
          isOpen = false
        }
      },
    })
    for await (const _ of readRecords({ destination: watched, backupId })) {
      expect(isOpen).toBe(true)
      break
    }
    expect(isOpen).toBe(false)
  })

  test('rejects for what is damaged, missing or aborted', async () => {
    const place = await newPlace()
    const { backupId } = await runBackup({ store: FakeStore.of(250), destination: place.destination, catalog: place.catalog })
    await expect(collect(readRecords({ ...place, backupId, signal: AbortSignal.abort('no') }))).rejects.toBe('no')
    await expect(collect(readRecords({ ...place, backupId: newUlid() }))).rejects.toMatchObject({ code: 'manifest_missing' })
    tamper(join(place.path, backupId, 'payload'), (bytes) => flipped(bytes, 8000))
    await expect(collect(readRecords({ ...place, backupId }))).rejects.toMatchObject({ code: 'restore_corrupt' })
  })
})
