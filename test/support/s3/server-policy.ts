/** IAM policies, as far as the least privilege of a backup needs them. */

/** A policy document as IAM takes it. */
export interface Policy {
  readonly Version?: string | undefined
  readonly Statement: readonly PolicyStatement[]
}

export interface PolicyStatement {
  readonly Sid?: string | undefined
  readonly Effect: 'Allow' | 'Deny'
  /** `s3:PutObject`, with `*` and `?` as wildcards. */
  readonly Action: string | readonly string[]
  /** `arn:aws:s3:::bucket/key`, with `*` and `?` as wildcards. */
  readonly Resource: string | readonly string[]
  /** `StringEquals` and `StringLike` of `s3:prefix`; any other is refused by a TypeError. */
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>> | undefined
}

/** What a caller wants to do. */
export interface Access {
  readonly action: string
  readonly bucket: string
  /** The object's; undefined for what is done to the bucket. */
  readonly key?: string | undefined
  /** What a listing is limited to. */
  readonly prefix?: string | undefined
}

/** Whether the policy lets it be done: some statement allows it and none denies it. Without a policy everything may be done. */
export function allows(policy: Policy | undefined, access: Access): boolean {
  if (policy === undefined) return true
  const matching = policy.Statement.filter((statement) => matches(statement, access))
  return matching.some(({ Effect }) => Effect === 'Allow') && !matching.some(({ Effect }) => Effect === 'Deny')
}

function matches({ Action, Resource, Condition }: PolicyStatement, access: Access): boolean {
  const resource = `arn:aws:s3:::${access.bucket}${access.key === undefined ? '' : `/${access.key}`}`
  return (
    list(Action).some((action) => like(action, access.action, 'i')) &&
    list(Resource).some((pattern) => like(pattern, resource)) &&
    Object.entries(Condition ?? {}).every(([operator, keys]) => Object.entries(keys).every(([key, values]) => holds({ operator, key, values: list(values) }, access)))
  )
}

function holds({ operator, key, values }: { operator: string, key: string, values: readonly string[] }, { prefix }: Access): boolean {
  if (key !== 's3:prefix' || (operator !== 'StringLike' && operator !== 'StringEquals')) throw new TypeError(`Cannot evaluate the condition ${operator} of "${key}"`)
  return prefix !== undefined && values.some((value) => (operator === 'StringLike' ? like(value, prefix) : value === prefix))
}

function list(value: string | readonly string[]): readonly string[] {
  return typeof value === 'string' ? [value] : value
}

function like(pattern: string, text: string, flags = ''): boolean {
  const source = pattern.replaceAll(/[.+^${}()|[\]\\]/g, String.raw`\$&`).replaceAll('*', '.*').replaceAll('?', '.')
  return new RegExp(`^${source}$`, `s${flags}`).test(text)
}
