/** Operations on buckets. */
import { bucketOf, type Call, type Reply } from './server-call.ts'
import { s3Error } from './server-errors.ts'
import { S3Bucket } from './server-state.ts'
import { document, element, parseXml } from './server-xml.ts'

export function headBucket(call: Call): Reply {
  const bucket = bucketOf(call)
  call.demand('s3:ListBucket', { key: undefined, prefix: '' })
  return { headers: { 'x-amz-bucket-region': bucket.region } }
}

export function listBuckets(call: Call): Reply {
  call.demand('s3:ListAllMyBuckets', { key: undefined, bucket: '' })
  const buckets = [...call.buckets.values()].map(({ name, created }) => element('Bucket', [element('Name', name), element('CreationDate', created)]))
  return { body: document('ListAllMyBucketsResult', [element('Buckets', buckets)]) }
}

export function createBucket(call: Call): Reply {
  call.demand('s3:CreateBucket', { key: undefined })
  if (call.buckets.has(call.bucketName)) throw s3Error('BucketAlreadyOwnedByYou', { details: { BucketName: call.bucketName } })
  const objectLock = call.headers['x-amz-bucket-object-lock-enabled'] === 'true'
  call.buckets.set(call.bucketName, new S3Bucket(call.bucketName, { region: call.region, objectLock }))
  return { headers: { location: `/${call.bucketName}` } }
}

export function deleteBucket(call: Call): Reply {
  const bucket = bucketOf(call)
  call.demand('s3:DeleteBucket', { key: undefined })
  if (bucket.versions().length > 0) throw s3Error('BucketNotEmpty')
  call.buckets.delete(bucket.name)
  return { status: 204 }
}

export function getBucketLocation(call: Call): Reply {
  const bucket = call.buckets.get(call.bucketName)
  if (bucket === undefined) bucketOf(call)
  call.demand('s3:GetBucketLocation', { key: undefined })
  const region = bucket?.region ?? ''
  return { body: document('LocationConstraint', []).replace('></', `>${region === 'us-east-1' ? '' : region}</`) }
}

export function getBucketVersioning(call: Call): Reply {
  const bucket = bucketOf(call)
  call.demand('s3:GetBucketVersioning', { key: undefined })
  return { body: document('VersioningConfiguration', bucket.versioned ? [element('Status', 'Enabled')] : []) }
}

export function putBucketVersioning(call: Call): Reply {
  const bucket = bucketOf(call)
  call.demand('s3:PutBucketVersioning', { key: undefined })
  if (parseXml(call.body.data.toString())?.get('Status') !== 'Enabled') throw s3Error('NotImplemented', { message: 'Versioning cannot be suspended here' })
  bucket.versioned = true
  return {}
}

export function getBucketLifecycle(call: Call): Reply {
  const bucket = bucketOf(call)
  call.demand('s3:GetLifecycleConfiguration', { key: undefined })
  if (bucket.lifecycle === undefined) throw s3Error('NoSuchLifecycleConfiguration', { details: { BucketName: bucket.name } })
  return { body: bucket.lifecycle }
}

export function putBucketLifecycle(call: Call): Reply {
  const bucket = bucketOf(call)
  call.demand('s3:PutLifecycleConfiguration', { key: undefined })
  const source = call.body.data.toString()
  if (parseXml(source)?.name !== 'LifecycleConfiguration') throw s3Error('MalformedXML')
  bucket.lifecycle = source
  return {}
}

export function deleteBucketLifecycle(call: Call): Reply {
  const bucket = bucketOf(call)
  call.demand('s3:PutLifecycleConfiguration', { key: undefined })
  bucket.lifecycle = undefined
  return { status: 204 }
}
