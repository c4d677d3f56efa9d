/** In what the servers differ that the tests speak to: data for the protocol suite, and for tests of destinations. */

/** In what servers differ, as the protocol suite asks for it. */
export interface S3Supports {
  /** Tells a clock that is off by `RequestTimeTooSkewed`. */
  readonly clockSkew: boolean
  /** Refuses a signature for another region. */
  readonly regions: boolean
  /** Tells an unknown key from a wrong secret. */
  readonly unknownKeys: boolean
  /** `If-None-Match: *` of PutObject lets one of many win. */
  readonly conditionalPut: boolean
  /** The same of CompleteMultipartUpload. */
  readonly conditionalComplete: boolean
  /** Compares what it got with the checksum that came along. */
  readonly verifiesChecksums: boolean
  /** Compares it with Content-MD5. */
  readonly verifiesMd5: boolean
  /** The algorithms of checksums that it knows. */
  readonly checksums: readonly ('CRC32' | 'CRC32C' | 'CRC64NVME' | 'SHA1' | 'SHA256')[]
  /** Gives the composite checksum of a multipart upload. */
  readonly compositeChecksums: boolean
  /** Keys may have empty segments and be the beginning of others at a `/`. */
  readonly anyKeys: boolean
  /** Refuses parts below 5 MiB but for the last. */
  readonly minimumPart: boolean
  /** Refuses parts in a wrong order. */
  readonly partOrder: boolean
  /** Refuses small chunks in the middle of signed or trailed streams. */
  readonly minimumChunk: boolean
  /** Answers `NoSuchUpload` to whatever is asked of an upload that was aborted. */
  readonly forgetsAborted: boolean
  /** Lists uploads page by page. */
  readonly uploadPages: boolean
  /** Says when an upload began. */
  readonly uploadTimes: boolean
  /** Lists parts page by page. */
  readonly partPages: boolean
  /** What a repeated completion is answered. */
  readonly repeatedCompletion: 'NoSuchUpload' | 'the same'
  /** Answers 412 to GET with an If-Match that does not hold. */
  readonly conditionalGet: boolean
  readonly urlEncoding: boolean
  readonly lifecycle: boolean
  readonly objectLock: boolean
}

/** As AWS does it. */
export const AWS: S3Supports = {
  clockSkew: true,
  regions: true,
  unknownKeys: true,
  conditionalPut: true,
  conditionalComplete: true,
  verifiesChecksums: true,
  verifiesMd5: true,
  checksums: ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'],
  compositeChecksums: true,
  anyKeys: true,
  minimumPart: true,
  partOrder: true,
  minimumChunk: true,
  forgetsAborted: true,
  uploadPages: true,
  uploadTimes: true,
  partPages: true,
  repeatedCompletion: 'NoSuchUpload',
  conditionalGet: true,
  urlEncoding: true,
  lifecycle: true,
  objectLock: true,
}

/** A file system below it: keys are paths. It refuses the upload id markers that it gives itself. */
export const VERSITYGW: S3Supports = {
  ...AWS,
  anyKeys: false,
  unknownKeys: false,
  urlEncoding: false,
  lifecycle: false,
  uploadPages: false,
  repeatedCompletion: 'the same',
}

/** Keys are paths here too. */
export const MINIO: S3Supports = { ...AWS, anyKeys: false, minimumChunk: false, repeatedCompletion: 'the same' }

/** Made for tests of happy paths: it checks signatures, conditions and the size of parts, and little else. */
export const MOTO: S3Supports = {
  ...AWS,
  clockSkew: false,
  regions: false,
  verifiesChecksums: false,
  verifiesMd5: false,
  compositeChecksums: false,
  minimumChunk: false,
  partOrder: false,
  forgetsAborted: false,
  uploadTimes: false,
  partPages: false,
  uploadPages: false,
  repeatedCompletion: 'the same',
}
