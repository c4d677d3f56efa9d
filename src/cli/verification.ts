/** What the catalog recorded of a backup's last verification, for people and for scripts. */
import type { CatalogBackup, Verification } from '../index.ts'
import { formatTime, printable } from '../util/text.ts'

/** The last recorded verification, for JSON; `null` for a backup that was never verified. */
export function verificationOf(record: CatalogBackup | undefined): { readonly verifiedAt: string | null; readonly verification: Verification | null } {
  // A deleted backup that is there again is another one.
  const { verifiedAt = null, verification = null } = record?.deletedAt === undefined ? (record ?? {}) : {}
  return { verifiedAt, verification }
}

/** The last recorded verification as one cell of a table: `content 2026-11-30`, `failed: restore_corrupt`, `never`. */
export function shortVerification(record: CatalogBackup | undefined): string {
  const { verifiedAt, verification } = verificationOf(record)
  if (verifiedAt === null || verification === null) return 'never'
  if (verification.error !== undefined) return `failed: ${printable(verification.error.code)}`
  return `${printable(verification.level)} ${formatTime(verifiedAt).slice(0, 'YYYY-MM-DD'.length)}`
}

/** The last recorded verification as one line. */
export function describeVerification(record: CatalogBackup | undefined): string {
  const { verifiedAt, verification } = verificationOf(record)
  if (verifiedAt === null || verification === null) return 'never'
  const how = `at level ${printable(verification.level)}, ${formatTime(verifiedAt)}`
  return verification.error === undefined ? how : `failed ${how}: ${printable(verification.error.code)}: ${printable(verification.error.message)}`
}
