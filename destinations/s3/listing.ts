/** What lies under the prefix, page by page, each of up to 1,000. A list that cannot be completed is an error, never an end. */
import { ListMultipartUploadsCommand, ListObjectsV2Command, ListPartsCommand } from '@aws-sdk/client-s3'
import { isUlid } from '../../src/util/ulid.ts'
import { DestinationUnreachableError } from '../../src/errors/errors.ts'
import { S3AnswerError, s3CodeOf } from './errors.ts'
import type { S3Session } from './session.ts'

/** Something that has a backup's ID as its directory. */
export interface S3Entry {
  readonly backupId: string
  /** What follows the ID and a slash. */
  readonly name: string
  readonly key: string
  readonly modifiedAtMs: number
}

export interface S3PendingUpload extends S3Entry {
  readonly uploadId: string
}

/** Every object in a backup's directory, in the order the store gives them. One request for each 1,000 keys of any kind. */
export async function* listEntries(session: S3Session, signal?: AbortSignal): AsyncGenerator<S3Entry> {
  const { bucket, prefix } = session.config
  const pages = new Pages()
  for (let token: string | undefined; ; ) {
    const page = await session.send({ operation: 'list', key: prefix, signal }, async (client, abortSignal) => {
      const answer = await client.send(
        // Keys of others may hold characters that XML cannot.
        new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, EncodingType: 'url', ...(token !== undefined && { ContinuationToken: token }) }),
        { abortSignal },
      )
      pages.check(answer.IsTruncated, answer.NextContinuationToken)
      return answer
    })
    for (const { Key, LastModified } of page.Contents ?? []) {
      const entry = entryOf(decoded(Key, page.EncodingType, prefix), prefix, LastModified)
      if (entry !== undefined) yield entry
    }
    if (page.IsTruncated !== true) return
    token = pages.next(page.NextContinuationToken)
  }
}

/** Every upload in parts that was begun in a backup's directory and not ended. */
export async function* listPendingUploads(session: S3Session, signal?: AbortSignal): AsyncGenerator<S3PendingUpload> {
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

/** When the last part of an upload arrived; `undefined` when it has none, or is gone. */
export async function lastPartAtMs(session: S3Session, { key, uploadId }: S3PendingUpload, signal?: AbortSignal): Promise<number | undefined> {
  let latestMs: number | undefined
  try {
    for await (const partAtMs of partTimes(session, { key, uploadId, signal })) latestMs = Math.max(latestMs ?? 0, partAtMs)
  } catch (error) {
    if (s3CodeOf(error) !== 'NoSuchUpload') throw error
  }
  return latestMs
}

async function* partTimes(session: S3Session, { key, uploadId, signal }: { readonly key: string; readonly uploadId: string; readonly signal: AbortSignal | undefined }): AsyncGenerator<number> {
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

  /** Within the try: such an answer may be better the next time. */
  check(isTruncated: boolean | undefined, next: string | undefined): void {
    // Every list says so; one that does not was cut off before it could.
    if (isTruncated === undefined) throw new S3AnswerError('EBADANSWER', 'The answer is not a list')
    if (isTruncated && (next === undefined || next === '')) throw new S3AnswerError('EBADANSWER', 'The list is cut off, and does not say where it continues')
  }

  next(token: string | undefined): string {
    if (token === undefined || this.#seen.has(token)) throw new DestinationUnreachableError('Cannot list the destination: the list goes round in circles')
    this.#seen.add(token)
    return token
  }
}

function entryOf(key: string | undefined, prefix: string, modifiedAt: Date | undefined): S3Entry | undefined {
  // Whatever the store answers: nothing outside the prefix is ours.
  if (key === undefined || !key.startsWith(prefix)) return undefined
  const [backupId = '', ...rest] = key.slice(prefix.length).split('/')
  if (rest.length === 0 || !isUlid(backupId)) return undefined
  // Without a date it is as new as can be, so that a clean-up lets it be.
  return { backupId, name: rest.join('/'), key, modifiedAtMs: modifiedAt?.getTime() ?? Number.POSITIVE_INFINITY }
}

function decoded(key: string | undefined, encoding: string | undefined, prefix: string): string | undefined {
  if (key === undefined || encoding !== 'url') return key
  try {
    const plain = decodeURIComponent(key)
    // Most stores write a space as "+", some as "%20" and leave a "+" as it is.
    return plain.startsWith(prefix) ? plain : decodeURIComponent(key.replaceAll('+', ' '))
  } catch {
    // No key of ours would be.
    return undefined
  }
}
