/** Requests to one bucket: each tried again within bounds, each with a deadline, each error explained. */
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import type { S3Config } from './config.ts'
import { explainS3Error, isAnswered, S3AnswerError, type S3Asked, type S3Failure } from './errors.ts'

export interface S3RequestOptions {
  readonly operation: S3Asked['operation']
  /** @default the bucket itself */
  readonly key?: string | undefined
  /** Bytes of the body, whichever way it goes; a try has so much more time. */
  readonly bodyBytes?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** Called when a try ends without an answer: what was asked for may still be done, also after all tries. */
  readonly onUnanswered?: (() => void) | undefined
}

/** One try. It must end when the signal aborts; where the SDK does not, it is left to itself. */
export type S3Try<T> = (client: S3Client, signal: AbortSignal) => Promise<T>

const MAX_DELAY_MS = 20_000
/** What connecting may take of a try. */
const CONNECT_TIMEOUT_MS = 10_000

export class S3Session {
  readonly config: S3Config
  /** What the store makes of `If-None-Match: *`, as far as it was tried out: it may also pass it over, or refuse requests with it. */
  conditions: 'unknown' | 'honoured' | 'ignored' | 'refused' = 'unknown'
  #client: S3Client | undefined

  constructor(config: S3Config) {
    this.config = config
  }

  /** Sends a request until it succeeds, cannot, or was tried often or long enough. */
  async send<T>(options: S3RequestOptions, run: S3Try<T>): Promise<T> {
    const { signal, bodyBytes = 0 } = options
    const { attempts, totalTimeoutMs } = this.config
    const endMs = performance.now() + totalTimeoutMs + attempts * this.#bodyMs(bodyBytes)
    let isRefreshed = false
    for (let failures = 1; ; failures++) {
      const client = this.#open()
      try {
        return await this.#try(options, run)
      } catch (thrown) {
        if (!isAnswered(thrown)) options.onUnanswered?.()
        const { error, isTransient, isExpired } = await this.#failed(thrown, options)
        if (isExpired && !isRefreshed) {
          // Credentials are remembered by the client until they end; these ended before.
          isRefreshed = true
          if (this.#client === client) this.close()
          continue
        }
        if (!isTransient || failures >= attempts || performance.now() >= endMs) throw error
        await this.backOff(failures, signal)
      }
    }
  }

  /** One try, for callers that continue in their own way. */
  async sendOnce<T>(options: S3RequestOptions, run: S3Try<T>): Promise<T> {
    try {
      return await this.#try(options, run)
    } catch (thrown) {
      throw (await this.#failed(thrown, options)).error
    }
  }

  /** Explains what went wrong outside of a try, such as within a body. Throws the signal's reason when that is what ended it. */
  async explain(thrown: unknown, options: S3RequestOptions): Promise<S3Failure> {
    return await this.#failed(thrown, options)
  }

  /** Waits after so many failures: longer each time, and not as long as others do. */
  async backOff(failures: number, signal: AbortSignal | undefined): Promise<void> {
    const { firstDelayMs, wait = waitFor, random } = this.config
    await wait(Math.min(MAX_DELAY_MS, firstDelayMs * 2 ** (failures - 1)) * (1 - random() / 2), signal)
  }

  /** Frees connections; a later request opens new ones. */
  close(): void {
    this.#client?.destroy()
    this.#client = undefined
  }

  async #try<T>({ signal, bodyBytes = 0 }: S3RequestOptions, run: S3Try<T>): Promise<T> {
    signal?.throwIfAborted()
    const timeoutMs = this.config.requestTimeoutMs + this.#bodyMs(bodyBytes)
    const controller = new AbortController()
    let end!: (reason: unknown) => void
    const ended = new Promise<never>((_, reject) => {
      end = (reason) => {
        controller.abort()
        reject(reason)
      }
    })
    const onAbort = (): void => end(signal?.reason)
    const timer = setTimeout(() => end(new S3AnswerError('ETIMEDOUT', `No answer within ${Math.ceil(timeoutMs)} ms`)), timeoutMs)
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      // The SDK may not settle at all after an abort.
      return await Promise.race([run(this.#open(), controller.signal), ended])
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  async #failed(thrown: unknown, { operation, key, signal }: S3RequestOptions): Promise<S3Failure> {
    signal?.throwIfAborted()
    return explainS3Error(thrown, { operation, bucket: this.config.bucket, key }, await this.#secrets())
  }

  /** What no message may hold, as far as it is known by now. */
  async #secrets(): Promise<readonly string[]> {
    try {
      // The client remembers them once they were used; a provider that is asked again may never answer.
      const known = await Promise.race([this.#client?.config.credentials(), setImmediate(undefined)])
      const { accessKeyId, secretAccessKey, sessionToken } = known ?? {}
      return [secretAccessKey, sessionToken, accessKeyId].filter((secret) => secret !== undefined && secret !== '') as string[]
    } catch {
      // Without credentials nothing was signed with any; the request has failed with this very error.
      return []
    }
  }

  #bodyMs(bodyBytes: number): number {
    return (bodyBytes * 1000) / this.config.minBytesPerSecond
  }

  #open(): S3Client {
    const { region, endpoint, pathStyle, credentials, requestTimeoutMs, partsInFlight } = this.config
    return (this.#client ??= new S3Client({
      ...(region !== undefined && { region }),
      ...(endpoint !== undefined && { endpoint }),
      ...(credentials !== undefined && { credentials: credentials as NonNullable<S3ClientConfig['credentials']> }),
      forcePathStyle: pathStyle,
      // Tried again here, where deadlines and what an answer means are known.
      maxAttempts: 1,
      // A wrong clock also makes ages and retention dates wrong: better told than mended in silence.
      disableClockSkewCorrection: true,
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      expectContinueHeader: false,
      requestHandler: {
        connectionTimeout: Math.min(CONNECT_TIMEOUT_MS, requestTimeoutMs),
        httpAgent: { keepAlive: true, maxSockets: partsInFlight + 16 },
        httpsAgent: { keepAlive: true, maxSockets: partsInFlight + 16 },
      },
    }))
  }
}

async function waitFor(delayMs: number, signal?: AbortSignal): Promise<void> {
  try {
    await sleep(delayMs, undefined, { signal })
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  }
}
