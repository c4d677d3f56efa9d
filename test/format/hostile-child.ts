/**
 * Reads hostile streams in a process of its own, and prints what came of it as JSON: `node --expose-gc hostile-child.js TASK`.
 */
import { readFileSync } from 'node:fs'
import { MemoryLevel } from 'memory-level'
import type { SnapshotSource } from '../../src/contracts/backupable.ts'
import { openSnapshot } from '../../src/format/snapshot-reader.ts'
import { levelBackupable } from '../../src/stores/level/index.ts'
import { BOMBS, REFUSED, chunked, endlessBombs, endlessRecords, hugeKeys, tinyFrames } from './hostile-streams.ts'

export interface HostileReport {
  /** The code or the message of each error, by the name of the stream. */
  readonly outcomes: Readonly<Record<string, string>>
  /** By how much the resident memory of the process rose at most. */
  readonly roseMib: number
  /** Of 64 KiB, taken from the source. */
  readonly chunks: number
  readonly frames: number
  /** The most frames between two turns of the event loop. */
  readonly framesPerTurn: number
  /** Frames and chunks that were still taken once the signal had aborted. */
  readonly framesAfterAbort: number
  readonly chunksAfterAbort: number
}

/** Enough that keeping every frame of a bomb would show. */
const TURNS_BEFORE_ABORT = 10

const [task = ''] = process.argv.slice(2)
const controller = new AbortController()
const { signal } = controller
const seen = { chunks: 0, frames: 0, framesPerTurn: 0, framesAfterAbort: 0, chunksAfterAbort: 0 }
let framesThisTurn = 0
let turns = 0

function onChunk(): void {
  seen.chunks += 1
  if (signal.aborted) seen.chunksAfterAbort += 1
}

function onFrame(): void {
  seen.frames += 1
  framesThisTurn += 1
  seen.framesPerTurn = Math.max(seen.framesPerTurn, framesThisTurn)
  if (signal.aborted) seen.framesAfterAbort += 1
}

/** Runs once in each turn of the event loop, as the server's own work would. */
function onTurn(cancels: boolean): void {
  framesThisTurn = 0
  turns += 1
  // What is held is asked about, not what a collector has still to see; when it looks differs between versions of Node.
  if (cancels) globalThis.gc?.()
  if (cancels && turns === TURNS_BEFORE_ABORT) controller.abort(new Error('cancelled'))
  setImmediate(onTurn, cancels).unref()
}

async function read(source: SnapshotSource): Promise<void> {
  const reader = await openSnapshot(chunked(source, onChunk), { signal })
  for await (const _ of reader.frames()) onFrame()
}

/** Into an empty store, which must be empty again when it fails. */
async function restore(source: SnapshotSource): Promise<void> {
  const db = new MemoryLevel({ keyEncoding: 'utf8', valueEncoding: 'utf8' })
  const store = levelBackupable(db, { payloadIds: () => [] })
  try {
    await store.restore(chunked(source, onChunk), { signal, onProgress: onFrame })
  } catch (error) {
    if ((await db.keys({ limit: 1 }).all()).length > 0) throw new Error('the target is not empty', { cause: error })
    throw error
  }
}

async function outcomeOf(run: Promise<void>): Promise<string> {
  return await run.then(
    () => 'no error',
    (error: Error & { readonly code?: string }) => error.code ?? error.message,
  )
}

async function refuse(streams: Readonly<Record<string, () => SnapshotSource>>): Promise<Record<string, string>> {
  const outcomes: Record<string, string> = {}
  for (const [name, make] of Object.entries(streams)) outcomes[name] = await outcomeOf(restore(make()))
  return outcomes
}

const TASKS: Readonly<Record<string, () => Promise<Record<string, string>>>> = {
  refuse: () => refuse(REFUSED),
  'refuse-bombs': () => refuse(BOMBS),
  'read-tiny-frames': async () => ({ tiny: await outcomeOf(read(tinyFrames())) }),
  'restore-huge-keys': async () => ({ huge: await outcomeOf(restore(hugeKeys())) }),
  'cancel-reading': async () => ({ endless: await outcomeOf(read(endlessRecords())) }),
  'cancel-restoring': async () => ({ endless: await outcomeOf(restore(endlessRecords())) }),
  'cancel-reading-bombs': async () => ({ endless: await outcomeOf(read(endlessBombs())) }),
}

const run = TASKS[task]
if (run === undefined) throw new TypeError(`There is no task "${task}"`)
// What every first restore takes, such as compiled code, is not the stream's doing.
await refuse({ warm: Object.values(REFUSED)[0] as () => SnapshotSource })
Object.assign(seen, { chunks: 0, frames: 0, framesPerTurn: 0 })
globalThis.gc?.()
const before = residentMib('VmRSS')
onTurn(task.startsWith('cancel'))
const outcomes = await run()
process.stdout.write(`${JSON.stringify({ outcomes, ...seen, roseMib: residentMib('VmHWM') - before })}\n`)

/** What the kernel counts; `VmHWM` is the most there ever was. */
function residentMib(field: string): number {
  const status = readFileSync('/proc/self/status', 'latin1')
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024
}
