/** The labels of a backup, checked before anything is done. */
import { InvalidArgumentError } from '../errors/errors.ts'
import { MANIFEST_VERSION } from '../contracts/manifest.ts'
import { encodeManifest } from '../format/manifest.ts'
import { HOLDFAST_VERSION } from '../util/version.ts'

const DIGEST = '0'.repeat(64)
const LONGEST_ID = 'x'.repeat(128)

/** A copy of the labels; throws `invalid_argument` when no manifest could hold them. */
export function checkLabels(labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const copy = { ...labels }
  try {
    encodeManifest({
      manifestVersion: MANIFEST_VERSION,
      backupId: '0'.repeat(26),
      createdAt: new Date(0).toISOString(),
      storeId: LONGEST_ID,
      storeKind: 'x',
      schemaVersion: 0,
      payload: { bytes: 0, sha256: DIGEST },
      payloadIds: { count: 0, bytes: 0, sha256: DIGEST },
      records: {},
      encryption: null,
      compression: 'none',
      labels: copy,
      holdfastVersion: HOLDFAST_VERSION,
    })
  } catch (cause) {
    throw new InvalidArgumentError('Cannot use the labels of the backup: a manifest cannot hold them', {
      cause,
      hint: 'Names are lower-case letters, digits and "._/-", values at most 256 characters, and there are at most 64 of them',
    })
  }
  return copy
}
