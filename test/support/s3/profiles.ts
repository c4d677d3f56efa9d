/** How stores differ from S3, as their documentation and their users describe them: settings of the tests' own server. */
import type { S3Behaviour } from './server-behaviour.ts'

export interface S3Profile {
  readonly name: string
  readonly behaviour: S3Behaviour
  /** What `validate` warns of there, beside the lifecycle rule that no bucket of the tests has. */
  readonly warnings: readonly string[]
  /** What a small backup is refused there, and warns of where nothing was validated before. @default nothing */
  readonly refused?: readonly string[]
}

const NO_CONDITIONS = ['conditional_writes_ignored', 'conditional_multipart_ignored']

export const S3_PROFILES: readonly S3Profile[] = [
  {
    // https://www.backblaze.com/docs/cloud-storage-s3-compatible-api#unsupported-features
    name: 'Backblaze B2',
    behaviour: { refusesChecksums: 400, refusesPutConditions: 501, refusesCompleteConditions: 501, hasNoBucketSettings: true },
    warnings: ['checksums_ignored', ...NO_CONDITIONS],
    refused: ['checksums_ignored', ...NO_CONDITIONS],
  },
  {
    // https://developers.cloudflare.com/r2/api/s3/conditional-operations/ and /r2/objects/multipart-objects/
    name: 'Cloudflare R2',
    behaviour: { wantsEqualParts: true },
    warnings: [],
  },
  {
    // Its conditions have names of their own: https://cloud.google.com/storage/docs/xml-api/reference-headers
    name: 'Google Cloud Storage (XML API)',
    behaviour: { knowsNoChecksum: true, refusesTrailers: true, refusesPutConditions: 400, ignoresConditions: true },
    warnings: ['checksums_ignored', ...NO_CONDITIONS],
    refused: ['conditional_writes_ignored'],
  },
  { name: 'Wasabi', behaviour: { knowsNoChecksum: true, ignoresConditions: true }, warnings: ['checksums_ignored', ...NO_CONDITIONS] },
  {
    // Conditions of PutObject came years before those of CompleteMultipartUpload: https://github.com/ceph/s3-tests/issues/218
    name: 'Ceph',
    behaviour: { knowsNoChecksum: true, ignoresConditions: 'complete' },
    warnings: ['checksums_ignored', 'conditional_multipart_ignored'],
  },
  { name: 'MinIO', behaviour: { listsNoUploads: 'by key', completeIsIdempotent: true }, warnings: ['uploads_not_listed'] },
  { name: 'Garage', behaviour: { ignoresConditions: true }, warnings: NO_CONDITIONS },
  {
    // https://github.com/seaweedfs/seaweedfs/issues/8800
    name: 'SeaweedFS',
    behaviour: { conditionGapMs: 50, knowsNoChecksum: true },
    warnings: ['checksums_ignored', 'conditional_writes_ignored'],
  },
  { name: 'versitygw', behaviour: { completeIsIdempotent: true, hasNoBucketSettings: true }, warnings: [] },
  {
    // https://rclone.org/commands/rclone_serve_s3/#limitations
    name: 'rclone serve s3',
    behaviour: { knowsNoChecksum: true, ignoresConditions: true, keepsNoMetadata: true, listsNoUploads: 404, missesDeleted: true, hasNoBucketSettings: true },
    warnings: ['checksums_ignored', ...NO_CONDITIONS, 'metadata_not_kept', 'uploads_not_listed'],
    refused: ['uploads_not_listed'],
  },
]
