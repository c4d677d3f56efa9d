/** What each part of the S3 protocol suite is given. */
import type { S3Client } from '@aws-sdk/client-s3'
import type { S3Access } from './client.ts'
import type { S3Supports } from './supports.ts'

/** The getters hold while the tests run. */
export interface ProtocolContext {
  readonly supports: S3Supports
  readonly access: S3Access
  readonly client: S3Client
  /** A bucket for all tests, each of which uses keys of its own. */
  readonly bucket: string
  /** Makes a bucket that is removed in the end. */
  makeBucket(options?: { readonly objectLock?: boolean | undefined }): Promise<string>
}
