import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, readFile, readdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'
import { tempDir } from '../../support/temp-dir.ts'

const KEEPER = resolve('dist/test/stores/postgres/server-keeper.js')
/** Starts a keeper and says so, as a test file does. */
const STARTER = `
const { spawn } = require('node:child_process')
const keeper = spawn(process.execPath, [${JSON.stringify(KEEPER)}], { stdio: ['pipe', 'pipe', 'inherit'] })
keeper.stdout.on('data', (text) => process.stdout.write(keeper.pid + ' ' + text))
`

test.skipIf(process.platform !== 'linux')('the server of a test file that is killed goes with all its files', async () => {
  const temporary = await tempDir()
  // The server's own user passes through.
  await chmod(temporary, 0o755)
  const starter = spawn(process.execPath, ['-e', STARTER], { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, TMPDIR: temporary } })
  let keeper = NaN
  for await (const line of createInterface({ input: starter.stdout })) {
    keeper = Number(line.split(' ')[0])
    break
  }
  const [directory] = await readdir(temporary)
  const postmaster = Number((await readFile(join(temporary, directory ?? '', 'data/postmaster.pid'), 'utf8')).split('\n')[0])
  expect(isAlive(keeper) && isAlive(postmaster)).toBe(true)
  starter.kill('SIGKILL')
  await expect.poll(() => isAlive(keeper) || isAlive(postmaster), { timeout: 200_000 }).toBe(false)
  expect(await readdir(temporary)).toEqual([])
})

function isAlive(processId: number): boolean {
  return existsSync(`/proc/${processId}`)
}
