/** Events as they are stored: JSON, version 1, checked field by field when it is read. */
import { isUlid } from '../util/ulid.ts'
import { ERROR_CODES, type ErrorCode } from '../errors/errors.ts'
import type { Manifest } from '../contracts/manifest.ts'
import { parseManifest } from '../format/manifest.ts'
import { type CatalogEvent, JOB_KINDS, JOB_STATES, type JobError, VERIFICATION_LEVELS } from '../contracts/catalog.ts'
import { LEASE_ENDS, LEASE_PURPOSES, type PayloadIdsName } from '../contracts/hold-events.ts'
import type { JobOwner } from '../util/job-owner.ts'

const EVENT_VERSION = 1
const UTC = /^[+-]?\d{4,6}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/

export function encodeEvent(event: CatalogEvent): string {
  return JSON.stringify({ version: EVENT_VERSION, ...event })
}

/** Throws a `TypeError`, or what `parseManifest` throws, for what is no event of this version. Fields it does not know are passed over. */
export function decodeEvent(text: string): CatalogEvent {
  const fields = object(JSON.parse(text))
  if (fields['version'] !== EVENT_VERSION) throw new TypeError(`it is of version ${String(fields['version'])}, this release reads version ${EVENT_VERSION}`)
  const type = oneOf(fields['type'], Object.keys(DECODERS) as CatalogEvent['type'][])
  const at = textField(fields, 'at')
  if (!UTC.test(at)) throw new TypeError('at is no time')
  return { type, at, ...DECODERS[type](fields) } as CatalogEvent
}

type Fields = Readonly<Record<string, unknown>>
type Decoded<T extends CatalogEvent['type']> = Omit<Extract<CatalogEvent, { readonly type: T }>, 'type' | 'at'>

const DECODERS: { readonly [T in CatalogEvent['type']]: (fields: Fields) => Decoded<T> } = {
  'job-started': (fields) => ({
    jobId: id(fields, 'jobId'),
    kind: oneOf(fields['kind'], JOB_KINDS),
    owner: owner(fields['owner']),
    storeKind: optional(fields, 'storeKind', textField),
    storeId: optional(fields, 'storeId', textField),
    destination: optional(fields, 'destination', textField),
    backupId: optional(fields, 'backupId', id),
  }),
  'job-progressed': (fields) => ({
    jobId: id(fields, 'jobId'),
    phase: textField(fields, 'phase'),
    bytes: count(fields, 'bytes'),
    records: count(fields, 'records'),
    storeId: optional(fields, 'storeId', textField),
    backupId: optional(fields, 'backupId', id),
  }),
  'job-ended': (fields) => ({
    jobId: id(fields, 'jobId'),
    state: oneOf(fields['state'], JOB_STATES.filter((state) => state !== 'running')),
    error: optional(fields, 'error', error),
  }),
  'backup-recorded': (fields) => ({ ...backup(fields), manifest: manifest(fields), how: oneOf(fields['how'], ['backup', 'rebuild'] as const) }),
  'backup-verified': (fields) => ({ ...backup(fields), level: oneOf(fields['level'], VERIFICATION_LEVELS), error: optional(fields, 'error', error) }),
  'backup-deletion-started': backup,
  'backup-deleted': backup,
  'lease-taken': (fields) => ({
    leaseId: id(fields, 'leaseId'),
    purpose: oneOf(fields['purpose'], LEASE_PURPOSES),
    owner: owner(fields['owner']),
    storeId: optional(fields, 'storeId', textField),
    backupId: optional(fields, 'backupId', id),
  }),
  'lease-narrowed': (fields) => ({ leaseId: id(fields, 'leaseId'), payloadIds: payloadIds(fields['payloadIds']) }),
  'lease-suspected': (fields) => ({ leaseId: id(fields, 'leaseId'), epoch: textField(fields, 'epoch'), steadyMs: count(fields, 'steadyMs') }),
  'lease-released': (fields) => ({ leaseId: id(fields, 'leaseId'), why: oneOf(fields['why'], LEASE_ENDS) }),
  'sweep-started': (fields) => ({ sweepId: id(fields, 'sweepId'), owner: owner(fields['owner']) }),
  'sweep-acknowledged': (fields) => ({ sweepId: id(fields, 'sweepId'), generation: count(fields, 'generation') }),
  'sweep-ended': (fields) => ({ sweepId: id(fields, 'sweepId') }),
}

const SHA256 = /^[0-9a-f]{64}$/

function payloadIds(value: unknown): PayloadIdsName {
  const fields = object(value)
  const sha256 = textField(fields, 'sha256')
  if (!SHA256.test(sha256)) throw new TypeError('sha256 is no SHA-256')
  return { count: count(fields, 'count'), bytes: count(fields, 'bytes'), sha256 }
}

function backup(fields: Fields): { backupId: string; destination: string } {
  return { backupId: id(fields, 'backupId'), destination: textField(fields, 'destination') }
}

function manifest(fields: Fields): Manifest {
  return parseManifest(Buffer.from(JSON.stringify(object(fields['manifest']))), id(fields, 'backupId'))
}

function owner(value: unknown): JobOwner {
  const fields = object(value)
  return { host: textField(fields, 'host'), pid: count(fields, 'pid'), bootId: textField(fields, 'bootId'), start: textField(fields, 'start') }
}

function error(fields: Fields, name: string): JobError {
  const given = object(fields[name])
  return { code: oneOf(given['code'], ERROR_CODES) satisfies ErrorCode, message: textField(given, 'message'), hint: textField(given, 'hint') }
}

function id(fields: Fields, name: string): string {
  const value = textField(fields, name)
  if (!isUlid(value)) throw new TypeError(`${name} is no ULID`)
  return value
}

function textField(fields: Fields, name: string): string {
  const value = own(fields, name)
  if (typeof value !== 'string') throw new TypeError(`${name} is no text`)
  return value
}

function count(fields: Fields, name: string): number {
  const value = own(fields, name)
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw new TypeError(`${name} is no whole number`)
  return value
}

function optional<T>(fields: Fields, name: string, read: (fields: Fields, name: string) => T): T | undefined {
  return own(fields, name) === undefined ? undefined : read(fields, name)
}

function oneOf<T extends string>(value: unknown, values: readonly T[]): T {
  const found = values.find((candidate) => candidate === value)
  if (found === undefined) throw new TypeError(`${JSON.stringify(value)} is none of ${values.join(', ')}`)
  return found
}

function object(value: unknown): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError('it is no JSON object')
  return value as Fields
}

/** Fields that JSON put there; never what objects inherit. */
function own(fields: Fields, name: string): unknown {
  return Object.hasOwn(fields, name) ? fields[name] : undefined
}
