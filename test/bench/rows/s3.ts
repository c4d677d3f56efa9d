/** The S3 destination against the SDK's own ways of moving the same bytes, at the same server; its memory; the requests of a list. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { GetObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import type { Destination } from '../../../src/contracts/destination.ts'
import { s3Client } from '../../support/s3/client.ts'
import { type BenchResult, type BenchRow, compared, interleaved, secondsOf } from '../bench.ts'
import { benchDestination, publishTo } from '../s3-publish.ts'
import { BENCH_BUCKET, BENCH_PREFIX, type BenchServer, withBenchServer } from '../s3-server.ts'

const run = promisify(execFile)
const CHILD = fileURLToPath(new URL('../s3-memory-child.js', import.meta.url))
const MIB = 1024 * 1024
const SIZE_MIB = Number(process.env['HOLDFAST_BENCH_S3_MIB'] ?? 1024)
/** The defaults of s3Destination. */
const [PART_MIB, PARTS_IN_FLIGHT] = [8, 4]
const BACKUPS = 10_000
const KEYS_A_BACKUP = 3

export const s3Row: BenchRow = {
  name: 's3',
  run: async ({ rounds }) => await withBenchServer(async (server) => [...(await moving(server, rounds)), await memory(server), await listing(server)]),
}

async function moving(server: BenchServer, rounds: number): Promise<BenchResult[]> {
  const destination = benchDestination(server)
  const client = s3Client(server)
  const bytes = Buffer.alloc(SIZE_MIB * MIB, 'holdfast')
  const chunk = bytes.subarray(0, MIB)
  const emptied = async (seconds: number): Promise<number> => {
    await server.ask('empty')
    return SIZE_MIB / seconds
  }
  const stored = await interleaved(rounds, {
    publish: async () => await emptied(await secondsOf(() => publishTo(destination, { chunk, times: SIZE_MIB }))),
    upload: async () => await emptied(await secondsOf(() => uploadTo(client, bytes))),
  })
  const backupId = await publishTo(destination, { chunk, times: SIZE_MIB })
  const fetched = await interleaved(rounds, {
    open: async () => SIZE_MIB / (await secondsOf(() => fetchFrom(destination, backupId))),
    get: async () => SIZE_MIB / (await secondsOf(() => getFrom(client, `${BENCH_PREFIX}/${backupId}/payload`))),
  })
  await server.ask('empty')
  await destination.close()
  client.destroy()
  const target = { atLeast: 0.9 }
  return [
    compared(`publish ${SIZE_MIB} MiB to S3 / the SDK's Upload`, { measured: stored.publish, reference: stored.upload, unit: 'MiB/s' }, target),
    compared(`fetch ${SIZE_MIB} MiB from S3 / the SDK's GetObject`, { measured: fetched.open, reference: fetched.get, unit: 'MiB/s' }, target),
  ]
}

async function uploadTo(client: S3Client, bytes: Buffer): Promise<void> {
  const params = { Bucket: BENCH_BUCKET, Key: 'upload', Body: bytes }
  await new Upload({ client, params, partSize: PART_MIB * MIB, queueSize: PARTS_IN_FLIGHT }).done()
}

async function fetchFrom(destination: Destination, backupId: string): Promise<void> {
  await countTo(SIZE_MIB * MIB, destination.open(backupId, 'payload'))
}

async function getFrom(client: S3Client, key: string): Promise<void> {
  const { Body } = await client.send(new GetObjectCommand({ Bucket: BENCH_BUCKET, Key: key }))
  await countTo(SIZE_MIB * MIB, Body as unknown as AsyncIterable<Uint8Array>)
}

async function countTo(expected: number, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  let bytes = 0
  for await (const chunk of chunks) bytes += chunk.byteLength
  if (bytes !== expected) throw new Error(`${bytes} bytes instead of ${expected}`)
}

async function memory(server: BenchServer): Promise<BenchResult> {
  const { endpoint, region, accessKeyId, secretAccessKey } = server
  const { stdout } = await run(process.execPath, ['--expose-gc', CHILD, JSON.stringify({ endpoint, region, accessKeyId, secretAccessKey }), String(SIZE_MIB)])
  await server.ask('empty')
  const peak = Number(stdout)
  const target = { atMost: PARTS_IN_FLIGHT * PART_MIB + 48 }
  return { name: `memory above idle, publishing ${SIZE_MIB} MiB to S3`, measured: peak, reference: undefined, unit: 'MiB', ratio: peak, target }
}

async function listing(server: BenchServer): Promise<BenchResult> {
  const destination = benchDestination(server)
  await server.ask(`fill ${BACKUPS}`)
  await server.ask('count')
  let backups = 0
  for await (const _ of destination.list()) backups += 1
  await destination.close()
  if (backups !== BACKUPS) throw new Error(`${backups} backups instead of ${BACKUPS}`)
  const values = { measured: Number(await server.ask('count')), reference: (BACKUPS * KEYS_A_BACKUP) / 1000, unit: 'requests' }
  return compared(`list of ${BACKUPS.toLocaleString('en')} backups / pages of 1,000 keys`, values, { atMost: 1 })
}
