import { describe, test } from 'vitest'
import { testBackupable } from '../../conformance/backupable.ts'
import { runs, seed } from '../../support/seed.ts'
import { ENGINES, openFixture } from './backupable-stores.ts'

for (const engine of ENGINES) {
  for (const encoding of ['text', 'bytes'] as const) {
    testBackupable({
      name: `${engine}, ${encoding}`,
      runner: { describe, test },
      factory: () => openFixture(engine, encoding),
      seed,
      // A worker thread is started for each.
      faults: runs(engine === 'classic in a worker' ? 8 : 30),
    })
  }
}
