/** Reads and writes manifests: JSON of at most 64 KiB, never encrypted. */
import { isUlid } from '../util/ulid.ts'
import { MAX_MANIFEST_BYTES } from '../contracts/destination.ts'
import { ManifestInvalidError, ManifestVersionUnsupportedError } from '../errors/errors.ts'
import { COMPRESSIONS, type Compression, MANIFEST_VERSION, type Manifest } from '../contracts/manifest.ts'
import { MAX_SECTIONS, NAME, STORE_ID } from './header-trailer.ts'

export const MAX_LABELS = 64
const LABEL_NAME = /^[a-z0-9][a-z0-9._/-]{0,62}$/
const MAX_LABEL_LENGTH = 256
const SHA256 = /^[0-9a-f]{64}$/
const UTC = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/
const VERSION = /^[0-9A-Za-z.+-]{1,64}$/

/** The manifest's bytes. Throws `manifest_invalid` when it breaks a rule, so that none is published that could not be read. */
export function encodeManifest(manifest: Manifest): Uint8Array {
  const bytes = Buffer.from(`${JSON.stringify(manifest, undefined, 2)}\n`)
  parseManifest(bytes, manifest.backupId)
  return bytes
}

/**
 * Reads a manifest strictly. Fields it does not know are passed over: a newer release of the same version may add some. Throws
 * `manifest_version_unsupported` for another version, `manifest_invalid` for everything else, a foreign `backupId` included.
 */
export function parseManifest(bytes: Uint8Array, backupId: string): Manifest {
  if (bytes.byteLength > MAX_MANIFEST_BYTES) throw invalid(backupId, `it has ${bytes.byteLength} bytes, more than ${MAX_MANIFEST_BYTES}`)
  const json = parseJson(bytes, backupId)
  const version = own(json, 'manifestVersion')
  if (version !== MANIFEST_VERSION) {
    if (!Number.isSafeInteger(version)) throw invalid(backupId, 'manifestVersion is no whole number')
    throw new ManifestVersionUnsupportedError(
      `Cannot read the manifest of ${backupId}: it is of version ${String(version)}, this release reads version ${MANIFEST_VERSION}`,
      { details: { expected: MANIFEST_VERSION, actual: version } },
    )
  }
  try {
    return readManifest(json, backupId)
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause
    throw invalid(backupId, cause.message, cause)
  }
}

type Json = Readonly<Record<string, unknown>>

function readManifest(json: Json, backupId: string): Manifest {
  const payload = object(json, 'payload')
  const payloadIds = object(json, 'payloadIds')
  const found = text(json, 'backupId', (text) => isUlid(text))
  if (found !== backupId) throw new TypeError(`it is the manifest of ${found}`)
  if (json['encryption'] !== null) throw new TypeError('encryption is not null, and this release cannot decrypt')
  return {
    manifestVersion: MANIFEST_VERSION,
    backupId: found,
    createdAt: text(json, 'createdAt', isInstant),
    storeId: text(json, 'storeId', (text) => STORE_ID.test(text)),
    storeKind: text(json, 'storeKind', (text) => NAME.test(text)),
    schemaVersion: count(json, 'schemaVersion'),
    payload: { bytes: count(payload, 'bytes'), sha256: sha256(payload, 'sha256') },
    payloadIds: { count: count(payloadIds, 'count'), bytes: count(payloadIds, 'bytes'), sha256: sha256(payloadIds, 'sha256') },
    records: map(json, 'records', { most: MAX_SECTIONS, name: NAME, read: count }),
    encryption: null,
    compression: text(json, 'compression', (text) => (COMPRESSIONS as readonly string[]).includes(text)) as Compression,
    labels: map(json, 'labels', { most: MAX_LABELS, name: LABEL_NAME, read: label }),
    holdfastVersion: text(json, 'holdfastVersion', (text) => VERSION.test(text)),
  }
}

function parseJson(bytes: Uint8Array, backupId: string): Json {
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch (cause) {
    throw invalid(backupId, 'it is no JSON', cause)
  }
  if (!isObject(json)) throw invalid(backupId, 'it is no JSON object')
  return json
}

function object(json: Json, name: string): Json {
  const value = own(json, name)
  if (!isObject(value)) throw new TypeError(`${name} is no object`)
  return value
}

function text(json: Json, name: string, isValid: (text: string) => boolean): string {
  const value = own(json, name)
  if (typeof value !== 'string' || !isValid(value)) throw new TypeError(`${name} is not in its form`)
  return value
}

function count(json: Json, name: string): number {
  const value = own(json, name)
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || Object.is(value, -0)) throw new TypeError(`${name} is no whole number`)
  return value
}

/** The calendar must have it: `Date` would make the 30th of February one of March. */
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
  for (const name of names) if (!rules.name.test(name)) throw new TypeError(`${field} has a name that is not in its form`)
  return Object.fromEntries(names.map((name) => [name, rules.read(entries, name)]))
}

/** Fields that JSON put there; never what objects inherit. */
function own(json: Json, name: string): unknown {
  return Object.hasOwn(json, name) ? json[name] : undefined
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function invalid(backupId: string, what: string, cause?: unknown): ManifestInvalidError {
  return new ManifestInvalidError(`Cannot read the manifest of ${backupId}: ${what}`, { cause, details: { backupId } })
}
