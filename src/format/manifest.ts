/** Reads and writes manifests: JSON of at most 64 KiB, never encrypted. */
import { isUlid } from '../util/ulid.ts'
import { MAX_MANIFEST_BYTES } from '../contracts/destination.ts'
import { BACKUP_CONTENTS, type BackupContent, COMPRESSIONS, type SnapshotSummary } from '../contracts/backupable.ts'
import { InvalidArgumentError, ManifestFeatureUnsupportedError, ManifestInvalidError, ManifestVersionUnsupportedError, isHoldfastError } from '../errors/errors.ts'
import { MANIFEST_FEATURES, MANIFEST_VERSION, type Manifest, type StoredObject } from '../contracts/manifest.ts'
import { HOLDFAST_VERSION } from '../util/version.ts'
import { MAX_SECTIONS, NAME, STORE_ID } from './header-trailer.ts'

export const MAX_LABELS = 64
/** The version of a manifest that requires features. */
const FEATURES_VERSION = 2
const MAX_FEATURES = 32
const MAX_OBJECTS = 64
const LABEL_NAME = /^[a-z0-9][a-z0-9._/-]{0,62}$/
const MAX_LABEL_LENGTH = 256
/** Leaves room for the other fields of a manifest. */
const MAX_LABELS_BYTES: number = MAX_MANIFEST_BYTES - 8 * 1024
const SHA256 = /^[0-9a-f]{64}$/
const UTC = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/
const VERSION = /^[0-9A-Za-z.+-]{1,64}$/

/** A manifest, without the fields that release 0.1.0 did not have if need be. */
export type ManifestFields = Omit<Manifest, 'content' | 'requires' | 'payloadIds'> &
  Partial<Pick<Manifest, 'content' | 'requires'>> & { readonly payloadIds: Omit<Manifest['payloadIds'], 'set'> & { readonly set?: string } }

export interface NewManifest {
  readonly backupId: string
  readonly payloadIdsBytes: number
  readonly labels: Readonly<Record<string, string>>
}

/** Makes the manifest of a snapshot whose two objects are stored unchanged. */
export function manifestOf(summary: SnapshotSummary, { backupId, payloadIdsBytes, labels }: NewManifest): Manifest {
  const { createdAtMs, storeId, storeKind, schemaVersion, records, content = contentOfKind(storeKind), compression = 'none' } = summary
  const payload = { bytes: summary.bytes, sha256: summary.sha256 }
  const payloadIds = { bytes: payloadIdsBytes, sha256: summary.payloadIds.digest }
  return {
    manifestVersion: MANIFEST_VERSION,
    backupId,
    createdAt: new Date(createdAtMs).toISOString(),
    storeId,
    storeKind,
    schemaVersion,
    content,
    requires: [],
    payload,
    payloadIds: { count: summary.payloadIds.count, ...payloadIds, set: summary.payloadIds.digest },
    objects: { payload, 'payload-ids': payloadIds },
    records,
    encryption: null,
    compression,
    labels,
    holdfastVersion: HOLDFAST_VERSION,
  }
}

/** Encodes a manifest. Throws `manifest_invalid` when it breaks a rule, so that no unreadable manifest is published. */
export function encodeManifest(manifest: ManifestFields): Uint8Array {
  const { requires = [], ...fields } = manifest
  const bytes = Buffer.from(`${JSON.stringify({ ...fields, ...(requires.length > 0 ? { requires } : {}) }, undefined, 2)}\n`)
  parseManifest(bytes, manifest.backupId)
  return bytes
}

/**
 * Reads a manifest strictly. Unknown fields are ignored: a newer release may add some without a new version.
 *
 * Throws `manifest_version_unsupported` for an unknown version, `manifest_feature_unsupported` for a required feature that this release
 * does not have, and `manifest_invalid` for every other fault, another `backupId` included.
 */
export function parseManifest(bytes: Uint8Array, backupId: string): Manifest {
  if (bytes.byteLength > MAX_MANIFEST_BYTES) throw invalid(backupId, `it has ${bytes.byteLength} bytes, more than ${MAX_MANIFEST_BYTES}`)
  const json = parseJson(bytes, backupId)
  const manifestVersion = checkVersion(json, backupId)
  try {
    return readManifest(json, { manifestVersion, backupId })
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause
    throw invalid(backupId, cause.message, cause)
  }
}

/** Checks a manifest that came as a value, such as in a plan, as strictly as a stored one. Throws what `parseManifest` throws. */
export function checkManifest(manifest: object, backupId: string): Manifest {
  return parseManifest(Buffer.from(JSON.stringify(manifest)), backupId)
}

/** Whether an error means that a newer release wrote the manifest: then only a newer release can tell if the backup is whole. */
export function isNewerManifest(error: unknown): boolean {
  return isHoldfastError(error) && (error.code === 'manifest_version_unsupported' || error.code === 'manifest_feature_unsupported')
}

/** Checks and copies the labels of a backup. Throws `invalid_argument` when a manifest cannot have them. */
export function checkLabels(labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  try {
    const copy = readLabels({ labels })
    if (Buffer.byteLength(JSON.stringify(copy)) > MAX_LABELS_BYTES) throw new TypeError(`labels have more than ${MAX_LABELS_BYTES} bytes`)
    return copy
  } catch (cause) {
    throw new InvalidArgumentError('Cannot use the labels of the backup: a manifest cannot have them', {
      cause,
      hint: `Use at most ${MAX_LABELS} labels, names of lower-case letters, digits and "._/-", and values of at most ${MAX_LABEL_LENGTH} characters`,
    })
  }
}

function readLabels(json: Json): Readonly<Record<string, string>> {
  return map(json, 'labels', { most: MAX_LABELS, name: LABEL_NAME, read: label })
}

type Json = Readonly<Record<string, unknown>>

/** Checks version and features before any other field, for a feature can change the form of all others. */
function checkVersion(json: Json, backupId: string): 1 | 2 {
  const version = own(json, 'manifestVersion')
  if (!Number.isSafeInteger(version)) throw invalid(backupId, 'manifestVersion is not an integer')
  const requires = own(json, 'requires')
  if (version === MANIFEST_VERSION) return MANIFEST_VERSION
  if (version !== FEATURES_VERSION || !isFeatureList(requires)) {
    const details = { expected: MANIFEST_VERSION, actual: version }
    const found = version === FEATURES_VERSION ? `${version} without a list of features` : String(version)
    throw new ManifestVersionUnsupportedError(`Cannot read the manifest of ${backupId}: this release does not read version ${found}`, { details })
  }
  const features = requires.filter((feature) => !MANIFEST_FEATURES.includes(feature))
  if (features.length === 0) return FEATURES_VERSION
  const names = features.map((feature) => JSON.stringify(feature)).join(', ')
  throw new ManifestFeatureUnsupportedError(`Cannot read backup ${backupId}: it requires ${names}, which this release does not have`, {
    details: { features, known: MANIFEST_FEATURES },
  })
}

function isFeatureList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length > 0 && value.length <= MAX_FEATURES && value.every((name) => typeof name === 'string' && NAME.test(name))
}

function readManifest(json: Json, { manifestVersion, backupId }: Pick<Manifest, 'manifestVersion' | 'backupId'>): Manifest {
  const payloadJson = object(json, 'payload')
  const idsJson = object(json, 'payloadIds')
  const found = text(json, 'backupId', (text) => isUlid(text))
  if (found !== backupId) throw new TypeError(`it is the manifest of ${found}`)
  const storeKind = text(json, 'storeKind', (text) => NAME.test(text))
  const payload = storedObject(payloadJson)
  const payloadIds = { count: count(idsJson, 'count'), ...storedObject(idsJson) }
  const set = own(idsJson, 'set') === undefined ? payloadIds.sha256 : sha256(idsJson, 'set')
  if (manifestVersion === MANIFEST_VERSION && set !== payloadIds.sha256) throw new TypeError('payloadIds.set is not the SHA-256 of payload-ids')
  if (own(json, 'encryption') !== null) throw new TypeError('encryption is not null, and this release cannot decrypt')
  return {
    manifestVersion,
    backupId: found,
    createdAt: text(json, 'createdAt', isInstant),
    storeId: text(json, 'storeId', (text) => STORE_ID.test(text)),
    storeKind,
    schemaVersion: count(json, 'schemaVersion'),
    content: own(json, 'content') === undefined ? contentOfKind(storeKind) : oneOf(json, 'content', BACKUP_CONTENTS),
    requires: requirements(json, manifestVersion),
    payload,
    payloadIds: { ...payloadIds, set },
    objects: own(json, 'objects') === undefined ? undefined : storedObjects(json, { payload, 'payload-ids': payloadIds }),
    records: map(json, 'records', { most: MAX_SECTIONS, name: NAME, read: count }),
    encryption: null,
    compression: oneOf(json, 'compression', COMPRESSIONS),
    labels: readLabels(json),
    holdfastVersion: text(json, 'holdfastVersion', (text) => VERSION.test(text)),
  }
}

/** The content of backups of release 0.1.0, whose manifests do not name it: only its Postgres stores have archives. */
function contentOfKind(storeKind: string): BackupContent {
  return storeKind === 'postgres' ? 'archive' : 'records'
}

function requirements(json: Json, manifestVersion: 1 | 2): readonly string[] {
  const requires = own(json, 'requires')
  if (requires === undefined) return []
  if (!Array.isArray(requires)) throw new TypeError('requires is not a list')
  if (manifestVersion === MANIFEST_VERSION && requires.length > 0) throw new TypeError('requires is not empty, which version 1 does not allow')
  return requires as readonly string[]
}

function storedObject(json: Json): StoredObject {
  return { bytes: count(json, 'bytes'), sha256: sha256(json, 'sha256') }
}

/** Reads the objects by name. Those that other fields describe too must be the same there. */
function storedObjects(json: Json, described: Readonly<Record<string, StoredObject>>): Readonly<Record<string, StoredObject>> {
  const objects = map(json, 'objects', { most: MAX_OBJECTS, name: NAME, read: (entries, name) => storedObject(object(entries, name)) })
  for (const [name, { bytes, sha256 }] of Object.entries(described)) {
    const stored = Object.hasOwn(objects, name) ? objects[name] : undefined
    if (stored?.bytes !== bytes || stored.sha256 !== sha256) throw new TypeError(`objects and its own field differ about "${name}"`)
  }
  return objects
}

function oneOf<T extends string>(json: Json, name: string, values: readonly T[]): T {
  const found = values.find((value) => value === own(json, name))
  if (found === undefined) throw new TypeError(`${name} is not one of ${values.join(', ')}`)
  return found
}

function parseJson(bytes: Uint8Array, backupId: string): Json {
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch (cause) {
    throw invalid(backupId, 'it is not JSON', cause)
  }
  if (!isObject(json)) throw invalid(backupId, 'it is not a JSON object')
  return json
}

function object(json: Json, name: string): Json {
  const value = own(json, name)
  if (!isObject(value)) throw new TypeError(`${name} is not an object`)
  return value
}

function text(json: Json, name: string, isValid: (text: string) => boolean): string {
  const value = own(json, name)
  if (typeof value !== 'string' || !isValid(value)) throw new TypeError(`${name} is malformed`)
  return value
}

function count(json: Json, name: string): number {
  const value = own(json, name)
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || Object.is(value, -0)) {
    throw new TypeError(`${name} is not an integer from 0 to 2^53 - 1`)
  }
  return value
}

/** Whether a text is a time that the calendar has: `Date` would turn February 30 into a day of March. */
function isInstant(text: string): boolean {
  const ms = UTC.test(text) ? Date.parse(text) : Number.NaN
  return !Number.isNaN(ms) && new Date(ms).toISOString() === text
}

function sha256(json: Json, name: string): string {
  return text(json, name, (text) => SHA256.test(text))
}

function label(json: Json, name: string): string {
  return text(json, name, (text) => text.length <= MAX_LABEL_LENGTH && !/\p{Surrogate}/u.test(text))
}

function map<T>(
  json: Json,
  field: string,
  rules: { readonly most: number; readonly name: RegExp; readonly read: (json: Json, name: string) => T },
): Readonly<Record<string, T>> {
  const entries = object(json, field)
  const names = Object.keys(entries)
  if (names.length > rules.most) throw new TypeError(`${field} has more than ${rules.most} entries`)
  for (const name of names) if (!rules.name.test(name)) throw new TypeError(`a name in ${field} is malformed`)
  return Object.fromEntries(names.map((name) => [name, rules.read(entries, name)]))
}

/** A field of the JSON itself, not one that objects inherit. */
function own(json: Json, name: string): unknown {
  return Object.hasOwn(json, name) ? json[name] : undefined
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function invalid(backupId: string, what: string, cause?: unknown): ManifestInvalidError {
  return new ManifestInvalidError(`Cannot read the manifest of ${backupId}: ${what}`, { cause, details: { backupId } })
}
