/** The advisory lock that lets writers of a store in every process be held off while its schema is replaced. */
import { createHash } from 'node:crypto'

/** Two signed 32-bit numbers, as `pg_advisory_lock(int, int)` takes them. */
export type AdvisoryLockKey = readonly [number, number]

/**
 * The key that every mutating transaction takes shared (`pg_try_advisory_xact_lock_shared`) before anything else, and gives up when it is not
 * given. Who takes it exclusively has no writer beside him, and keeps new ones out from the moment he waits for it. It goes by the schema's
 * name, and so stays with the name when schemas are renamed.
 */
export function writeLockKey(schema: string): AdvisoryLockKey {
  return lockKey('writes', schema)
}

/** The key that is taken exclusively, and waited for, while a schema is made or migrated. */
export function migrationLockKey(schema: string): AdvisoryLockKey {
  return lockKey('migrations', schema)
}

/** The key that is taken exclusively, and waited for, by what moves a directory to another: two moves at once could make a ring. */
export function moveLockKey(schema: string): AdvisoryLockKey {
  return lockKey('moves', schema)
}

/** The key that is taken exclusively by whoever changes which engine of the store is live, or what engines there are. */
export function homeLockKey(schema: string): AdvisoryLockKey {
  return lockKey('homes', schema)
}

/** The key that is taken shared by what needs the payloads of a store to stay, and exclusively by what sweeps them. */
export function payloadLockKey(schema: string): AdvisoryLockKey {
  return lockKey('payloads', schema)
}

/** The key that is taken exclusively by whoever uses a trial's schema, for as long as it does. */
export function trialLockKey(schema: string): AdvisoryLockKey {
  return lockKey('trials', schema)
}

function lockKey(purpose: string, schema: string): AdvisoryLockKey {
  const digest = createHash('sha256').update(`holdfast ${purpose}\0${schema}`).digest()
  return [digest.readInt32BE(0), digest.readInt32BE(4)]
}
