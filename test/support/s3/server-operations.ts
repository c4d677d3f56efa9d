/** Which operation a request asks for. */
import * as buckets from './server-buckets.ts'
import type { Call, Reply } from './server-call.ts'
import * as lists from './server-lists.ts'
import * as locks from './server-locks.ts'
import * as objects from './server-objects.ts'
import * as uploads from './server-uploads.ts'

export interface Operation {
  readonly name: string
  readonly method: string
  readonly on: 'service' | 'bucket' | 'object'
  /** What the query must have. */
  readonly marks?: readonly string[] | undefined
  /** What it may have. */
  readonly takes?: readonly string[] | undefined
  readonly run: (call: Call) => Reply | Promise<Reply>
}

const LIST = ['prefix', 'delimiter', 'encoding-type']
/** Sent by some SDKs for their own logs. */
const IGNORED = ['x-id']
/** The operations of buckets that some stores lack. */
const SETTINGS = ['location', 'lifecycle', 'object-lock', 'versioning']

export const OPERATIONS: readonly Operation[] = [
  { name: 'GetObjectRetention', method: 'GET', on: 'object', marks: ['retention'], takes: ['versionId'], run: locks.getObjectRetention },
  { name: 'GetObjectLegalHold', method: 'GET', on: 'object', marks: ['legal-hold'], takes: ['versionId'], run: locks.getObjectLegalHold },
  { name: 'ListParts', method: 'GET', on: 'object', marks: ['uploadId'], takes: ['max-parts', 'part-number-marker'], run: lists.listParts },
  { name: 'GetObject', method: 'GET', on: 'object', takes: ['versionId'], run: objects.getObject },
  { name: 'HeadObject', method: 'HEAD', on: 'object', takes: ['versionId'], run: objects.getObject },
  { name: 'UploadPart', method: 'PUT', on: 'object', marks: ['partNumber', 'uploadId'], run: uploads.uploadPart },
  { name: 'PutObjectRetention', method: 'PUT', on: 'object', marks: ['retention'], takes: ['versionId'], run: locks.putObjectRetention },
  { name: 'PutObjectLegalHold', method: 'PUT', on: 'object', marks: ['legal-hold'], takes: ['versionId'], run: locks.putObjectLegalHold },
  { name: 'PutObject', method: 'PUT', on: 'object', run: objects.putObject },
  { name: 'CreateMultipartUpload', method: 'POST', on: 'object', marks: ['uploads'], run: uploads.createMultipartUpload },
  { name: 'CompleteMultipartUpload', method: 'POST', on: 'object', marks: ['uploadId'], run: uploads.completeMultipartUpload },
  { name: 'AbortMultipartUpload', method: 'DELETE', on: 'object', marks: ['uploadId'], run: uploads.abortMultipartUpload },
  { name: 'DeleteObject', method: 'DELETE', on: 'object', takes: ['versionId'], run: objects.deleteObject },
  { name: 'HeadBucket', method: 'HEAD', on: 'bucket', run: buckets.headBucket },
  { name: 'GetBucketLocation', method: 'GET', on: 'bucket', marks: ['location'], run: buckets.getBucketLocation },
  { name: 'GetBucketLifecycleConfiguration', method: 'GET', on: 'bucket', marks: ['lifecycle'], run: buckets.getBucketLifecycle },
  { name: 'PutBucketLifecycleConfiguration', method: 'PUT', on: 'bucket', marks: ['lifecycle'], run: buckets.putBucketLifecycle },
  { name: 'DeleteBucketLifecycle', method: 'DELETE', on: 'bucket', marks: ['lifecycle'], run: buckets.deleteBucketLifecycle },
  { name: 'GetObjectLockConfiguration', method: 'GET', on: 'bucket', marks: ['object-lock'], run: locks.getObjectLockConfiguration },
  { name: 'PutObjectLockConfiguration', method: 'PUT', on: 'bucket', marks: ['object-lock'], run: locks.putObjectLockConfiguration },
  { name: 'GetBucketVersioning', method: 'GET', on: 'bucket', marks: ['versioning'], run: buckets.getBucketVersioning },
  { name: 'PutBucketVersioning', method: 'PUT', on: 'bucket', marks: ['versioning'], run: buckets.putBucketVersioning },
  {
    name: 'ListObjectVersions', method: 'GET', on: 'bucket', marks: ['versions'],
    takes: [...LIST, 'key-marker', 'version-id-marker', 'max-keys'], run: lists.listObjectVersions,
  },
  {
    name: 'ListMultipartUploads', method: 'GET', on: 'bucket', marks: ['uploads'],
    takes: [...LIST, 'key-marker', 'upload-id-marker', 'max-uploads'], run: lists.listMultipartUploads,
  },
  {
    name: 'ListObjectsV2', method: 'GET', on: 'bucket', marks: ['list-type'],
    takes: [...LIST, 'continuation-token', 'start-after', 'max-keys', 'fetch-owner'], run: lists.listObjects,
  },
  { name: 'DeleteObjects', method: 'POST', on: 'bucket', marks: ['delete'], run: objects.deleteObjects },
  { name: 'CreateBucket', method: 'PUT', on: 'bucket', run: buckets.createBucket },
  { name: 'DeleteBucket', method: 'DELETE', on: 'bucket', run: buckets.deleteBucket },
  { name: 'ListBuckets', method: 'GET', on: 'service', takes: ['max-buckets', 'prefix', 'continuation-token'], run: buckets.listBuckets },
]

/** The operation that fits a request to the last parameter; none where it asks for something unknown. */
export function findOperation(
  { method, bucket, key, query }: { readonly method: string, readonly bucket: string, readonly key: string, readonly query: Readonly<Record<string, string>> },
  hasSettings: boolean,
): Operation | undefined {
  const on = bucket === '' ? 'service' : key === '' ? 'bucket' : 'object'
  const names = Object.keys(query).filter((name) => !IGNORED.includes(name))
  return OPERATIONS.find(({ marks = [], takes = [], ...operation }) => {
    if (operation.method !== method || operation.on !== on) return false
    if (!hasSettings && marks.some((mark) => SETTINGS.includes(mark))) return false
    return marks.every((mark) => names.includes(mark)) && names.every((name) => marks.includes(name) || takes.includes(name))
  })
}
