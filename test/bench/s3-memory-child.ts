/**
 * Publishes so many MiB to an S3 server, and prints by how many MiB the resident memory of the process rose at most above what it was after a
 * small backup. Arguments: access as JSON, MiB.
 */
import { readFileSync } from 'node:fs'
import type { S3Access } from '../support/s3/client.ts'
import { benchDestination, publishTo } from './s3-publish.ts'

const [access = '{}', size = '0'] = process.argv.slice(2)
const destination = benchDestination(JSON.parse(access) as S3Access)
const chunk = Buffer.alloc(1024 * 1024, 'holdfast')

await publishTo(destination, { chunk, times: 1 })
globalThis.gc?.()
const before = residentMib()
let peak = before
const timer = setInterval(() => {
  peak = Math.max(peak, residentMib())
}, 5)
await publishTo(destination, { chunk, times: Number(size) })
clearInterval(timer)
process.stdout.write(`${Math.max(peak, residentMib()) - before}\n`)
await destination.close()

function residentMib(): number {
  const status = readFileSync('/proc/self/status', 'latin1')
  return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1] ?? process.memoryUsage.rss() / 1024) / 1024
}
