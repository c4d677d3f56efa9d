import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'vitest'
import type { MetadataStore } from '../../../src/contracts/metadata-store.ts'
import type { Swappable } from '../../../src/contracts/swappable.ts'
import { openLevelStore } from '../../../src/stores/level/index.ts'
import { openMemoryStore } from '../../../src/stores/memory/index.ts'
import { type SwappableHandle, testSwappable } from '../../conformance/swappable.ts'

const handleOf = (store: MetadataStore & Swappable): SwappableHandle => ({
  store,
  write: (text) => store.setSetting('text', text),
  read: () => store.setting('text'),
})

const none = (): never => {
  throw new Error('not supported')
}

testSwappable({
  name: 'memory',
  runner: { describe, test },
  factory: async () => {
    const store = await openMemoryStore()
    return { ...handleOf(store), reopen: none, another: none, cleanup: () => store.close() }
  },
  supports: { reopen: false, manyHandles: false },
})

testSwappable({
  name: 'level',
  runner: { describe, test },
  factory: async () => {
    const directory = await mkdtemp(join(tmpdir(), 'holdfast-test-'))
    let store = await openLevelStore(directory)
    return {
      ...handleOf(store),
      async reopen() {
        await store.close()
        store = await openLevelStore(directory, { create: false })
        return handleOf(store)
      },
      another: none,
      async cleanup() {
        await store.close()
        await rm(directory, { recursive: true, force: true })
      },
    }
  },
  supports: { manyHandles: false },
})
