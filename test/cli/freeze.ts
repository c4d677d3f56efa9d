/**
 * Loaded before the command line (`node --import`): stops the process by SIGSTOP when it is about to open a path that matches FREEZE_AT, for the
 * FREEZE_TIMES-th time, so that a test can signal it there. Linux only.
 */
import files from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import process from 'node:process'

const { FREEZE_AT: pattern = '', FREEZE_TIMES: times = '1' } = process.env
const { open } = files
let left = Number(times)

files.open = async (path, ...rest) => {
  if (new RegExp(pattern).test(String(path)) && --left === 0) process.kill(process.pid, 'SIGSTOP')
  return await open(path, ...rest)
}
syncBuiltinESMExports()
