import { describe, test } from 'vitest'
import { type PostgresStore, openPostgresStore } from '../../../src/stores/postgres/index.ts'
import { type SwappableHandle, testSwappable } from '../../conformance/swappable.ts'
import { schemasLike } from './homes.ts'
import { quote, sharedPool } from './schemas.ts'

const handleOf = (store: PostgresStore): SwappableHandle => ({
  store,
  write: (text) => store.setSetting('text', text),
  read: () => store.setting('text'),
})

testSwappable({
  name: 'postgres',
  runner: { describe, test },
  factory: async () => {
    const pool = await sharedPool()
    const schema = `swappable_${Math.random().toString(36).slice(2, 10)}`
    const open = (): Promise<PostgresStore> => openPostgresStore({ connection: pool, schema })
    const first = await open()
    const opened = [first]
    const another = async (): Promise<SwappableHandle> => {
      const store = await open()
      opened.push(store)
      return handleOf(store)
    }
    return {
      ...handleOf(first),
      another,
      async reopen() {
        await first.close()
        return await another()
      },
      async cleanup() {
        for (const store of opened) await store.close()
        for (const name of await schemasLike(pool, schema)) await pool.query(`DROP SCHEMA ${quote(name)} CASCADE`)
      },
    }
  },
})
