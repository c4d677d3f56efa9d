import { describe, test } from 'vitest'
import { testBackupable } from '../../conformance/backupable.ts'
import { runs, seed } from '../../support/seed.ts'
import { openFixture } from './schemas.ts'

for (const worker of [false, true]) {
  testBackupable({
    name: worker ? 'postgres in a worker' : 'postgres',
    runner: { describe, test },
    factory: () => openFixture({ worker, pace: 'full', connections: worker ? 3 : 2 }),
    seed,
    // A thread and its connections are started for each.
    faults: runs(worker ? 6 : 20),
  })
}
