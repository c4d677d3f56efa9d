/** What a server and an operator do with an S3 destination: whole backups, the command line, processes that are killed. */
import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { join } from 'node:path'
import { describe, test } from 'vitest'
import { runBackup } from '../../../src/backup/run-backup.ts'
import { newUlid } from '../../../src/util/ulid.ts'
import { restoreBackup } from '../../../src/restore/restore-backup.ts'
import { openMemoryStore } from '../../../src/stores/memory/index.ts'
import { holdfast, writeTree } from '../../cli/holdfast.ts'
import { startChild } from '../../support/child.ts'
import { collect } from '../../support/collect.ts'
import { dumpStore } from '../../support/dump-store.ts'
import { fillStore } from '../../support/fill-store.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { BUCKET, bytesOf, openAt, type OwnServer, ownServer, PART_BYTES, PREFIX, publish } from './setup.ts'

const CHILD = new URL('../../../dist/test/destinations/s3/child.js', import.meta.url)
const FUTURE = (): { graceMs: number; nowMs: number } => ({ graceMs: 0, nowMs: Date.now() + 1000 })

/** Runs the child and kills it at its nth request, before or after the server has done it. Resolves with whether it had ended before. */
async function killAt(own: OwnServer, nth: number, options: { readonly task: string; readonly backupId: string; readonly when: 'failBefore' | 'failAfter' }): Promise<boolean> {
  const { endpoint, region, accessKeyId, secretAccessKey } = own.server
  const from = own.server.requests.length
  const child = startChild(CHILD, [options.task, JSON.stringify({ endpoint, region, accessKeyId, secretAccessKey }), options.backupId])
  let killed: Promise<void> | undefined
  own.server.behaviour[options.when] = ({ number }) => {
    if (number < from + nth) return undefined
    killed ??= child.kill()
    return 'hang'
  }
  const ended = await child.ended
  await killed
  own.server.behaviour[options.when] = undefined
  return ended === 0
}

describe('a process that is killed', () => {
  test('scenario 1: kill -9 at each request of publish leaves the backup listed and whole, or absent; leftovers go with the next clean-up', async () => {
    let isDone = false
    let points = 0
    for (; !isDone; points++) {
      for (const when of ['failBefore', 'failAfter'] as const) {
        const own = await ownServer()
        const backupId = newUlid()
        isDone = await killAt(own, points, { task: 'publish', backupId, when })
        const destination = own.open()
        const listed = await collect(destination.list())
        if (listed.length > 0) ok(Buffer.concat(await collect(destination.open(backupId, 'payload'))).equals(bytesOf(PART_BYTES + 1000)))
        deepEqual((await destination.cleanUp()).removed, [])
        await destination.cleanUp(FUTURE())
        equal(own.bucket.uploads.size, 0)
        equal(own.keys().length, listed.length * 3)
      }
    }
    console.log(`kill -9 of publish: ${points - 1} requests, each before and after`)
    ok(points > 7)
  })

  test('scenario 34: kill -9 at each request of delete leaves no listed backup without its objects, and nothing after a clean-up', async () => {
    let isDone = false
    for (let points = 0; !isDone; points++) {
      for (const when of ['failBefore', 'failAfter'] as const) {
        const own = await ownServer()
        const backupId = await publish(own.open(), bytesOf(100))
        isDone = await killAt(own, points, { task: 'delete', backupId, when })
        const destination = own.open()
        const listed = await collect(destination.list())
        for (const each of listed) deepEqual((await destination.stat(each)).bytes, { payload: 100, 'payload-ids': 4 })
        await destination.cleanUp(FUTURE())
        equal(own.keys().length, listed.length * 3)
      }
    }
  })
})

describe('runBackup() and restoreBackup() with s3Destination()', () => {
  test('give back the same store', async () => {
    const own = await ownServer()
    const store = await openMemoryStore()
    await fillStore(store)
    const { manifest, warnings } = await runBackup({ store, destination: own.open() })
    deepEqual(warnings, [])
    const target = await openMemoryStore()
    await restoreBackup({ target, destination: own.open(), backupId: manifest.backupId, allowStoreId: true })
    deepEqual(await dumpStore(target), await dumpStore(store))
  })

  test('a store that compares no checksums and damages what it stores: reading back finds it, and nothing stays listed', async () => {
    const own = await ownServer({ behaviour: { verifiesNoChecksum: true } })
    const store = await openMemoryStore()
    await fillStore(store)
    own.server.behaviour.failAfter = ({ operation, key }) => {
      const [chunk] = operation === 'CompleteMultipartUpload' ? (own.bucket.current(key)?.data.chunks ?? []) : []
      if (chunk !== undefined) chunk[100] = (chunk[100] ?? 0) ^ 1
      return undefined
    }
    await rejects(runBackup({ store, destination: own.open() }), { code: 'restore_corrupt' })
    deepEqual(own.keys(), [])
  })

  test.each([
    ['a bucket that is not there', { bucket: 'no-such-bucket' }, 'destination_not_found'],
    ['a wrong secret', { credentials: { accessKeyId: 'HOLDFASTTESTKEY00001', secretAccessKey: 'wrong' } }, 'destination_permission_denied'],
    ['a wrong region', { region: 'eu-west-1' }, 'destination_config_invalid'],
  ])('scenario 24: with %s a backup fails before the snapshot is opened', async (_, options, code) => {
    const own = await ownServer()
    const store = await openMemoryStore()
    let isOpened = false
    const backup = store.backup.bind(store)
    store.backup = async (...args) => {
      isOpened = true
      return await backup(...args)
    }
    await rejects(runBackup({ store, destination: own.open(options) }), { code })
    equal(isOpened, false)
  })

  test('scenario 24: with a key that may not write a backup fails before the snapshot is opened', async () => {
    const own = await ownServer()
    const credentials = own.server.addKey('READKEY0000000000001', {
      policy: { Statement: [{ Effect: 'Allow', Action: ['s3:ListBucket', 's3:ListBucketMultipartUploads', 's3:GetObject'], Resource: '*' }] },
    })
    const store = await openMemoryStore()
    const phases = new Set<string>()
    const backup = runBackup({ store, destination: own.open({ credentials }), onProgress: ({ phase, bytes }) => void (bytes > 0 && phases.add(phase)) })
    await rejects(backup, { code: 'destination_permission_denied' })
    equal(phases.size, 0)
  })
})

describe('holdfast with s3: URLs', () => {
  test('backs up, lists, verifies, restores and deletes; shows no secret whatever goes wrong', async () => {
    const own = await ownServer()
    const cwd = await tempDir()
    const { accessKeyId, secretAccessKey, endpoint } = own.server
    const url = `s3://${BUCKET}/${PREFIX.slice(0, -1)}?region=us-east-1&endpoint=${encodeURIComponent(endpoint)}`
    const env = { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_EC2_METADATA_DISABLED: 'true', HOLDFAST_DEBUG: '1' }
    const run = async (...words: string[]): Promise<string> => {
      const { code, stdout, stderr } = await holdfast(words, { cwd, env })
      equal(code, 0, stdout + stderr)
      ok(!(stdout + stderr).includes(secretAccessKey) && !stderr.includes('NodeVersionSupportWarning'), stderr)
      return stdout
    }
    await writeTree(join(cwd, 'tree'), { 'a.txt': 'first', 'docs/deep': 'x'.repeat(5000) })
    await run('import', 'tree', '--store', 'level:store', '--payloads', 'payloads')
    ok((await run('backup', '--store', 'level:store', '--to', url)).includes('the stored bytes match'))
    const [backupId = ''] = await collect(openAt(own.server).list())
    ok((await run('list', '--from', url)).includes(backupId))
    ok((await run('verify', 'latest', '--from', url, '--level', 'restore')).startsWith('Good:'))
    await run('restore', 'latest', '--from', url, '--store', 'level:copy', '--yes')
    ok((await run('restore', 'latest', '--from', url, '--store', 'level:copy', '--path', 'tree/docs', '--to-path', 'tree/again')).includes('1 file (4.88 KiB)'))
    ok((await run('ls', 'latest', 'tree', '--from', url)).includes('a.txt'))
    const wrong = await holdfast(['list', '--from', url], { cwd, env: { ...env, AWS_SECRET_ACCESS_KEY: 'hunter2hunter2' } })
    equal(wrong.code, 1)
    ok(wrong.stderr.startsWith('error: destination_permission_denied: ') && wrong.stderr.includes('hint: Check AWS_SECRET_ACCESS_KEY'))
    ok(!wrong.stderr.includes('hunter2') && !wrong.stderr.includes(accessKeyId), wrong.stderr)
    equal((await holdfast(['list', '--from', `s3://${BUCKET}/a//b`], { cwd, env })).code, 2)
    ok((await holdfast(['--help'], { cwd })).stdout.includes('s3://BUCKET/PREFIX'))
  })
})
