/**
 * Puts entries into a ledger, and prints the ID of each once it is acknowledged: `node ledger-child.js LEDGER PATH SEED`. Now and then a write
 * fails; it goes on all the same for a while, then closes and opens the ledger.
 */
import { randomFrom } from '../../conformance/random.ts'
import { limitFileSize, limitLog } from '../../support/file-size-limit.ts'
import { LEDGERS, type Ledger } from '../../support/ledgers.ts'

const [, , name = '', path = '', seed] = process.argv
const random = randomFrom(Number(seed))
const open = LEDGERS[name] as (path: string) => Promise<Ledger>
let ledger = await open(path)

async function putSome(): Promise<void> {
  const puts = Array.from({ length: 1 + Math.floor(random() * 4) }, () => ledger.put(Math.floor(random() ** 3 * 50_000)))
  for (const put of await Promise.allSettled(puts)) if (put.status === 'fulfilled') process.stdout.write(`${put.value}\n`)
}

for (;;) {
  for (let round = 0; round < 5 * random(); round++) await putSome()
  limitLog(path, Math.floor(random() * 40_000))
  await putSome()
  limitFileSize('unlimited')
  for (let round = 0; round < 5; round++) await putSome()
  await ledger.close()
  ledger = await open(path)
}
