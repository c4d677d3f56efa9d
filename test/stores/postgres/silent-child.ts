/** Reads from the store in a schema until that fails, prints how, and closes the store; ends when nothing holds it any more. */
import { setTimeout as delay } from 'node:timers/promises'
import { openPostgresStore } from '../../../src/stores/postgres/index.ts'

const [, , connection = '', schema = ''] = process.argv
const store = await openPostgresStore({ connection, schema, answerTimeoutMs: 1000 })
// Several connections, of which all but one are idle.
await Promise.all([store.setting('a'), store.setting('b'), store.setting('c')])
process.stdout.write('open\n')
try {
  for (;;) {
    await store.setting('a')
    await delay(20)
  }
} catch (error) {
  const { code, retryable } = error as { readonly code: string; readonly retryable: boolean }
  process.stdout.write(`${code} ${retryable}\n`)
}
await store.close()
