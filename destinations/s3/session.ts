/** Sends requests to one bucket: tried again within limits, each with a deadline, with errors explained. */
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { Capabilities, type Capability } from './capabilities.ts'
import type { S3Config } from './config.ts'
import { explainS3Error, isRefused, isUnsure, S3AnswerError, type S3Asked, type S3Failure } from './errors.ts'
import { throughProxy } from './proxy.ts'

export interface S3RequestOptions {
  readonly operation: S3Asked['operation']
  /** @default the bucket itself */
  readonly key?: string | undefined
  /** Bytes of the body, sent or received. They give a try more time. */
  readonly bodyBytes?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** What the request has in it while the store is not known to refuse it. */
  readonly optional?: readonly Capability[] | undefined
  /** Called when a try ends without an answer of the store: it may still carry the request out, even after all tries. */
  readonly onUnanswered?: (() => void) | undefined
}

/**
 * One try. It must end when the signal aborts; if the SDK does not end it, it is abandoned.
 * Calling `extend` gives it its time once more, while the request as a whole has time.
 */
export type S3Try<T> = (client: S3Client, signal: AbortSignal, extend: () => void) => Promise<T>

const MAX_DELAY_MS = 20_000
/** The time of a try that connecting may take. */
const CONNECT_TIMEOUT_MS = 10_000

export class S3Session {
  readonly config: S3Config
  readonly store: Capabilities = new Capabilities()
  /** The largest stream that a list has shown. */
  largestBytes = 0
  #client: S3Client | undefined

  constructor(config: S3Config) {
    this.config = config
    if (config.checksums !== 'auto') this.store.learn('checksums', config.checksums === 'always' ? 'honoured' : 'refused')
    if (config.equalParts) this.store.learn('growingParts', 'refused')
    // What the options say is not news: `validate` alone lists it.
    this.store.takeWarnings()
  }

  /**
   * Sends a request until it succeeds, fails for good, or its tries or its time are used up.
   *
   * A store may refuse one of several things by an answer that does not say which. They are left out one after the other: the one whose
   * absence made the request succeed is known to be refused.
   */
  async send<T>(options: S3RequestOptions, run: S3Try<T>): Promise<T> {
    const { signal, bodyBytes = 0, optional = [] } = options
    const { attempts, totalTimeoutMs } = this.config
    const endMs = performance.now() + totalTimeoutMs + attempts * this.#bodyMs(bodyBytes)
    const leftOut: Capability[] = []
    let refused: readonly Capability[] = []
    let isRefreshed = false
    for (let failures = 1; ; ) {
      let client: S3Client | undefined
      const asked = optional.filter((capability) => this.store.has(capability))
      try {
        const result = await this.#try(options, (opened, ...rest) => run((client = opened), ...rest), endMs)
        // Other requests may have left out something else meanwhile, which then was the reason.
        const isProven = refused.filter((capability) => !asked.includes(capability)).length === 1
        for (const capability of isProven ? leftOut.slice(0, -1) : leftOut) this.store.learn(capability, 'unknown')
        return result
      } catch (thrown) {
        if (isUnsure(thrown)) options.onUnanswered?.()
        const { error, isTransient, isExpired } = await this.#failed(thrown, options)
        if (isExpired && !isRefreshed) {
          // The client remembers credentials until they expire; these expired early. A new client asks for new ones.
          isRefreshed = true
          if (this.#client === client) this.close()
          continue
        }
        const suspect = isRefused(error) ? asked.find((capability) => ['unknown', 'refused'].includes(this.store.of(capability))) : undefined
        if (suspect !== undefined && leftOut.length < optional.length) {
          this.store.learn(suspect, 'refused')
          leftOut.push(suspect)
          refused = asked
          continue
        }
        if (!isTransient || failures >= attempts || performance.now() >= endMs) {
          for (const capability of leftOut) this.store.learn(capability, 'unknown')
          throw error
        }
        await this.backOff(failures++, signal)
      }
    }
  }

  /** Explains a failure within a try or a body. Throws the signal's reason when the signal aborted. */
  async explain(thrown: unknown, options: S3RequestOptions): Promise<S3Failure> {
    return await this.#failed(thrown, options)
  }

  /** Waits after a failure: longer each time, with a random part so that clients do not return together. */
  async backOff(failures: number, signal: AbortSignal | undefined): Promise<void> {
    const { firstDelayMs, wait = waitFor, random } = this.config
    await wait(Math.min(MAX_DELAY_MS, firstDelayMs * 2 ** (failures - 1)) * (1 - random() / 2), signal)
  }

  /** Frees connections. A later request opens new ones. */
  close(): void {
    this.#client?.destroy()
    this.#client = undefined
  }

  async #try<T>({ signal, bodyBytes = 0 }: S3RequestOptions, run: S3Try<T>, endMs: number): Promise<T> {
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
    const extend = (): void => void (performance.now() < endMs && timer.refresh())
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      // The SDK may not settle at all after an abort.
      return await Promise.race([run(this.#open(), controller.signal, extend), ended])
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  async #failed(thrown: unknown, { operation, key, signal }: S3RequestOptions): Promise<S3Failure> {
    signal?.throwIfAborted()
    return explainS3Error(thrown, { operation, bucket: this.config.bucket, key }, await this.#secrets())
  }

  /** The secrets that must not be in a message, as far as they are known. */
  async #secrets(): Promise<readonly string[]> {
    try {
      // The client remembers credentials that were used. Do not wait: a provider may never answer.
      const known = await Promise.race([this.#client?.config.credentials(), setImmediate(undefined)])
      const { accessKeyId, secretAccessKey, sessionToken } = known ?? {}
      return [secretAccessKey, sessionToken, accessKeyId].filter((secret) => secret !== undefined && secret !== '') as string[]
    } catch {
      // There are no credentials; the request has failed with this very error.
      return []
    }
  }

  #bodyMs(bodyBytes: number): number {
    return (bodyBytes * 1000) / this.config.minBytesPerSecond
  }

  #open(): S3Client {
    if (this.#client !== undefined) return this.#client
    const { region, endpoint, pathStyle, credentials, requestTimeoutMs, partsInFlight, requesterPays } = this.config
    const connectMs = Math.min(CONNECT_TIMEOUT_MS, requestTimeoutMs)
    const sockets = { keepAlive: true, maxSockets: partsInFlight + 16 }
    const client = new S3Client({
      ...(region !== undefined && { region }),
      ...(endpoint !== undefined && { endpoint }),
      ...(credentials !== undefined && { credentials: credentials as NonNullable<S3ClientConfig['credentials']> }),
      forcePathStyle: pathStyle,
      // Tries are made in `send`, which knows deadlines and what answers mean.
      maxAttempts: 1,
      // What a mode would set is set here. (The SDK refuses an AWS_DEFAULTS_MODE that is empty.)
      defaultsMode: 'legacy',
      // Do not hide a wrong clock: it also makes ages and retention dates wrong.
      disableClockSkewCorrection: true,
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      expectContinueHeader: false,
      requestHandler: {
        connectionTimeout: connectMs,
        httpAgent: throughProxy(new HttpAgent(sockets), 'http', connectMs),
        httpsAgent: throughProxy(new HttpsAgent(sockets), 'https', connectMs),
      },
    })
    if (requesterPays) {
      client.middlewareStack.add(
        (next) => async (args) => {
          Object.assign((args.request as { readonly headers: Record<string, string> }).headers, { 'x-amz-request-payer': 'requester' })
          return await next(args)
        },
        { step: 'build' },
      )
    }
    if (process.env['AWS_REGION'] === '') {
      // The SDK takes an empty one for a region. It reads the environment before its first wait, and remembers what the profile says.
      delete process.env['AWS_REGION']
      client.config.region().catch(() => undefined)
      process.env['AWS_REGION'] = ''
    }
    this.#client = client
    return client
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
