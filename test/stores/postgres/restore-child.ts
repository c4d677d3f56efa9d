/**
 * Does a work and kills itself at a statement: `node restore-child.js WORK URL BACKUPS BACKUP-ID STATEMENT MOMENT`. With a statement that never comes it does all
 * of it. Says on stdout when a swap is being committed, and when it is; and at the end which statements there were.
 */
import { writeSync } from 'node:fs'
import { WORKS } from './restore-scenarios.ts'
import { type Statement, statementPool } from './statement-pool.ts'

const [name = '', url = '', backups = '', backupId = '', at, moment] = process.argv.slice(2)
const work = WORKS[name]
if (work === undefined) throw new Error(`There is no work "${name}"`)

const statements: string[] = []

function dieAt(now: string, { index }: Statement): void {
  if (index === Number(at) && now === moment) process.kill(process.pid, 'SIGKILL')
}

const { pool, close } = statementPool(url, {
  before(statement) {
    statements[statement.index] = statement.text
    if (statement.isSwap) writeSync(1, 'committing\n')
    dieAt('before', statement)
  },
  sent: (statement) => dieAt('sent', statement),
  after(statement, outcome) {
    if (statement.isSwap && outcome === 'done') writeSync(1, 'committed\n')
    dieAt('after', statement)
  },
})
await work({ connection: pool, backups, backupId })
await close()
writeSync(1, `statements ${JSON.stringify(statements)}\n`)
