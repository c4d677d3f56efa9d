import { expect, test } from 'vitest'
import { openSnapshot } from '../../../src/format/snapshot-reader.ts'
import { SnapshotWriter } from '../../../src/format/snapshot-writer.ts'
import { ArchiveReader } from '../../../src/stores/postgres/snapshot/archive-reader.ts'
import { ArchiveWriter } from '../../../src/stores/postgres/snapshot/archive-writer.ts'
import { type SequenceValue, planSections } from '../../../src/stores/postgres/snapshot/archive.ts'
import { refused } from '../../conformance/backupable-fixture.ts'

const NUMBERS: SequenceValue = { name: 'numbers', lastValue: '7', isCalled: true }
const OTHERS: SequenceValue = { name: 'others', lastValue: '1', isCalled: false }

/** Reads the head of an archive whose schema has the sequences "numbers" and "others", and which has these values of sequences. */
async function readHead(values: readonly SequenceValue[]): Promise<readonly SequenceValue[]> {
  const chunks: Uint8Array[] = []
  const sink = { write: async (chunk: Uint8Array) => void chunks.push(chunk), finish: async () => undefined }
  const sections = planSections([])
  const writer = new SnapshotWriter(sink, { storeKind: 'postgres', storeId: 'a', schemaVersion: 1, sections: sections.names, createdAtMs: 0 })
  const archive = new ArchiveWriter(writer, { schema: { tables: [], sequences: ['numbers', 'others'] }, sections })
  await writer.start()
  await archive.start(values)
  await archive.finish()
  await writer.finish({ count: 0, digest: '0'.repeat(64) })
  const reader = await openSnapshot((async function* () {
    yield* chunks
  })())
  try {
    return (await new ArchiveReader(reader, () => undefined).readHead()).sequences
  } finally {
    await reader.close()
  }
}

test('ArchiveReader gives where each sequence stands', async () => {
  expect(await readHead([NUMBERS, OTHERS])).toEqual([NUMBERS, OTHERS])
})

test.each([
  ['lacks one', [NUMBERS]],
  ['has one more', [NUMBERS, OTHERS, { ...OTHERS, name: 'more' }]],
  ['has another', [NUMBERS, { ...OTHERS, name: 'more' }]],
])('ArchiveReader refuses an archive that %s of the sequences of its schema with restore_corrupt', async (_, values) => {
  expect((await refused(readHead(values), 'restore_corrupt')).message).toMatch(/sequences\.json/)
})
