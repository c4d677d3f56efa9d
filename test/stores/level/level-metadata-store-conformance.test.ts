import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { MemoryLevel } from 'memory-level'
import { describe, test } from 'vitest'
import { LevelMetadataStore } from '../../../src/stores/level/store/level-metadata-store.ts'
import { openLevelStore } from '../../../src/stores/level/home/level-store.ts'
import { openMemoryStore } from '../../../src/stores/memory/index.ts'
import { testMetadataStore } from '../../conformance/metadata-store.ts'
import { tempDir } from '../../support/temp-dir.ts'

const runner = { describe, test }

testMetadataStore({
  name: 'memory',
  runner,
  factory: () => LevelMetadataStore.open(new MemoryLevel(), { kind: 'memory' }),
})

testMetadataStore({
  name: 'memory, ordered by UTF-16',
  runner,
  factory: () => LevelMetadataStore.open(new MemoryLevel({ storeEncoding: 'utf8' }), { kind: 'memory' }),
})

testMetadataStore({
  name: 'level',
  runner,
  factory: async () => {
    const db = new ClassicLevel(join(await tempDir(), 'db'), { multithreading: true })
    return await LevelMetadataStore.open(db, { kind: 'level' })
  },
})

testMetadataStore({
  name: 'memory, as a server holds it',
  runner,
  factory: () => openMemoryStore(),
})

testMetadataStore({
  name: 'level, as a server holds it',
  runner,
  factory: async () => await openLevelStore(join(await tempDir(), 'store')),
})
