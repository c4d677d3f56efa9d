/** A second server, started from a copy of the tests' own while that runs: a standby of it, or one with other settings. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Client } from 'pg'
import { onTestFinished } from 'vitest'
import { tempDir } from '../../support/temp-dir.ts'
import { sharedPool } from './schemas.ts'
import { serverUrl } from './server.ts'
import { freePort } from '../../support/free-port.ts'

const run = promisify(execFile)

/** Whether the server's files are at hand. */
export const mayCopyServer: boolean = process.env['HOLDFAST_TEST_POSTGRES_URL'] === undefined && process.platform !== 'win32'

/** Starts it until the test has finished; gives its URL. */
export async function copyOfServer({ isStandby = false, flags = [] }: { readonly isStandby?: boolean; readonly flags?: readonly string[] }): Promise<string> {
  const { rows } = await (await sharedPool()).query<{ data: string; programs: string }>(
    `SELECT current_setting('data_directory') AS data, (SELECT setting FROM pg_config WHERE name = 'BINDIR') AS programs`,
  )
  const { data = '', programs = '' } = rows[0] ?? {}
  const directory = await copyOf(data, isStandby)
  const { uid, gid } = await stat(data)
  const url = new URL(await serverUrl())
  url.port = `${await freePort()}`
  const own = ['-D', directory, '-p', url.port, '-k', '', '-c', 'listen_addresses=127.0.0.1', '-c', 'fsync=off', ...flags]
  const server = spawn(join(programs, 'postgres'), own, { stdio: 'ignore', ...(process.getuid?.() === 0 ? { uid, gid } : {}) })
  const exited = once(server, 'exit')
  onTestFinished(async () => {
    server.kill('SIGINT')
    await exited
  })
  while (!(await answers(url.href))) {
    if (server.exitCode !== null) throw new Error(`The copy of the server ended with ${server.exitCode}`)
    await delay(50)
  }
  return url.href
}

/** All that is committed when this is called. */
async function copyOf(data: string, isStandby: boolean): Promise<string> {
  const parent = await tempDir()
  await chmod(parent, 0o755)
  const directory = join(parent, 'data')
  const client = await (await sharedPool()).connect()
  try {
    await client.query(`SELECT pg_backup_start('copy', true)`)
    // Files that go meanwhile are made anew from the log.
    await run('cp', ['-Rp', data, directory]).catch(() => undefined)
    const { rows } = await client.query<{ label: string }>('SELECT labelfile AS label FROM pg_backup_stop(false)')
    await run('cp', ['-Rp', join(data, 'pg_wal'), directory])
    await rm(join(directory, 'postmaster.pid'), { force: true })
    const { uid, gid } = await stat(data)
    for (const [name, text] of [['backup_label', rows[0]?.label ?? ''], ...(isStandby ? [['standby.signal', '']] : [])] as const) {
      await writeFile(join(directory, name), text)
      await chown(join(directory, name), uid, gid)
    }
    return directory
  } finally {
    client.release(true)
  }
}

async function answers(url: string): Promise<boolean> {
  const client = new Client({ connectionString: url })
  client.on('error', () => undefined)
  try {
    await client.connect()
    await client.end()
    return true
  } catch {
    return false
  }
}
