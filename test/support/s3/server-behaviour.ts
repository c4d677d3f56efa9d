/** How the tests' S3 server may differ from what AWS does, as other stores do. Every switch is off unless it is said. */

/** How stores refuse what they do not know. */
export type RefusalStatus = 400 | 405 | 501

/** What a request is failed with: an error of S3's, the connection cut, or no answer at all. */
export type S3Failure = { readonly status: number, readonly code: string, readonly message?: string | undefined } | 'reset' | 'hang'

/** What a proxy, or another server than a store, answers. */
export interface HtmlPage {
  readonly status: number
  readonly page: string
}

/** One request as it is logged. */
export interface S3Request {
  /** From 0, in the order of arrival. */
  readonly number: number
  readonly method: string
  /** The operation by its name in the API, such as `PutObject`; '' where none fits. */
  readonly operation: string
  readonly bucket: string
  readonly key: string
  readonly query: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly accessKeyId: string
  /** What it was answered; 0 until then, and for ever where the connection was cut. */
  status: number
  /** The error's code, where it was answered with one. */
  code?: string | undefined
}

/** Mutable while the server runs: it holds for the requests that come after. */
export interface S3Behaviour {
  /** `If-None-Match` and `If-Match` of writes are not looked at: each write wins. `'complete'`: only those of CompleteMultipartUpload are not. */
  ignoresConditions?: boolean | 'complete' | undefined
  /** Writes with `If-None-Match` are answered so: those of PutObject, and those of CompleteMultipartUpload. */
  refusesPutConditions?: RefusalStatus | undefined
  refusesCompleteConditions?: RefusalStatus | undefined
  /** `If-None-Match: *` is looked at when a write comes in, and the write done this much later: several of them win, as with OpenStack Swift. */
  conditionGapMs?: number | undefined
  /** This many conditional writes are answered 409 ConditionalRequestConflict before one is done. */
  conflicts?: number | undefined
  /** Checksums and Content-MD5 are taken as they come and kept, but never compared with the bytes. */
  verifiesNoChecksum?: boolean | undefined
  /** Checksum headers and trailers are neither looked at, kept nor given back, as by stores from before 2022. */
  knowsNoChecksum?: boolean | undefined
  /** Requests with any `x-amz-checksum-*` or `x-amz-sdk-checksum-*` header are answered so, and the header is named. */
  refusesChecksums?: RefusalStatus | undefined
  /** Bodies with trailers are refused with 501, as by stores from before 2022. */
  refusesTrailers?: boolean | undefined
  /** CompleteMultipartUpload answers 200 with an `InternalError` in its body, with the object made or not; so many times. */
  completeErrors?: { times: number, readonly committed: boolean } | undefined
  /** CompleteMultipartUpload takes so long, sending white space meanwhile as AWS does. */
  completeDelayMs?: number | undefined
  /** CompleteMultipartUpload ends the upload and cuts the connection at once; the object is there when this resolves. */
  completeLate?: Promise<void> | undefined
  /** All parts but the last must have the same size, as at Cloudflare R2. */
  wantsEqualParts?: boolean | undefined
  /** User metadata is taken and not kept. */
  keepsNoMetadata?: boolean | undefined
  /** GET and HEAD of objects come without Content-Length and Content-Range. */
  tellsNoLengths?: boolean | undefined
  /** Errors have no body, and so no code. */
  answersBare?: boolean | undefined
  /** GET and HEAD of what is not there are answered 403, as by AWS where `s3:ListBucket` has a condition on the prefix. */
  hidesMissing?: boolean | undefined
  /** Listings whose keys are to be encoded have them so and do not say it; `'only said'`: they say it, and the keys are plain. */
  keyEncoding?: 'unsaid' | 'only said' | undefined
  /** DELETE of what is not there is answered 404, not 204. */
  missesDeleted?: boolean | undefined
  /** GET of an object is answered InvalidObjectState, as of one that a lifecycle rule has archived. */
  isArchived?: boolean | undefined
  /** Each of these headers must be in each request that creates an object, as a policy of the bucket demands. */
  demandsHeaders?: Readonly<Record<string, string>> | undefined
  /** Each request must say that the requester pays. */
  requesterPays?: boolean | undefined
  /** A repeated CompleteMultipartUpload is answered like the first, not with `NoSuchUpload`. */
  completeIsIdempotent?: boolean | undefined
  /** CompleteMultipartUpload puts the parts together in another order than was said. */
  mixesParts?: boolean | undefined
  /** Listings of objects go backwards, and each key comes twice. */
  listsAnyhow?: boolean | undefined
  /** Listings are as they were so long ago. */
  listLagMs?: number | undefined
  /** GET and HEAD of objects are as they were so long ago. */
  readLagMs?: number | undefined
  /** No page is longer than this, whatever was asked for. */
  pageSize?: number | undefined
  /** Truncated pages come without the token for the next one. */
  losesTokens?: boolean | undefined
  /** Deletions are answered 204, and nothing is deleted. */
  keepsDeleted?: boolean | undefined
  /** Ranges are not looked at: always 200 with the whole object. */
  ignoresRanges?: boolean | undefined
  /** Ranges are given with 206 and without Content-Range. */
  tellsNoRanges?: boolean | undefined
  /** `If-Match` of reads is not looked at. */
  ignoresReadConditions?: boolean | undefined
  /** ListMultipartUploads is answered so; `'by key'`: it lists only those of the key that the prefix is, as MinIO does. */
  listsNoUploads?: RefusalStatus | 404 | 'by key' | undefined
  /** Lifecycle and Object Lock of buckets are answered 501. */
  hasNoBucketSettings?: boolean | undefined
  /** Added to the server's clock, which signatures are checked against and objects dated with. */
  clockSkewMs?: number | undefined
  /** Fails a request before anything of it is done. */
  failBefore?: ((request: S3Request) => S3Failure | HtmlPage | undefined) | undefined
  /** Fails a request when all of it is done: the answer is lost. */
  failAfter?: ((request: S3Request) => S3Failure | undefined) | undefined
}
