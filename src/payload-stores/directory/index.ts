/** Payload stores in directories: a file for each payload, named by its SHA-256. */
export { openToSweep, type OpenToSweepOptions } from './open-to-sweep.ts'
export { PayloadDirectory, type PayloadDirectoryOptions, payloadIdOf } from './payload-directory.ts'
export type { KnownUser, PayloadUser } from '../../contracts/payload-store.ts'
