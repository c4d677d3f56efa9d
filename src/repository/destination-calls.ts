/**
 * The calls of a destination. A destination may be of another maker, so each answer is checked, and after an abort a call that does not end
 * is left behind: where nothing is written, it then rejects with the signal's reason.
 */
import { types } from 'node:util'
import {
  BACKUP_OBJECTS, type BackupObject, type BackupStat, type BackupUpload, type CleanUpOptions, type CleanUpReport, type Destination, type DestinationOptions,
} from '../contracts/destination.ts'
import { toError } from '../errors/error-message.ts'
import { BackupAbortedError, type InternalError } from '../errors/errors.ts'
import { brokenContract } from '../errors/broken-contract.ts'
import { nameOf, shownText } from '../util/check-options.ts'
import { isUlid } from '../util/ulid.ts'
import { ABORT_GRACE_SECONDS, unlessLate } from '../util/unless-late.ts'

/** How long the removal of an upload may take after an abort: a slow disk first ends what it was writing. */
const REMOVAL_SECONDS = 60

/** Lists the IDs of all backups in ascending order. Rejects as `Destination.list` does. */
export async function* listIds(destination: Destination, { signal }: DestinationOptions = {}): AsyncGenerator<string, void, undefined> {
  let last = ''
  for await (const backupId of itemsOf<string>(destination, 'list()', destination.list({ signal }), signal)) {
    if (!isUlid(backupId)) throw broken(destination, `list() gave ${shownText(backupId)}, which is not a ULID`)
    if (backupId <= last) throw broken(destination, `list() gave ${backupId} after ${last}: IDs must ascend`)
    yield backupId
    last = backupId
  }
}

/** The bytes of a manifest. Rejects as `Destination.manifest` does. */
export async function readManifest(destination: Destination, backupId: string, { signal }: DestinationOptions): Promise<Uint8Array> {
  const bytes: unknown = await answer(() => destination.manifest(backupId, { signal }), signal)
  if (types.isUint8Array(bytes)) return bytes
  throw broken(destination, `manifest() resolved with ${nameOf(bytes)}, not a Uint8Array`)
}

/** The bytes of an object. Rejects as `Destination.open` does. */
export async function* readObject(
  destination: Destination,
  { backupId, object, signal }: DestinationOptions & { readonly backupId: string; readonly object: BackupObject },
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of itemsOf<Uint8Array>(destination, 'open()', destination.open(backupId, object, { signal }), signal)) {
    if (!types.isUint8Array(chunk)) throw broken(destination, `open() gave ${nameOf(chunk)}, not a Uint8Array`)
    yield chunk
  }
}

/** The sizes of the objects. Rejects as `Destination.stat` does. */
export async function statBackup(destination: Destination, backupId: string, { signal }: DestinationOptions): Promise<BackupStat['bytes']> {
  const stat: Partial<BackupStat> | undefined | null = await answer(() => destination.stat(backupId, { signal }), signal)
  const bytes = stat?.bytes
  if (typeof bytes !== 'object' || bytes === null) throw broken(destination, `stat() resolved with ${nameOf(stat)} without "bytes"`)
  for (const object of BACKUP_OBJECTS) {
    const value: unknown = bytes[object]
    if (value !== undefined && typeof value !== 'number') throw broken(destination, `stat() says that "${object}" has ${nameOf(value)} of bytes, not a number`)
  }
  return bytes
}

/** Removes leftovers. Rejects as `Destination.cleanUp` does. */
export async function cleanUp(destination: Destination, options: CleanUpOptions): Promise<Pick<CleanUpReport, 'newest'>> {
  const report: Partial<CleanUpReport> | undefined | null = await answer(() => destination.cleanUp(options), options.signal)
  if (typeof report !== 'object' || report === null) throw broken(destination, `cleanUp() resolved with ${nameOf(report)}, not a report`)
  const { newest } = report
  if (newest === undefined || newest === null || isUlid(newest)) return { newest }
  throw broken(destination, `cleanUp() says that the newest backup is ${shownText(newest)}, which is not a ULID`)
}

/**
 * Starts a backup. Rejects as `Destination.put` does; its upload too, and, when a call does not end after an abort, with `backup_aborted`,
 * which says what may be left.
 */
export async function startUpload(destination: Destination, backupId: string, { signal }: DestinationOptions): Promise<BackupUpload> {
  const late = (what: string, left: string, graceSeconds: number = ABORT_GRACE_SECONDS) => (): BackupAbortedError =>
    new BackupAbortedError(`The backup was cancelled; ${JSON.stringify(destination.url)} did not ${what} within ${graceSeconds} seconds and was left behind: ${left}`, {
      cause: signal?.reason,
      details: { backupId, destination: destination.url },
    })
  const uploaded = 'what was uploaded may still be there, unlisted; a backup of a day later removes it'
  const upload: Partial<BackupUpload> | undefined | null = await unlessLate(() => destination.put(backupId, { signal }), {
    signal,
    late: (starting) => {
      // It may begin after all.
      starting.then((begun) => begun.abort()).catch(() => undefined)
      return late('begin the upload', uploaded)()
    },
  })
  for (const name of ['write', 'publish', 'abort'] as const) {
    if (typeof upload?.[name] !== 'function') throw broken(destination, `put() resolved with ${nameOf(upload)} without ${name}()`)
  }
  const begun = upload as BackupUpload
  return {
    write: (object, chunk) => unlessLate(() => begun.write(object, chunk), { signal, late: late('take what was written', uploaded) }),
    publish: (manifest) => unlessLate(() => begun.publish(manifest), { signal, late: late('publish the backup', `backup ${backupId} may be listed; "holdfast list" shows it`) }),
    abort: () => unlessLate(() => begun.abort(), { signal, late: late('remove the upload', uploaded, REMOVAL_SECONDS), graceSeconds: REMOVAL_SECONDS }),
  }
}

/** What the destination warned of since the last time, as errors that have the code. Never throws: the work that they are of is done. */
export function destinationWarnings(destination: Destination): Error[] {
  try {
    return (destination.takeWarnings?.() ?? []).map(({ code, message }) => Object.assign(new Error(message), { code }))
  } catch (error) {
    return [error instanceof TypeError ? broken(destination, `takeWarnings() does not return warnings: ${error.message}`) : toError(error)]
  }
}

async function answer<T>(call: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return await unlessLate(call, { signal, late: () => signal?.reason })
}

/** The items of a stream. Closes the stream; one that hangs after an abort is left behind. */
async function* itemsOf<T>(destination: Destination, call: string, source: AsyncIterable<T>, signal: AbortSignal | undefined): AsyncGenerator<T, void, undefined> {
  const stream = source as Partial<AsyncIterable<T> & Iterable<T>> | undefined | null
  const iterator = stream?.[Symbol.asyncIterator]?.() ?? stream?.[Symbol.iterator]?.()
  if (iterator === undefined) throw broken(destination, `${call} returned ${nameOf(source)}, not an async iterable`)
  let isPending = false
  try {
    for (;;) {
      isPending = true
      const { value, done } = await answer(async () => await iterator.next(), signal)
      isPending = false
      if (done === true) return
      yield value
    }
  } finally {
    // A stream that has not answered would not end either.
    const closing = (async () => await iterator.return?.())()
    if (isPending) closing.catch(() => undefined)
    else await answer(() => closing, signal)
  }
}

function broken({ url }: Destination, what: string): InternalError {
  return brokenContract({ name: 'destination', url, suite: 'testDestination' }, what)
}
