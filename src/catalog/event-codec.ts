/** Encodes events as JSON, version 1, and decodes them with a check of every field. */
import { isUlid } from '../util/ulid.ts'
import type { Manifest } from '../contracts/manifest.ts'
import { isNewerManifest, parseManifest } from '../format/manifest.ts'
import type { CatalogEvent, JobError, UnknownEvent } from '../contracts/catalog.ts'
import type { PayloadIdsName } from '../contracts/hold-events.ts'
import type { JobOwner } from '../util/job-owner.ts'

const EVENT_VERSION = 1
const UTC = /^[+-]?\d{4,6}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/

export function encodeEvent(event: CatalogEvent): string {
  return JSON.stringify({ version: EVENT_VERSION, ...event })
}

/**
 * Decodes an event. Unknown fields are skipped, unknown names kept; an event of an unknown type or a newer version, from a newer release,
 * is an `UnknownEvent`. Throws a `TypeError`, or as `parseManifest` does, for anything malformed.
 */
export function decodeEvent(text: string): CatalogEvent | UnknownEvent {
  const fields = object(JSON.parse(text))
  const version = count(fields, 'version')
  const type = name(fields, 'type')
  if (version > EVENT_VERSION) return UNKNOWN
  if (version !== EVENT_VERSION) throw new TypeError(`version ${version} does not exist`)
  const at = textField(fields, 'at')
  if (!UTC.test(at)) throw new TypeError('at is not a time')
  if (!Object.hasOwn(DECODERS, type)) return UNKNOWN
  return { type, at, ...DECODERS[type as CatalogEvent['type']](fields) } as CatalogEvent
}

const UNKNOWN: UnknownEvent = { type: 'unknown' }

type Fields = Readonly<Record<string, unknown>>
type Decoded<T extends CatalogEvent['type']> = Omit<Extract<CatalogEvent, { readonly type: T }>, 'type' | 'at'>

const DECODERS: { readonly [T in CatalogEvent['type']]: (fields: Fields) => Decoded<T> } = {
  'job-started': (fields) => ({
    jobId: id(fields, 'jobId'),
    kind: name(fields, 'kind'),
    owner: decodeOwner(fields['owner']),
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
    state: name(fields, 'state'),
    error: optional(fields, 'error', error),
  }),
  'backup-recorded': (fields) => ({
    ...backup(fields),
    manifest: manifest(fields),
    manifestSha256: optional(fields, 'manifestSha256', sha256),
    how: name(fields, 'how'),
  }),
  'backup-verified': (fields) => ({ ...backup(fields), level: name(fields, 'level'), error: optional(fields, 'error', error) }),
  'backup-deletion-started': backup,
  'backup-deleted': backup,
  'lease-taken': (fields) => ({
    leaseId: id(fields, 'leaseId'),
    purpose: name(fields, 'purpose'),
    owner: decodeOwner(fields['owner']),
    storeId: optional(fields, 'storeId', textField),
    backupId: optional(fields, 'backupId', id),
  }),
  'lease-narrowed': (fields) => ({ leaseId: id(fields, 'leaseId'), payloadIds: payloadIds(fields['payloadIds']) }),
  'lease-suspected': (fields) => ({ leaseId: id(fields, 'leaseId'), epoch: textField(fields, 'epoch'), steadyMs: count(fields, 'steadyMs') }),
  'lease-released': (fields) => ({ leaseId: id(fields, 'leaseId'), why: name(fields, 'why') }),
  'sweep-started': (fields) => ({ sweepId: id(fields, 'sweepId'), owner: decodeOwner(fields['owner']) }),
  'sweep-acknowledged': (fields) => ({ sweepId: id(fields, 'sweepId'), generation: count(fields, 'generation') }),
  'sweep-ended': (fields) => ({ sweepId: id(fields, 'sweepId') }),
}

const NAME = /^[a-z][a-z0-9_-]{0,63}$/
const SHA256 = /^[0-9a-f]{64}$/

function payloadIds(value: unknown): PayloadIdsName {
  const fields = object(value)
  return { count: count(fields, 'count'), bytes: count(fields, 'bytes'), sha256: sha256(fields, 'sha256') }
}

function sha256(fields: Fields, name: string): string {
  const value = textField(fields, name)
  if (!SHA256.test(value)) throw new TypeError(`${name} is not a SHA-256`)
  return value
}

function backup(fields: Fields): { backupId: string; destination: string } {
  return { backupId: id(fields, 'backupId'), destination: textField(fields, 'destination') }
}

/** Decodes a manifest; one of a newer kind is `undefined`, so that the catalog stays readable. */
function manifest(fields: Fields): Manifest | undefined {
  try {
    return parseManifest(Buffer.from(JSON.stringify(object(fields['manifest']))), id(fields, 'backupId'))
  } catch (error) {
    if (isNewerManifest(error)) return undefined
    throw error
  }
}

/** Decodes the owner of work. Throws a `TypeError` for anything malformed. */
export function decodeOwner(value: unknown): JobOwner {
  const fields = object(value)
  return { host: textField(fields, 'host'), pid: count(fields, 'pid'), bootId: textField(fields, 'bootId'), start: textField(fields, 'start') }
}

function error(fields: Fields, field: string): JobError {
  const given = object(fields[field])
  return { code: name(given, 'code'), message: textField(given, 'message'), hint: textField(given, 'hint') }
}

function id(fields: Fields, name: string): string {
  const value = textField(fields, name)
  if (!isUlid(value)) throw new TypeError(`${name} is not a ULID`)
  return value
}

function textField(fields: Fields, name: string): string {
  const value = own(fields, name)
  if (typeof value !== 'string') throw new TypeError(`${name} is not text`)
  return value
}

function count(fields: Fields, name: string): number {
  const value = own(fields, name)
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw new TypeError(`${name} is not an integer from 0 to 2^53 - 1`)
  return value
}

function optional<T>(fields: Fields, name: string, read: (fields: Fields, name: string) => T): T | undefined {
  return own(fields, name) === undefined ? undefined : read(fields, name)
}

/** Decodes a name, known or added by a newer release. */
function name(fields: Fields, field: string): string {
  const value = textField(fields, field)
  if (!NAME.test(value)) throw new TypeError(`${field} is not a name`)
  return value
}

function object(value: unknown): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError('it is not a JSON object')
  return value as Fields
}

/** Reads an own field; never an inherited one. */
function own(fields: Fields, name: string): unknown {
  return Object.hasOwn(fields, name) ? fields[name] : undefined
}
