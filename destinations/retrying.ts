/** A destination that tries again what may be tried again. */
import { setTimeout } from 'node:timers/promises'
import type { BackupObject, BackupStat, Destination, DestinationOptions } from '../src/contracts/destination.ts'
import { checkWaitMs, checkWholeNumber } from '../src/util/check-number.ts'
import { isHoldfastError } from '../src/errors/errors.ts'

export interface RetryingOptions {
  /** How often each call is tried, the first time included. @default 4 */
  readonly attempts?: number | undefined
  /** The wait before the second try; it doubles with each further one, and a random part of up to a half is taken off. @default 200 */
  readonly firstDelayMs?: number | undefined
  /** The longest wait. @default 10000 */
  readonly maxDelayMs?: number | undefined
  /** Waits; rejects with the signal's reason when it aborts. @default a timer */
  readonly wait?: ((delayMs: number, signal?: AbortSignal) => Promise<void>) | undefined
  /** Random numbers in [0, 1). @default Math.random */
  readonly random?: (() => number) | undefined
}

type OpenOptions = DestinationOptions & { readonly startByte?: number | undefined }

/**
 * The same destination, whose reads and deletes are repeated on errors that are `retryable`, with waits that grow. `open` and `list` go
 * on where they were cut off; progress starts the count of tries anew. Uploads, `validate` and `cleanUp` are passed through: they are started again as
 * a whole or not at all.
 *
 * Throws `RangeError` for a number of attempts that is not whole, and for waits that are not from 0 to a day.
 */
export function retryingDestination(inner: Destination, options: RetryingOptions = {}): Destination {
  const { attempts = 4, firstDelayMs = 200, maxDelayMs = 10_000, wait = waitFor, random = Math.random } = options
  checkWholeNumber('attempts', attempts, { least: 1, most: Infinity })
  checkWaitMs('firstDelayMs', firstDelayMs)
  checkWaitMs('maxDelayMs', maxDelayMs)

  /** Waits before the next try; rethrows when there is none. */
  async function backOff(error: unknown, failures: number, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted()
    if (failures >= attempts || !isHoldfastError(error) || !error.retryable) throw error
    const delayMs = Math.min(maxDelayMs, firstDelayMs * 2 ** (failures - 1))
    await wait(delayMs * (1 - random() / 2), signal)
  }

  async function retry<T>(signal: AbortSignal | undefined, run: () => Promise<T>): Promise<T> {
    for (let failures = 1; ; failures++) {
      try {
        return await run()
      } catch (error) {
        await backOff(error, failures, signal)
      }
    }
  }

  /** Reads to the end. After an error `read` is called again, and goes on behind the last item that was `seen`. */
  async function* resuming<T>(signal: AbortSignal | undefined, read: () => AsyncIterable<T>, seen: (item: T) => void): AsyncGenerator<T> {
    for (let failures = 0; ; ) {
      try {
        for await (const item of read()) {
          failures = 0
          seen(item)
          yield item
        }
        return
      } catch (error) {
        failures += 1
        await backOff(error, failures, signal)
      }
    }
  }

  return {
    scheme: inner.scheme,
    url: inner.url,
    validate: (options) => inner.validate(options),
    put: (backupId, options) => inner.put(backupId, options),
    cleanUp: (options) => inner.cleanUp(options),
    close: () => inner.close(),
    manifest: (backupId, options) => retry(options?.signal, () => inner.manifest(backupId, options)),
    stat: (backupId, options): Promise<BackupStat> => retry(options?.signal, () => inner.stat(backupId, options)),
    delete: (backupId, options) => retry(options?.signal, () => inner.delete(backupId, options)),

    open(backupId: string, object: BackupObject, options: OpenOptions = {}): AsyncIterable<Uint8Array> {
      let startByte = options.startByte ?? 0
      const read = (): AsyncIterable<Uint8Array> => inner.open(backupId, object, { ...options, startByte })
      return resuming(options.signal, read, (chunk) => {
        startByte += chunk.byteLength
      })
    },

    list(options: DestinationOptions = {}): AsyncIterable<string> {
      let last = ''
      const read = (): AsyncIterable<string> => idsAfter(last, inner.list(options))
      return resuming(options.signal, read, (backupId) => {
        last = backupId
      })
    },
  }
}

async function* idsAfter(last: string, ids: AsyncIterable<string>): AsyncGenerator<string> {
  for await (const backupId of ids) if (backupId > last) yield backupId
}

async function waitFor(delayMs: number, signal?: AbortSignal): Promise<void> {
  try {
    await setTimeout(delayMs, undefined, { signal })
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  }
}
