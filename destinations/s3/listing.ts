/** Lists what is under the prefix, in pages of up to 1,000. A list that cannot be completed is an error, never a short list. */
import { ListMultipartUploadsCommand, ListObjectsV2Command, ListPartsCommand } from '@aws-sdk/client-s3'
import { isUlid } from '../../src/util/ulid.ts'
import { DestinationUnreachableError } from '../../src/errors/errors.ts'
import { isMissing, isRefused, S3AnswerError } from './errors.ts'
import type { S3Session } from './session.ts'

/** An object or upload under a backup's ID. */
export interface S3Entry {
  readonly backupId: string
  /** The key after the ID and the slash. */
  readonly name: string
  readonly key: string
  readonly modifiedAtMs: number
}

export interface S3PendingUpload extends S3Entry {
  readonly uploadId: string
}

/** Lists every object under a backup's ID, in the order of the store. Sends one request for 1,000 keys of any kind. */
export async function* listEntries(session: S3Session, signal?: AbortSignal): AsyncGenerator<S3Entry> {
  const { prefix } = session.config
  for await (const { key, bytes, modifiedAt } of listObjects(session, { prefix, signal })) {
    const entry = entryOf(key, prefix, modifiedAt)
    if (entry?.name === 'payload') session.largestBytes = Math.max(session.largestBytes, bytes)
    if (entry !== undefined) yield entry
  }
}

/** Lists every object whose key begins with `prefix`, in the order of the store. */
export async function* listObjects(
  session: S3Session,
  { prefix, signal }: { readonly prefix: string; readonly signal?: AbortSignal | undefined },
): AsyncGenerator<{ readonly key: string | undefined; readonly bytes: number; readonly modifiedAt: Date | undefined }> {
  const pages = new Pages()
  for (let token: string | undefined; ; ) {
    const page = await session.send({ operation: 'list', key: prefix, signal }, async (client, abortSignal) => {
      const answer = await client.send(
        // Other keys may have characters that XML cannot carry.
        new ListObjectsV2Command({ Bucket: session.config.bucket, Prefix: prefix, EncodingType: 'url', ...(token !== undefined && { ContinuationToken: token }) }),
        { abortSignal },
      )
      pages.check(answer.IsTruncated, answer.NextContinuationToken)
      return answer
    })
    for (const { Key, LastModified: modifiedAt, Size: bytes = 0 } of page.Contents ?? []) {
      yield { key: decoded(Key, page.EncodingType, prefix), bytes, modifiedAt }
    }
    if (page.IsTruncated !== true) return
    token = pages.next(page.NextContinuationToken)
  }
}

/** Lists every multipart upload under a backup's ID that has not ended; none where the store cannot list them. */
export async function* listPendingUploads(session: S3Session, signal?: AbortSignal): AsyncGenerator<S3PendingUpload> {
  try {
    if (session.store.has('uploadList')) yield* pendingUploads(session, signal)
  } catch (error) {
    if (!isRefused(error) && !isMissing(error)) throw error
    session.store.learn('uploadList', 'refused')
  }
}

async function* pendingUploads(session: S3Session, signal?: AbortSignal): AsyncGenerator<S3PendingUpload> {
  const { bucket, prefix } = session.config
  const pages = new Pages()
  for (let markers: { readonly KeyMarker?: string; readonly UploadIdMarker?: string } = {}; ; ) {
    const page = await session.send({ operation: 'list uploads of', key: prefix, signal }, async (client, abortSignal) => {
      const answer = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix, EncodingType: 'url', ...markers }), { abortSignal })
      pages.check(answer.IsTruncated, answer.NextKeyMarker)
      return answer
    })
    for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
      const entry = entryOf(decoded(Key, page.EncodingType, prefix), prefix, Initiated)
      if (entry !== undefined && UploadId !== undefined) yield { ...entry, uploadId: UploadId }
    }
    if (page.IsTruncated !== true) return
    const key = decoded(page.NextKeyMarker, page.EncodingType, prefix) ?? ''
    pages.next(`${key}\n${page.NextUploadIdMarker ?? ''}`)
    markers = { KeyMarker: key, ...(page.NextUploadIdMarker !== undefined && { UploadIdMarker: page.NextUploadIdMarker }) }
  }
}

/** When the last part of an upload arrived; `undefined` when the upload has no parts, or is gone. */
export async function lastPartAtMs(session: S3Session, { key, uploadId }: S3PendingUpload, signal?: AbortSignal): Promise<number | undefined> {
  let latestMs: number | undefined
  try {
    for await (const partAtMs of partTimes(session, { key, uploadId, signal })) latestMs = Math.max(latestMs ?? 0, partAtMs)
  } catch (error) {
    if (!isMissing(error)) throw error
  }
  return latestMs
}

async function* partTimes(
  session: S3Session,
  { key, uploadId, signal }: { readonly key: string; readonly uploadId: string; readonly signal: AbortSignal | undefined },
): AsyncGenerator<number> {
  const pages = new Pages()
  for (let marker: string | undefined; ; ) {
    const page = await session.send({ operation: 'list uploads of', key, signal }, async (client, abortSignal) => {
      const answer = await client.send(
        new ListPartsCommand({ Bucket: session.config.bucket, Key: key, UploadId: uploadId, ...(marker !== undefined && { PartNumberMarker: marker }) }),
        { abortSignal },
      )
      pages.check(answer.IsTruncated, answer.NextPartNumberMarker)
      return answer
    })
    for (const { LastModified } of page.Parts ?? []) yield LastModified?.getTime() ?? Number.POSITIVE_INFINITY
    if (page.IsTruncated !== true) return
    marker = pages.next(page.NextPartNumberMarker)
  }
}

/** Checks that each page of a list leads to another one, or is the last. */
class Pages {
  readonly #seen = new Set<string>()

  /** Checks a page. Called within the try of the request, which is then sent again. */
  check(isTruncated: boolean | undefined, next: string | undefined): void {
    // Every list has this field; an answer without it was cut off.
    if (isTruncated === undefined) throw new S3AnswerError('EBADANSWER', 'The answer is not a list')
    if (isTruncated && (next === undefined || next === '')) throw new S3AnswerError('EBADANSWER', 'The list is incomplete and does not say where it continues')
  }

  next(token: string | undefined): string {
    if (token === undefined || this.#seen.has(token)) throw new DestinationUnreachableError('Cannot list the destination: the store repeats pages of the list')
    this.#seen.add(token)
    return token
  }
}

function entryOf(key: string | undefined, prefix: string, modifiedAt: Date | undefined): S3Entry | undefined {
  // Nothing outside the prefix is ours, whatever the store answers.
  if (key === undefined || !key.startsWith(prefix)) return undefined
  const [backupId = '', ...rest] = key.slice(prefix.length).split('/')
  if (rest.length === 0 || !isUlid(backupId)) return undefined
  // An entry without a date counts as new, so that a clean-up leaves it.
  return { backupId, name: rest.join('/'), key, modifiedAtMs: modifiedAt?.getTime() ?? Number.POSITIVE_INFINITY }
}

/** The key as it was written, which begins with the prefix: stores encode keys in several ways, and do not always say whether they did. */
function decoded(key: string | undefined, encoding: string | undefined, prefix: string): string | undefined {
  if (key === undefined) return undefined
  // Most stores write a space as "+"; some write "%20" and leave a "+" alone.
  const plain = [unescaped(key), unescaped(key.replaceAll('+', ' '))]
  return (encoding === 'url' ? [...plain, key] : [key, ...plain]).find((candidate) => candidate?.startsWith(prefix))
}

function unescaped(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    // Our own keys can always be decoded.
    return undefined
  }
}
