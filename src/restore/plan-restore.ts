/** Plans a restore: whether a backup can be restored into a store, and what it replaces, before anything is touched. */
import { isDeepStrictEqual } from 'node:util'
import type { StoreKind } from '../contracts/backupable.ts'
import type { Catalog } from '../contracts/catalog.ts'
import type { Destination } from '../contracts/destination.ts'
import { CATALOG, DESTINATION, SWAPPABLE } from '../contracts/kinds.ts'
import { type Manifest, hasSections, recordCount } from '../contracts/manifest.ts'
import type { Swappable } from '../contracts/swappable.ts'
import { messageOf } from '../errors/error-message.ts'
import {
  DestinationNoSpaceError, InvalidArgumentError, isHoldfastError, RestorePlanStaleError, SchemaVersionMismatchError, StoreIdMismatchError,
  StoreKindMismatchError,
} from '../errors/errors.ts'
import { checkManifest } from '../format/manifest.ts'
import { openBackup, StoredBackup } from '../repository/stored-backup.ts'
import { BOOLEAN, type OptionKinds, SIGNAL, STRING, checkOptions, optional } from '../util/check-options.ts'
import { formatBytes, formatTime, plural, printable } from '../util/text.ts'

export interface PlanRestoreOptions {
  /** The store to be replaced: a live handle, or a home without a server. */
  readonly target: Swappable
  readonly destination: Destination
  readonly backupId: string
  /** The catalog whose record of the backup is compared; one that cannot be read is ignored. @default none */
  readonly catalog?: Catalog | undefined
  /** Whether a backup of another store may be restored; the target keeps its own ID. @default false */
  readonly allowStoreId?: boolean | undefined
  /** Whether a backup that differs from the catalog's record may be restored. @default false */
  readonly allowAltered?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

export const PLAN_OPTIONS: OptionKinds<PlanRestoreOptions> = {
  target: SWAPPABLE,
  destination: DESTINATION,
  backupId: STRING,
  catalog: optional(CATALOG),
  allowStoreId: optional(BOOLEAN),
  allowAltered: optional(BOOLEAN),
  signal: optional(SIGNAL),
}

/** A store as a plan found it. */
export interface PlannedTarget {
  readonly kind: StoreKind
  readonly schemaVersion: number
  /** Left out where there is no store yet. */
  readonly storeId?: string | undefined
  /** The engine that the restore replaces; left out where there is no store yet. */
  readonly live?: string | undefined
  /** The engine that an earlier restore kept, which is removed; left out where none is kept. */
  readonly previous?: string | undefined
}

/** What a restore will do, as plain data to show, send as JSON, confirm, and run with `restoreBackup`. */
export interface RestorePlan {
  readonly backupId: string
  /** URL of the destination. */
  readonly destination: string
  readonly manifest: Manifest
  /** SHA-256 of the stored manifest. */
  readonly manifestSha256: string
  readonly target: PlannedTarget
  /** The store's ID after the restore: its own, or the backup's where there is no store yet. */
  readonly storeId: string
  /** Bytes on the store's disk: about how many are needed, and how many are free, if known. */
  readonly space: { readonly neededBytes: number; readonly freeBytes?: number | undefined }
  readonly allowStoreId: boolean
  readonly allowAltered: boolean
}

/** Kinds with the same records: a backup of one restores into the other. */
const ALIKE: ReadonlySet<StoreKind> = new Set(['memory', 'level'])

/** An engine takes about the bytes of the stream, and its log while it is filled. */
const SPACE_FACTOR = 1.1

/**
 * Makes the plan of a restore; changes nothing. Reads the manifest once, and compares the sizes of the objects with it.
 *
 * Rejects with `invalid_argument` for a malformed backup ID, `manifest_missing`, `manifest_invalid`, `manifest_version_unsupported`,
 * `manifest_feature_unsupported`, `backup_altered`, `backup_incomplete`, `store_kind_mismatch`, `store_id_mismatch`,
 * `schema_version_mismatch`, `destination_no_space`, what the destination rejects with, and the signal's reason.
 */
export async function planRestore(options: PlanRestoreOptions): Promise<RestorePlan> {
  checkOptions('planRestore', options, PLAN_OPTIONS)
  const { target, destination, backupId, catalog, allowStoreId = false, allowAltered = false, signal } = options
  const backup = await openBackup({ destination, backupId, signal })
  if (!allowAltered) await compareIfPossible(backup, catalog)
  const { manifest, manifestSha256 } = backup
  const now = await lookAt(target)
  checkMatch(manifest, now, allowStoreId)
  checkSections(manifest, target)
  await backup.checkSizes({ signal })
  const space = await checkSpace(manifest, target)
  return { backupId, destination: destination.url, manifest, manifestSha256, target: now, storeId: storeIdAfter(manifest, now), space, allowStoreId, allowAltered }
}

/** The options to run a plan. */
export type RunPlanOptions = Pick<PlanRestoreOptions, 'target' | 'destination' | 'catalog'>

/**
 * Checks, before a plan is run, that it still holds, and resolves with it as it was read. The backup is not read again: what is stored must
 * have the digests that the planned manifest says. The plan may come from anywhere: what is not as `planRestore` made it is refused.
 *
 * Rejects with `restore_plan_stale` when the store is not as it was planned, `invalid_argument` for a plan of another destination or one
 * that is malformed, and as `planRestore` does.
 */
export async function checkPlan(given: RestorePlan, { target, destination, catalog }: RunPlanOptions): Promise<RestorePlan> {
  const plan = readPlan(given)
  const { backupId, manifest, allowStoreId, allowAltered } = plan
  if (plan.destination !== destination.url) {
    throw refusePlan(`it is of backup ${backupId} at ${JSON.stringify(plan.destination)}, not of one at ${JSON.stringify(destination.url)}`)
  }
  const now = await lookAt(target)
  if (!isDeepStrictEqual(withoutGaps(plan.target), withoutGaps(now))) {
    throw new RestorePlanStaleError(`Cannot run the plan to restore backup ${backupId}: the store changed after the plan was made`, {
      details: { backupId, expected: plan.target, actual: now },
    })
  }
  if (plan.storeId !== storeIdAfter(manifest, now)) {
    throw new InvalidArgumentError(`Cannot run the restore plan: the store would have the ID ${JSON.stringify(storeIdAfter(manifest, now))}, not ${JSON.stringify(plan.storeId)}`)
  }
  if (!allowAltered) await compareIfPossible(backupOf(plan, destination), catalog)
  checkMatch(manifest, now, allowStoreId)
  checkSections(manifest, target)
  await checkSpace(manifest, target)
  return plan
}

/** A plan whose manifest is read as strictly as a stored one. */
function readPlan(plan: RestorePlan): RestorePlan {
  const { backupId, allowStoreId, allowAltered } = plan
  if (typeof allowStoreId !== 'boolean' || typeof allowAltered !== 'boolean') throw refusePlan('allowStoreId and allowAltered must each be true or false')
  try {
    return { ...plan, manifest: checkManifest({ ...plan.manifest }, backupId) }
  } catch (cause) {
    throw refusePlan(messageOf(cause), cause)
  }
}

function refusePlan(what: string, cause?: unknown): InvalidArgumentError {
  return new InvalidArgumentError(`Cannot run the restore plan: ${what}`, { cause, hint: 'Make a new plan with planRestore, and run it as it is' })
}

/** The ID that a store has after a restore: it keeps its own. */
function storeIdAfter(manifest: Manifest, { storeId = manifest.storeId }: PlannedTarget): string {
  return storeId
}

/** Opens the backup of a plan without reading its manifest again. */
export function backupOf(plan: RestorePlan, destination: Destination): StoredBackup {
  return new StoredBackup(destination, plan)
}

/** The lines of a plan, for people. `place` is the name of the store. */
export function describePlan({ manifest, target, space }: RestorePlan, place = 'the store'): string[] {
  const { backupId, createdAt, storeId, storeKind, payload, payloadIds } = manifest
  const { neededBytes, freeBytes } = space
  const shown = printable(place)
  return [
    `Backup ${backupId} of ${formatTime(createdAt)}: ${printable(storeKind)} store ${printable(storeId)}, ${plural(recordCount(manifest), 'record')}, ` +
      `${plural(payloadIds.count, 'payload ID')}, ${formatBytes(payload.bytes)}`,
    ...(target.live === undefined
      ? [`There is no store at ${shown} yet: it will be created`]
      : [`It replaces everything in ${shown} (store ${printable(target.storeId ?? 'unknown')}), which is kept for "holdfast rollback"`]),
    ...(target.previous === undefined ? [] : ['The store kept from an earlier restore will be removed']),
    ...(freeBytes === undefined ? [] : [`It needs about ${formatBytes(neededBytes)} next to the store, where ${formatBytes(freeBytes)} are free`]),
  ]
}

/**
 * Compares a backup with the catalog; rejects with `backup_altered`. An unreadable catalog is ignored, because the job warns of it anyway.
 */
export async function compareIfPossible(backup: StoredBackup, catalog: Catalog | undefined): Promise<void> {
  try {
    await backup.compareWith(catalog)
  } catch (error) {
    if (!isHoldfastError(error) || error.code !== 'catalog_unavailable') throw error
  }
}

async function lookAt(target: Swappable): Promise<PlannedTarget> {
  const { kind, schemaVersion } = target
  const { live, previous } = await target.engines()
  return { kind, schemaVersion, storeId: await target.readStoreId(), live, previous }
}

/** A target without undefined fields, as it comes back from JSON. */
function withoutGaps(target: PlannedTarget): object {
  return Object.fromEntries(Object.entries({ ...target }).filter(([, value]) => value !== undefined))
}

function checkMatch(manifest: Manifest, target: PlannedTarget, allowStoreId: boolean): void {
  const { backupId, storeKind, schemaVersion } = manifest
  if (storeKind !== target.kind && !(ALIKE.has(storeKind) && ALIKE.has(target.kind))) {
    throw new StoreKindMismatchError(`Cannot restore backup ${backupId}: it is of a "${storeKind}" store, but the target is a "${target.kind}" store`, {
      details: { expected: target.kind, actual: storeKind },
    })
  }
  if (schemaVersion !== target.schemaVersion) {
    throw new SchemaVersionMismatchError(`Cannot restore backup ${backupId}: its records have schema version ${schemaVersion}, but the target has ${target.schemaVersion}`, {
      details: { expected: target.schemaVersion, actual: schemaVersion },
    })
  }
  checkStoreId(manifest, { targetId: target.storeId, allowStoreId })
}

/** Throws `store_kind_mismatch` for the records of an embedder's database, whose kind may be that of a metadata store. */
function checkSections(manifest: Manifest, { sections }: Swappable): void {
  if (sections === undefined || hasSections(manifest, sections)) return
  const { backupId, records } = manifest
  const actual = Object.keys(records)
  throw new StoreKindMismatchError(`Cannot restore backup ${backupId}: it has the sections ${actual.join(', ')}, but the target has ${sections.join(', ')}`, {
    details: { expected: sections, actual },
  })
}

/** Throws `store_id_mismatch` for a backup of another store, unless that is allowed. */
export function checkStoreId(
  { backupId, storeId }: Manifest,
  { targetId, allowStoreId }: { readonly targetId: string | undefined; readonly allowStoreId: boolean },
): void {
  if (targetId === undefined || targetId === storeId || allowStoreId) return
  throw new StoreIdMismatchError(`Cannot restore backup ${backupId}: it is of store "${storeId}", but the target is store "${targetId}"`, {
    details: { expected: targetId, actual: storeId },
  })
}

async function checkSpace({ backupId, payload }: Manifest, target: Swappable): Promise<RestorePlan['space']> {
  const freeBytes = await target.freeBytes()
  const neededBytes = Math.ceil(payload.bytes * SPACE_FACTOR)
  if (freeBytes === undefined || freeBytes >= neededBytes) return { neededBytes, freeBytes }
  throw new DestinationNoSpaceError(`Cannot restore backup ${backupId}: the store's disk has ${freeBytes} bytes free, and about ${neededBytes} are needed`, {
    hint: 'Free space on the disk of the store, then try again',
    details: { freeBytes, neededBytes },
  })
}
