/**
 * Publishes so many MiB to an S3 server, and prints by how many MiB the resident memory of the process rose at most above what it was after a
 * small backup. Arguments: access as JSON, MiB.
 */
import type { S3Access } from '../support/s3/client.ts'
import { riseMib } from './resident.ts'
import { benchDestination, publishTo } from './s3-publish.ts'

const [access = '{}', size = '0'] = process.argv.slice(2)
const destination = benchDestination(JSON.parse(access) as S3Access)
const chunk = Buffer.alloc(1024 * 1024, 'holdfast')

await publishTo(destination, { chunk, times: 1 })
const mib = await riseMib(() => publishTo(destination, { chunk, times: Number(size) }))
process.stdout.write(`${mib}\n`)
await destination.close()
