/**
 * What callers give to the methods of a store, a destination and a payload store, checked in one way for all implementations. Throws
 * `TypeError`, and `RangeError` for numbers out of range.
 */
import { checkNumber, checkWholeNumber } from '../util/check-number.ts'
import { FUNCTION, type Kind, NUMBER, type OptionKinds, SIGNAL, STRING, checkArgument, checkOptions, has, oneOf, optional } from '../util/check-options.ts'
import { checkBackupId } from '../util/ulid.ts'
import { type BackupOptions, type Backupable, COMPRESSIONS, type RestoreOptions, type SnapshotSink } from './backupable.ts'
import { BACKUP_OBJECTS, type BackupObject, type CleanUpOptions, type DestinationOptions, type ReadObjectOptions } from './destination.ts'
import type { PayloadStore } from './payload-store.ts'

const SINK: Kind = has<SnapshotSink>('a sink', 'write', 'finish')
export const SOURCE: Kind = { what: 'an async iterable of bytes', fits: (value) => typeof value === 'object' && value !== null && Symbol.asyncIterator in value }
const OBJECT_NAME: Kind = oneOf(BACKUP_OBJECTS)

export const SIGNAL_OPTION: OptionKinds<DestinationOptions> = { signal: optional(SIGNAL) }
const RESTORE_OPTIONS: OptionKinds<RestoreOptions> = { ...SIGNAL_OPTION, onProgress: optional(FUNCTION) }
const BACKUP_OPTIONS: OptionKinds<BackupOptions> = {
  ...RESTORE_OPTIONS,
  backupId: optional(STRING),
  compress: optional(oneOf(COMPRESSIONS)),
  maxBytesPerSecond: optional(NUMBER),
}
const OPEN_OPTIONS: OptionKinds<ReadObjectOptions> = { ...SIGNAL_OPTION, startByte: optional(NUMBER) }
const CLEAN_UP_OPTIONS: OptionKinds<CleanUpOptions> = { ...SIGNAL_OPTION, graceMs: optional(NUMBER), nowMs: optional(NUMBER) }
export const LIST_PAYLOADS_OPTIONS: OptionKinds<NonNullable<Parameters<PayloadStore['list']>[0]>> = { ...SIGNAL_OPTION, after: optional(STRING) }

/** A store whose `backup` and `restore` check what they are given. */
export function checkedBackupable(store: Backupable): Backupable {
  return {
    ...store,
    async backup(sink, options = {}) {
      checkArgument('backup', sink, { name: 'sink', kind: SINK })
      checkOptions('backup', options, BACKUP_OPTIONS)
      return await store.backup(sink, options)
    },
    async restore(source, options = {}) {
      checkArgument('restore', source, { name: 'source', kind: SOURCE })
      checkOptions('restore', options, RESTORE_OPTIONS)
      await store.restore(source, options)
    },
  }
}

/** Checks what a destination's method for one backup is given. Throws `invalid_argument` for an ID that is not a ULID. */
export function checkBackupCall(call: 'put' | 'manifest' | 'stat' | 'delete', backupId: string, options: DestinationOptions): void {
  checkOptions(call, options, SIGNAL_OPTION)
  checkBackupId(backupId)
}

/** Checks which object of a backup is asked for. */
export function checkObjectName(call: string, object: BackupObject): void {
  checkArgument(call, object, { name: 'object', kind: OBJECT_NAME })
}

/** Checks what a destination's `open` is given. Throws `invalid_argument` for an ID that is not a ULID. */
export function checkOpenCall(backupId: string, object: BackupObject, options: ReadObjectOptions): void {
  checkObjectName('open', object)
  checkOptions('open', options, OPEN_OPTIONS)
  checkBackupId(backupId)
  checkWholeNumber('startByte', options.startByte ?? 0, { least: 0, most: Number.MAX_SAFE_INTEGER })
}

/** Checks what a destination's `cleanUp` is given. */
export function checkCleanUpCall(options: CleanUpOptions): void {
  checkOptions('cleanUp', options, CLEAN_UP_OPTIONS)
  checkNumber('graceMs', options.graceMs ?? 0, { least: 0, most: Infinity })
  checkNumber('nowMs', options.nowMs ?? 0, { least: -Number.MAX_VALUE, most: Number.MAX_VALUE })
}
