/**
 * What a destination does that a crash may cut off, each with the state it starts from and what must hold after a crash.
 * Runs in the test's process and in child processes that are killed.
 */
import { deepEqual, ok } from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fsDestination } from '../../destinations/fs/index.ts'
import type { Destination } from '../../src/contracts/destination.ts'
import { type Files, replaceFile, systemError } from '../../src/util/files.ts'
import { interceptFiles, quickFiles } from '../support/faulty-files.ts'
import type { Scenario } from './harness.ts'

const BEFORE = '01HZZZZZZZ0000000000000001'
const UNDER_WAY = '01HZZZZZZZ0000000000000002'
const LATER = '01HZZZZZZZ0000000000000003'
const HALF_WRITTEN = '01HZZZZZZZ0000000000000004'
const HALF_DELETED = '01HZZZZZZZ0000000000000005'

const CHUNKS = [1, 2, 3].map((value) => new Uint8Array(700).fill(value))
const PAYLOAD = Buffer.concat(CHUNKS)
const PAYLOAD_IDS = Buffer.from('a\nb\n'.repeat(200))
const OLD_POINTER = Buffer.from(JSON.stringify({ engine: 'old', padding: 'o'.repeat(900) }))
const NEW_POINTER = Buffer.from(JSON.stringify({ engine: 'new', padding: 'n'.repeat(1500) }))
const LONG_AGO = { graceMs: 0, nowMs: Date.now() + 10 ** 9 }

const rootOf = (directory: string): string => join(directory, 'backups')
const manifestOf = (backupId: string): Buffer => Buffer.from(JSON.stringify({ backupId, padding: 'm'.repeat(1200) }))

function open(directory: string, files: Files): Destination {
  // Small enough that every scenario flushes while it writes.
  return fsDestination({ path: rootOf(directory), files, flushBytes: 1000 })
}

async function publish(destination: Destination, backupId: string): Promise<void> {
  const upload = await destination.put(backupId)
  try {
    for (const chunk of CHUNKS) await upload.write('payload', chunk)
    await upload.write('payload-ids', PAYLOAD_IDS)
    await upload.publish(manifestOf(backupId))
  } catch (error) {
    await upload.abort()
    throw error
  }
}

/** Writes a directory of a backup with some of its objects. */
function plant(directory: string, name: string, objects: readonly string[]): void {
  const path = join(rootOf(directory), name)
  mkdirSync(path, { recursive: true })
  const content: Record<string, Buffer> = { payload: PAYLOAD, 'payload-ids': PAYLOAD_IDS, 'manifest.json': manifestOf(name) }
  for (const object of objects) writeFileSync(join(path, object), content[object] ?? '')
}

const WHOLE = ['payload', 'payload-ids', 'manifest.json']

/** What all scenarios share: what is listed is whole, nothing else is left after a clean-up, and the next backup works. */
async function checkDestination(directory: string, must: readonly string[], may: readonly string[]): Promise<void> {
  const destination = open(directory, quickFiles)
  const listed = readdirSync(directory).includes('backups') ? await collect(destination.list()) : []
  for (const backupId of must) ok(listed.includes(backupId), `${backupId} is lost`)
  for (const backupId of listed) {
    ok(must.includes(backupId) || may.includes(backupId), `${backupId} came back`)
    await checkWhole(destination, backupId)
  }
  if (readdirSync(directory).includes('backups')) await destination.cleanUp(LONG_AGO)
  const left = readdirSync(directory).includes('backups') ? readdirSync(rootOf(directory)) : []
  deepEqual(left.toSorted(), listed, 'leftovers remain after a clean-up')
  await publish(destination, LATER)
  await checkWhole(destination, LATER)
}

async function checkWhole(destination: Destination, backupId: string): Promise<void> {
  ok(manifestOf(backupId).equals(await destination.manifest(backupId)), `the manifest of ${backupId} is damaged`)
  ok(PAYLOAD.equals(Buffer.concat(await collect(destination.open(backupId, 'payload')))), `the payload of ${backupId} is damaged`)
  ok(PAYLOAD_IDS.equals(Buffer.concat(await collect(destination.open(backupId, 'payload-ids')))), `the payload IDs of ${backupId} are damaged`)
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const result: T[] = []
  for await (const item of items) result.push(item)
  return result
}

/** Runs a call whose first sync of a directory of this name fails; only that very failure is passed over. */
async function withSyncFailing(name: string, files: Files, call: (files: Files) => Promise<void>): Promise<void> {
  let failure: Error | undefined
  const failing = interceptFiles(files, async (step, run) => {
    if (step.call !== 'syncDirectory' || basename(step.path) !== name || failure !== undefined) return await run()
    failure = systemError('EIO', 'fsync', step.path)
    throw failure
  })
  await call(failing).catch((error: unknown) => {
    if (failure === undefined || !(error instanceof Error) || error.cause !== failure) throw error
  })
}

const publishing: Pick<Scenario, 'run'> = {
  run: async (files, directory, mark) => {
    await publish(open(directory, files), UNDER_WAY)
    mark('published')
  },
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'publish the first backup',
    prepare: () => undefined,
    ...publishing,
    check: (directory, promises) => checkDestination(directory, promises.has('published') ? [UNDER_WAY] : [], [UNDER_WAY]),
  },
  {
    name: 'publish beside another',
    prepare: (directory) => plant(directory, BEFORE, WHOLE),
    ...publishing,
    check: (directory, promises) => checkDestination(directory, promises.has('published') ? [BEFORE, UNDER_WAY] : [BEFORE], [UNDER_WAY]),
  },
  {
    name: 'abort an upload',
    prepare: (directory) => plant(directory, BEFORE, WHOLE),
    run: async (files, directory) => {
      const upload = await open(directory, files).put(UNDER_WAY)
      try {
        for (const chunk of CHUNKS) await upload.write('payload', chunk)
        await upload.write('payload-ids', PAYLOAD_IDS)
      } finally {
        await upload.abort()
      }
    },
    check: (directory) => checkDestination(directory, [BEFORE], []),
  },
  {
    name: 'take back a backup whose rename could not be made durable',
    prepare: (directory) => plant(directory, BEFORE, WHOLE),
    run: async (files, directory) => {
      await withSyncFailing('backups', files, (failing) => publish(open(directory, failing), UNDER_WAY))
    },
    check: (directory) => checkDestination(directory, [BEFORE], [UNDER_WAY]),
  },
  {
    name: 'delete a backup',
    prepare: (directory) => [BEFORE, UNDER_WAY].forEach((backupId) => plant(directory, backupId, WHOLE)),
    run: async (files, directory, mark) => {
      await open(directory, files).delete(UNDER_WAY)
      mark('deleted')
    },
    check: async (directory, promises) => {
      if (promises.has('deleted')) ok(!readdirSync(rootOf(directory)).includes(UNDER_WAY), 'a deleted backup is still there')
      await checkDestination(directory, [BEFORE], promises.has('deleted') ? [] : [UNDER_WAY])
    },
  },
  {
    name: 'delete again what a delete left',
    prepare: (directory) => [BEFORE, UNDER_WAY].forEach((backupId) => plant(directory, backupId, WHOLE)),
    run: async (files, directory, mark) => {
      await withSyncFailing('backups', files, (failing) => open(directory, failing).delete(UNDER_WAY))
      await open(directory, files).delete(UNDER_WAY)
      mark('deleted')
    },
    check: async (directory, promises) => {
      if (promises.has('deleted')) ok(!readdirSync(rootOf(directory)).includes(UNDER_WAY), 'a deleted backup is still there')
      await checkDestination(directory, [BEFORE], promises.has('deleted') ? [] : [UNDER_WAY])
    },
  },
  {
    name: 'clean up leftovers',
    prepare: (directory) => {
      plant(directory, BEFORE, WHOLE)
      plant(directory, `${HALF_WRITTEN}.tmp`, ['payload'])
      plant(directory, `${UNDER_WAY}.tmp`, WHOLE)
      plant(directory, HALF_DELETED, ['payload', 'payload-ids'])
    },
    run: async (files, directory) => {
      await open(directory, files).cleanUp(LONG_AGO)
    },
    check: (directory) => checkDestination(directory, [BEFORE], []),
  },
  {
    name: 'clean up what a delete left before its un-listing was durable',
    prepare: (directory) => [BEFORE, UNDER_WAY].forEach((backupId) => plant(directory, backupId, WHOLE)),
    run: async (files, directory) => {
      await withSyncFailing(UNDER_WAY, files, (failing) => open(directory, failing).delete(UNDER_WAY))
      await open(directory, files).cleanUp(LONG_AGO)
    },
    check: (directory) => checkDestination(directory, [BEFORE], [UNDER_WAY]),
  },
  {
    name: 'replace a small file',
    prepare: (directory) => writeFileSync(join(directory, 'pointer.json'), OLD_POINTER),
    run: async (files, directory, mark) => {
      await replaceFile(files, join(directory, 'pointer.json'), NEW_POINTER)
      mark('replaced')
    },
    check: async (directory, promises) => {
      const pointer = readFileSync(join(directory, 'pointer.json'))
      ok(pointer.equals(NEW_POINTER) || (!promises.has('replaced') && pointer.equals(OLD_POINTER)), 'the file is neither old nor new')
      await replaceFile(quickFiles, join(directory, 'pointer.json'), OLD_POINTER)
      deepEqual(readdirSync(directory), ['pointer.json'])
    },
  },
]
