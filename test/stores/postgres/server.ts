/** A Postgres server to test with: the one that HOLDFAST_TEST_POSTGRES_URL names, else one of this test file's own. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { type PoolConfig, Pool } from 'pg'
import { afterAll } from 'vitest'

const KEEPER = resolve(import.meta.dirname, '../../../dist/test/stores/postgres/server-keeper.js')

let url: Promise<string> | undefined
const closings: (() => Promise<void>)[] = []

afterAll(async () => {
  for (const close of closings.splice(0).toReversed()) await close()
})

/** Where the server is, as a superuser of it. */
export async function serverUrl(): Promise<string> {
  return await (url ??= process.env['HOLDFAST_TEST_POSTGRES_URL'] === undefined ? startServer() : Promise.resolve(process.env['HOLDFAST_TEST_POSTGRES_URL']))
}

/** A pool that is closed after the tests of this file. */
export async function testPool(options: PoolConfig = {}): Promise<Pool> {
  const pool = new Pool({ connectionString: await serverUrl(), max: 12, ...options })
  pool.on('error', () => undefined)
  closings.push(() => pool.end())
  return pool
}

async function startServer(): Promise<string> {
  // Without the mark of the run, whose keeper kills what has it: this process stops its server first.
  const { HOLDFAST_TEST_RUN: run, ...env } = process.env
  if (run !== undefined) env['HOLDFAST_TEST_POSTGRES_TEMPLATE'] = join(run, 'postgres-template')
  const keeper = spawn(process.execPath, [KEEPER], { stdio: ['pipe', 'pipe', 'inherit'], env })
  const exited = once(keeper, 'exit')
  closings.push(async () => {
    keeper.stdin.end()
    await exited
  })
  for await (const line of createInterface({ input: keeper.stdout })) {
    keeper.stdout.resume()
    return line
  }
  throw new Error(`No Postgres server was started: ${KEEPER} ended before it said where`)
}
