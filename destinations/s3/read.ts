/** Reads an object as a stream that continues where it was cut off. */
import { GetObjectCommand } from '@aws-sdk/client-s3'
import { BackupIncompleteError } from '../../src/errors/errors.ts'
import { S3AnswerError, s3StatusOf } from './errors.ts'
import { isAbsent, lookAt } from './objects.ts'
import type { S3RequestOptions, S3Session } from './session.ts'

export interface S3ReadOptions {
  readonly key: string
  readonly startByte: number
  readonly signal?: AbortSignal | undefined
}

/** After this much progress, earlier failures do not count any more. */
const PROGRESS_BYTES = 1024 * 1024

type Body = AsyncIterable<Uint8Array> & { destroy(error?: Error): void }

interface Range {
  readonly body: Body
  /** Bytes of the whole object; 0 for a range that begins behind the end. */
  readonly totalBytes: number
  readonly etag: string | undefined
  /** Bytes to skip, if the store answers with the whole object instead of the range. */
  readonly skipBytes: number
}

/**
 * Reads the bytes of an object from `startByte` on.
 *
 * When a connection breaks, stalls or crawls, the rest of the same version is requested again; without progress, at most `attempts` times.
 * Rejects with `backup_incomplete` when the object is missing, or was replaced meanwhile.
 */
export async function* readObject(session: S3Session, { key, startByte, signal }: S3ReadOptions): AsyncGenerator<Uint8Array> {
  const request: S3RequestOptions = { operation: 'read', key, signal }
  let position = startByte
  let etag: string | undefined
  let totalBytes: number | undefined
  let failures = 0
  let progressBytes = 0
  for (;;) {
    let range: Range | undefined
    try {
      range = await openRange(session, request, { position, etag, totalBytes })
      etag = range.etag
      totalBytes = range.totalBytes
      const chunks = watched(range.body, session, signal)
      for await (const chunk of range.skipBytes === 0 ? chunks : skipping(chunks, range.skipBytes)) {
        position += chunk.byteLength
        progressBytes += chunk.byteLength
        if (position > range.totalBytes) throw new S3AnswerError('EBADANSWER', 'The body is longer than the object')
        yield chunk
      }
      if (position >= range.totalBytes) return
      throw new S3AnswerError('ETRUNCATED', `The body ended at byte ${position} of ${range.totalBytes}`)
    } catch (thrown) {
      const { error, isTransient } = await session.explain(thrown, request)
      if (progressBytes >= PROGRESS_BYTES) failures = 0
      progressBytes = 0
      failures += 1
      if (!isTransient || failures >= session.config.attempts) throw error
      await session.backOff(failures, signal)
    } finally {
      range?.body.destroy()
    }
  }
}

interface ResumeOptions {
  readonly position: number
  /** The ETag of the version that was read so far. */
  readonly etag: string | undefined
  /** The size of that version. */
  readonly totalBytes: number | undefined
}

async function openRange(session: S3Session, request: S3RequestOptions, { position, etag, totalBytes }: ResumeOptions): Promise<Range> {
  const { bucket } = session.config
  const { key } = request
  try {
    return await session.send(request, async (client, abortSignal) => {
      // Always ask for a range: its answer names the length of the whole object, even when the body is cut off.
      const answer = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key, Range: `bytes=${position}-` }), { abortSignal })
      const body = answer.Body as Body | undefined
      try {
        if (body === undefined) throw new S3AnswerError('EBADANSWER', 'The answer has no body')
        // Not by a condition: some stores ignore it, some refuse the ETag that they gave themselves.
        if (etag !== undefined && answer.ETag !== etag) throw replaced(session, key)
        const whole = answer.ContentLength ?? totalBytes ?? (answer.ContentRange === undefined ? (await lookAt(session, key ?? '', request.signal))?.bytes : 0)
        if (position > 0 && answer.$metadata.httpStatusCode === 206 && answer.ContentRange === undefined) {
          throw new S3AnswerError('EBADANSWER', 'The answer does not say which part of the object it has')
        }
        return { body, etag: answer.ETag, ...extentOf(answer.ContentRange, { position, whole }) }
      } catch (error) {
        body?.destroy()
        throw error
      }
    })
  } catch (error) {
    if (s3StatusOf(error) === 416 && totalBytes !== undefined && position < totalBytes) throw replaced(session, key, error)
    // A range behind the end of the object is empty.
    if (s3StatusOf(error) === 416) return { body: NOTHING, totalBytes: 0, skipBytes: 0, etag }
    if (!(await isAbsent(session, { key: key ?? '', error, signal: request.signal }))) throw error
    throw new BackupIncompleteError(`Cannot read "s3://${bucket}/${key}": it is missing`, { cause: error, details: { bucket, key } })
  }
}

function replaced(session: S3Session, key: string | undefined, cause?: unknown): BackupIncompleteError {
  const { bucket } = session.config
  return new BackupIncompleteError(`Cannot read "s3://${bucket}/${key}": it was replaced while it was read`, { cause, details: { bucket, key } })
}

const NOTHING: Body = {
  async *[Symbol.asyncIterator]() {
    // Nothing.
  },
  destroy() {
    // Nothing to free.
  },
}

/** The part of the object that an answer has. Throws when that is not the requested range. */
function extentOf(
  range: string | undefined,
  { position, whole }: { readonly position: number; readonly whole: number | undefined },
): Pick<Range, 'totalBytes' | 'skipBytes'> {
  if (range === undefined) {
    if (whole === undefined) throw new S3AnswerError('EBADANSWER', 'The answer does not name a length')
    return { totalBytes: whole, skipBytes: position }
  }
  const [, start, end, total] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(range) ?? []
  if (Number(start) !== position || Number(end) !== Number(total) - 1) {
    throw new S3AnswerError('EBADANSWER', `The answer is not the range from byte ${position} on`)
  }
  return { totalBytes: Number(total), skipBytes: 0 }
}

async function* skipping(chunks: AsyncIterable<Uint8Array>, bytes: number): AsyncGenerator<Uint8Array> {
  let left = bytes
  for await (const chunk of chunks) {
    if (left < chunk.byteLength) yield chunk.subarray(left)
    left = Math.max(0, left - chunk.byteLength)
  }
}

/** Yields the same bytes. Fails when they stop or come too slowly; the reader's own time does not count. */
async function* watched(body: Body, { config }: S3Session, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  const { requestTimeoutMs, minBytesPerSecond } = config
  let isWaiting = true
  const timer = setTimeout(() => {
    if (isWaiting) body.destroy(new S3AnswerError('ETIMEDOUT', `No bytes arrived for ${requestTimeoutMs} ms`))
    else timer.refresh()
  }, requestTimeoutMs)
  const onAbort = (): void => body.destroy(new Error('The read was ended'))
  signal?.addEventListener('abort', onAbort, { once: true })
  let waitedMs = 0
  let bytes = 0
  let sinceMs = performance.now()
  try {
    for await (const chunk of body) {
      waitedMs += performance.now() - sinceMs
      bytes += chunk.byteLength
      if (waitedMs > requestTimeoutMs && bytes < ((waitedMs - requestTimeoutMs) / 1000) * minBytesPerSecond) {
        throw new S3AnswerError('ETIMEDOUT', `Only ${bytes} bytes arrived within ${Math.round(waitedMs)} ms`)
      }
      isWaiting = false
      yield chunk
      signal?.throwIfAborted()
      isWaiting = true
      timer.refresh()
      sinceMs = performance.now()
    }
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
}
