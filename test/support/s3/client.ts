/** Clients of the AWS SDK for the tests' servers. */
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'

/** Where a server is, and the key to speak to it with. */
export interface S3Access {
  readonly endpoint: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

// The SDK warns of the Node that it will need one day, on every start.
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true'

/** A client in path style that tries each request once. */
export function s3Client({ endpoint, region, accessKeyId, secretAccessKey }: S3Access, config: S3ClientConfig = {}): S3Client {
  return new S3Client({ endpoint, region, forcePathStyle: true, maxAttempts: 1, credentials: { accessKeyId, secretAccessKey }, ...config })
}
