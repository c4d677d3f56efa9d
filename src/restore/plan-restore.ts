/** Whether a backup can be restored into a store: found out before anything is touched. */
import type { StoreKind } from '../contracts/backupable.ts'
import type { Catalog } from '../contracts/catalog.ts'
import type { Destination } from '../contracts/destination.ts'
import {
  BackupUnsupportedError,
  DestinationNoSpaceError,
  isHoldfastError,
  SchemaVersionMismatchError,
  StoreIdMismatchError,
  StoreKindMismatchError,
} from '../errors/errors.ts'
import type { Manifest } from '../contracts/manifest.ts'
import { openBackup, type StoredBackup } from '../repository/stored-backup.ts'
import type { Engines, Swappable } from '../contracts/swappable.ts'

export interface PrepareOptions {
  readonly target: Swappable
  readonly destination: Destination
  readonly backupId: string
  /** Whose record of the backup is compared; one that cannot be read does not stand in the way of a restore. */
  readonly catalog?: Catalog | undefined
  readonly allowStoreId?: boolean | undefined
  readonly allowAltered?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

export interface RestorePlan {
  readonly backup: StoredBackup
  /** The ID that the store has afterwards: its own, or the backup's where there is no store yet. */
  readonly storeId: string
  readonly engines: Engines
}

/** Kinds whose records are the same, so that a backup of one restores into the other. */
const ALIKE: ReadonlySet<StoreKind> = new Set(['memory', 'level'])

/** An engine takes about the bytes of the stream, and while it is filled its log too. */
const SPACE_FACTOR = 1.1

export async function prepare({ target, destination, backupId, catalog, allowStoreId = false, allowAltered = false, signal }: PrepareOptions): Promise<RestorePlan> {
  const backup = await openBackup({ destination, backupId, signal })
  if (!allowAltered) await compareIfPossible(backup, catalog)
  const { manifest } = backup
  checkKind(manifest, target)
  const targetId = await target.readStoreId()
  checkStoreId(manifest, { targetId, allowStoreId })
  await backup.checkSizes({ signal })
  await checkSpace(manifest, target)
  return { backup, storeId: targetId ?? manifest.storeId, engines: await target.engines() }
}

/** Rejects with `backup_altered`. A catalog that cannot be read is no reason to leave a store unrestored: that the job is not recorded is warned of anyway. */
export async function compareIfPossible(backup: StoredBackup, catalog: Catalog | undefined): Promise<void> {
  try {
    await backup.compareWith(catalog)
  } catch (error) {
    if (!isHoldfastError(error) || error.code !== 'catalog_unavailable') throw error
  }
}

function checkKind({ backupId, storeKind, schemaVersion, encryption }: Manifest, target: Swappable): void {
  if (storeKind !== target.kind && !(ALIKE.has(storeKind) && ALIKE.has(target.kind))) {
    throw new StoreKindMismatchError(`Cannot restore backup ${backupId}: it is of a store of kind "${storeKind}", and the target is of kind "${target.kind}"`, {
      details: { expected: target.kind, actual: storeKind },
    })
  }
  if (schemaVersion !== target.schemaVersion) {
    throw new SchemaVersionMismatchError(`Cannot restore backup ${backupId}: its records are of schema version ${schemaVersion}, and the target has ${target.schemaVersion}`, {
      details: { expected: target.schemaVersion, actual: schemaVersion },
    })
  }
  checkReadable({ backupId, encryption })
}

/** That it is not encrypted. */
export function checkReadable({ backupId, encryption }: Pick<Manifest, 'backupId' | 'encryption'>): void {
  if (encryption !== null) throw new BackupUnsupportedError(`Cannot restore backup ${backupId}: it is encrypted`)
}

/** That it is a backup of the target, or may be another store's. */
export function checkStoreId({ backupId, storeId }: Manifest, { targetId, allowStoreId }: { readonly targetId: string | undefined; readonly allowStoreId: boolean }): void {
  if (targetId === undefined || targetId === storeId || allowStoreId) return
  throw new StoreIdMismatchError(`Cannot restore backup ${backupId}: it is of the store "${storeId}", and the target is "${targetId}"`, {
    details: { expected: targetId, actual: storeId },
  })
}

async function checkSpace({ backupId, payload }: Manifest, target: Swappable): Promise<void> {
  const freeBytes = await target.freeBytes()
  const neededBytes = Math.ceil(payload.bytes * SPACE_FACTOR)
  if (freeBytes === undefined || freeBytes >= neededBytes) return
  throw new DestinationNoSpaceError(`Cannot restore backup ${backupId}: the store's disk has ${freeBytes} bytes free, and about ${neededBytes} are needed`, {
    hint: 'Free space on the disk of the store, then try again',
    details: { freeBytes, neededBytes },
  })
}
