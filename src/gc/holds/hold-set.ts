/**
 * Finds what is held: the payload IDs of every backup at every destination, and of every lease.
 *
 * The result is complete, or an error: a sweep that knew only some of the holds would delete too much.
 */
import type { Catalog, CatalogBackup } from '../../contracts/catalog.ts'
import type { Lease, PayloadIdsName } from '../../contracts/hold-events.ts'
import type { Destination } from '../../contracts/destination.ts'
import { messageOf } from '../../errors/error-message.ts'
import { HoldUnavailableError, isHoldfastError } from '../../errors/errors.ts'
import { decodePayloadIdBatches } from '../../payload-ids/payload-id-set.ts'
import { listIds } from '../../repository/destination-calls.ts'
import { type FoundBackup, listBackups } from '../../repository/list-backups.ts'
import type { StoredBackup } from '../../repository/stored-backup.ts'
import type { HeldIds } from './held-ids.ts'
import type { BackupHolder, Holder, HoldSource, LeaseHolder, ReadHoldsOptions } from './hold-source.ts'
import { readUnion } from './hold-union.ts'
import { checkedPayloadIds, type PayloadIdsCache } from '../leases/payload-ids-cache.ts'
import type { UnionStore } from './union-store.ts'

export interface HoldPlaces {
  /** Without a catalog, leases and missing backups go unnoticed: enough to look, not to delete. */
  readonly catalog: Catalog | undefined
  /** All destinations at which the catalog may have a backup. */
  readonly destinations: readonly Destination[]
  /**
   * Whether a destination may be empty if the catalog never had a backup there. After the loss of a catalog,
   * such a destination may be the empty directory under a file system that is not mounted. @default true
   */
  readonly mayBeEmpty?: boolean | undefined
  readonly cache?: PayloadIdsCache | undefined
}

/** The holds, and where the IDs of each are read. */
export interface FoundHolds {
  readonly holders: readonly Holder[]
  /** Leases that hold everything. If there is one, nothing else matters. */
  readonly everything: readonly LeaseHolder[]
  readonly sources: readonly HoldSource[]
}

/** Backups between two calls of `onTurn`. */
const TURN_BACKUPS = 16
const AGAIN = { hint: 'Nothing was deleted. Make the destination readable and whole, then try again' }

/**
 * Finds all holds.
 *
 * Rejects with the signal's reason, and with `hold_unavailable` when
 * - the catalog, a list of backups, or a manifest cannot be read;
 * - a manifest is of an unknown version, or not the one that the catalog recorded;
 * - a backup of the catalog is missing at its destination, unless only a sweep recorded it;
 * - a destination is empty and may not be (`mayBeEmpty`).
 */
export async function findHolds(sources: HoldPlaces, options: ReadHoldsOptions = {}): Promise<FoundHolds> {
  const { catalog, destinations, mayBeEmpty = true, cache } = sources
  // Leases first: what is published or handed over after this is in the lists below, or raises the generation.
  const leases = await orUnavailable('the leases of the catalog', options.signal, async () => (await catalog?.leases()) ?? [])
  const { known, places } = await orUnavailable('the backups of the catalog', options.signal, () => knownBackups(catalog))
  const holders: Holder[] = []
  const stored = new Map<Holder, StoredBackup>()
  for (const lease of leases) holders.push(await leaseHolder(lease, cache))
  for (const destination of destinations) {
    const expected = known.filter((backup) => backup.destination === destination.url)
    const found = await backupsAt(destination, expected, { catalog, ...options })
    if (!mayBeEmpty && found.length === 0 && !places.has(destination.url)) throw emptyAt(destination)
    for (const backup of found) {
      const holder = backupHolder(backup)
      holders.push(holder)
      stored.set(holder, backup)
    }
  }
  checkDestinations(known, destinations)
  await recordUnknown([...stored.values()], { catalog, known, leases, ...options })
  const everything = holders.filter((holder): holder is LeaseHolder => holder.kind === 'lease' && holder.payloadIds === undefined)
  return { holders, everything, sources: sourcesOf(holders, { cache, stored, signal: options.signal }) }
}

/**
 * Reads the union of all sets. The caller closes it.
 * Rejects with `hold_unavailable` when a set cannot be read or is not what its manifest says, and when the union cannot be kept.
 */
export async function uniteHolds(sources: readonly HoldSource[], unions: UnionStore, options: ReadHoldsOptions = {}): Promise<HeldIds> {
  return await orUnavailable('the payload IDs of the backups', options.signal, async () => {
    try {
      return await readUnion(sources, unions, options)
    } catch (error) {
      if (!isDamaged(error)) throw error
      // The copies on local disk may be what is damaged: fetch the sets again.
      await Promise.all(sources.map((source) => source.forget()))
      return await readUnion(sources, unions, options)
    }
  })
}

/** Finds the holders of one payload, with the leases that hold everything. Rejects with `hold_unavailable`. */
export async function holdersIn({ everything, sources }: FoundHolds, payloadId: string, { signal }: ReadHoldsOptions = {}): Promise<readonly Holder[]> {
  return await orUnavailable('the payload IDs of the backups', signal, async () => {
    const holders: Holder[] = [...everything]
    for (const source of sources) if (await hasId(source, payloadId)) holders.push(...source.holders)
    return holders
  })
}

async function hasId(source: HoldSource, payloadId: string): Promise<boolean> {
  let found = false
  // Read to the end: only there the checksum proves that the bytes are those of the backup.
  for await (const batch of decodePayloadIdBatches(source.read())) found ||= batch.includes(payloadId)
  return found
}

function isDamaged(error: unknown): boolean {
  return isHoldfastError(error) && (error.code === 'restore_corrupt' || error.code === 'checksum_mismatch' || (error.code === 'hold_unavailable' && isDamaged(error.cause)))
}

/** The backups of the catalog, and the URLs of all destinations at which the catalog ever had one. */
async function knownBackups(catalog: Catalog | undefined): Promise<{ readonly known: readonly CatalogBackup[]; readonly places: ReadonlySet<string> }> {
  const known: CatalogBackup[] = []
  const places = new Set<string>()
  if (catalog === undefined) return { known, places }
  for await (const backup of catalog.backups()) {
    places.add(backup.destination)
    if (backup.deletedAt === undefined) known.push(backup)
  }
  return { known, places }
}

function emptyAt({ url }: Destination): HoldUnavailableError {
  return new HoldUnavailableError(`Cannot tell what is held: ${JSON.stringify(url)} lists no backup, and the catalog never had one there`, {
    hint: 'Nothing was deleted. Check that the destination is mounted and the right one. If it has no backups yet, pass --allow-empty (mayBeEmpty: true)',
    details: { destination: url },
  })
}

/** A lease as a holder. A narrowed lease whose set is no longer kept holds everything again. */
async function leaseHolder({ leaseId, purpose, storeId, takenAt, payloadIds }: Lease, cache: PayloadIdsCache | undefined): Promise<LeaseHolder> {
  const kept = payloadIds && (await cache?.get(payloadIds))
  await kept?.close()
  return { kind: 'lease', leaseId, purpose, storeId, since: takenAt, payloadIds: kept && payloadIds }
}

interface UnknownOptions extends ReadHoldsOptions {
  readonly catalog: Catalog | undefined
  readonly known: readonly CatalogBackup[]
  readonly leases: readonly Lease[]
}

/**
 * Records backups that the catalog does not have, so that later changes are seen; they may still go, for others may have taken them. A
 * backup under a lease is being taken: its job records it.
 */
async function recordUnknown(found: readonly StoredBackup[], { catalog, known, leases, recordFor, signal }: UnknownOptions): Promise<void> {
  if (catalog === undefined || recordFor === undefined) return
  const places = new Set(known.map(({ backupId, destination }) => `${backupId} ${destination}`))
  const isKnown = ({ backupId, url }: StoredBackup): boolean => places.has(`${backupId} ${url}`) || leases.some((lease) => lease.backupId === backupId)
  const unknown = found.filter((backup) => recordFor.has(backup.manifest.storeId) && !isKnown(backup))
  if (unknown.length === 0) return
  const at = new Date().toISOString()
  await orUnavailable('the backups of the catalog', signal, () => catalog.append(...unknown.map((backup) => backup.recordedAt(at, 'sweep'))))
}

type ListingOptions = ReadHoldsOptions & { readonly catalog: Catalog | undefined }

function backupHolder({ backupId, url, manifest }: StoredBackup): BackupHolder {
  const { storeId, createdAt, payloadIds } = manifest
  return { kind: 'backup', backupId, destination: url, storeId, since: createdAt, payloadIds }
}

async function backupsAt(destination: Destination, expected: readonly CatalogBackup[], options: ListingOptions): Promise<readonly StoredBackup[]> {
  const { signal, onTurn } = options
  const found: StoredBackup[] = []
  const gone = new Set<string>()
  const recorded = new Map(expected.map((backup) => [backup.backupId, backup]))
  const what = `the backups at ${JSON.stringify(destination.url)}`
  for await (const entry of eachOrUnavailable(what, signal, listBackups(destination, async (backupId) => recorded.get(backupId), { signal }))) {
    if ((found.length + gone.size) % TURN_BACKUPS === 0) await onTurn?.()
    if (entry.state === 'readable') found.push(entry.backup)
    else if (entry.state === 'gone') gone.add(entry.backupId)
    else throw unreadable(entry, destination, signal)
  }
  if (gone.size > 0) await checkGone(destination, gone, signal)
  const isFound = (backupId: string): boolean => found.some((holder) => holder.backupId === backupId)
  const mustBeThere = expected.filter(({ how }) => how !== 'sweep')
  // A list without a single expected backup may be the empty directory under a file system that is not mounted.
  const isTheOne = expected.some(({ backupId }) => isFound(backupId))
  for (const { backupId } of mustBeThere) {
    if (isFound(backupId) || (await isDeleted({ destination, backupId, isTheOne }, options))) continue
    throw new HoldUnavailableError(`Cannot tell what is held: backup ${backupId} is not listed at ${JSON.stringify(destination.url)}, but the catalog has it`, {
      hint:
        'Nothing was deleted. Check that the destination is mounted and the right one. ' +
        `If the backup is gone for good, or its deletion was cut off, run "holdfast delete ${backupId}" with its store or catalog`,
      details: { backupId, destination: destination.url },
    })
  }
  return found
}

function unreadable(
  { backupId, state, error }: Exclude<FoundBackup, { readonly state: 'readable' | 'gone' }>,
  { url }: Destination,
  signal: AbortSignal | undefined,
): unknown {
  if (state !== 'altered') return unavailable(`the manifest of backup ${backupId} at ${JSON.stringify(url)}`, error, signal)
  return new HoldUnavailableError(`Cannot tell what is held: ${error.message}`, {
    cause: error,
    retryable: false,
    hint: `Nothing was deleted. ${error.hint}`,
    details: error.details,
  })
}

/** Checks that listed backups without a manifest were deleted meanwhile: they must not be listed again. */
async function checkGone(destination: Destination, gone: ReadonlySet<string>, signal: AbortSignal | undefined): Promise<void> {
  let still: string | undefined
  const what = `the backups at ${JSON.stringify(destination.url)}`
  for await (const backupId of eachOrUnavailable(what, signal, listIds(destination, { signal }))) if (gone.has(backupId)) still ??= backupId
  if (still === undefined) return
  throw new HoldUnavailableError(`Cannot tell what is held: backup ${still} is listed at ${JSON.stringify(destination.url)}, but its manifest is missing`, {
    ...AGAIN,
    details: { backupId: still, destination: destination.url },
  })
}

/** Whether the backup was deleted, or is being deleted and the destination is known to be the right one. */
async function isDeleted(
  { destination, backupId, isTheOne }: { readonly destination: Destination; readonly backupId: string; readonly isTheOne: boolean },
  { catalog, signal }: ListingOptions,
): Promise<boolean> {
  const backup = await orUnavailable('the backups of the catalog', signal, async () => await catalog?.backup(backupId, destination.url))
  return backup?.deletedAt !== undefined || (isTheOne && backup?.deletionStartedAt !== undefined)
}

function checkDestinations(known: readonly CatalogBackup[], destinations: readonly Destination[]): void {
  const elsewhere = known.find((backup) => backup.how !== 'sweep' && !destinations.some(({ url }) => url === backup.destination))
  if (elsewhere === undefined) return
  const { backupId, destination } = elsewhere
  throw new HoldUnavailableError(`Cannot tell what is held: the catalog has backup ${backupId} at ${JSON.stringify(destination)}, a destination that was not given`, {
    hint: 'Nothing was deleted. Name every destination that the catalog has backups at',
    details: { backupId, destination },
  })
}

interface SourceOptions {
  readonly cache: PayloadIdsCache | undefined
  /** The backups, whose sets are read from them. */
  readonly stored: ReadonlyMap<Holder, StoredBackup>
  readonly signal: AbortSignal | undefined
}

function sourcesOf(holders: readonly Holder[], options: SourceOptions): readonly HoldSource[] {
  const byDigest = new Map<string, { readonly name: PayloadIdsName; readonly holders: Holder[] }>()
  for (const holder of holders) {
    const { payloadIds: name } = holder
    if (name === undefined) continue
    const key = `${name.sha256} ${name.bytes}`
    const same = byDigest.get(key)
    if (same === undefined) byDigest.set(key, { name, holders: [holder] })
    else same.holders.push(holder)
  }
  return [...byDigest.values()].map(({ name, holders }) => ({
    name,
    holders,
    read: () => readSource({ name, holders }, options),
    async openCopy() {
      const kept = await options.cache?.get(name)
      if (kept !== undefined || options.cache === undefined) return kept
      await options.cache.put(name, readSource({ name, holders }, options))
      return await options.cache.get(name)
    },
    forget: async () => await options.cache?.drop(name),
  }))
}

/** Reads a set from the cache, where a lease may have left it, else from a destination. */
async function* readSource(
  { name, holders }: Pick<HoldSource, 'name' | 'holders'>,
  { cache, stored, signal }: SourceOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const what = `the payload IDs of ${holders.map(nameOfHolder).join(', ')}`
  const kept = await orUnavailable(what, signal, async () => await cache?.get(name))
  try {
    const backup = holders.map((holder) => stored.get(holder)).find((backup) => backup !== undefined)
    if (kept === undefined && backup === undefined) throw new HoldUnavailableError(`Cannot find the payload ID set ${name.sha256} that a lease holds`)
    yield* eachOrUnavailable(what, signal, kept === undefined ? (backup as StoredBackup).read('payload-ids', { signal }) : checkedPayloadIds(name, kept.read()))
  } finally {
    await kept?.close()
  }
}

/** A holder in words, for messages. */
export function nameOfHolder(holder: Holder): string {
  return holder.kind === 'backup' ? `backup ${holder.backupId} at ${JSON.stringify(holder.destination)}` : `lease ${holder.leaseId} (${holder.purpose})`
}

async function orUnavailable<T>(what: string, signal: AbortSignal | undefined, read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (error) {
    throw unavailable(what, error, signal)
  }
}

async function* eachOrUnavailable<T>(what: string, signal: AbortSignal | undefined, items: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  try {
    yield* items
  } catch (error) {
    throw unavailable(what, error, signal)
  }
}

/** Turns a failure to read a source of holds into `hold_unavailable`, or into the reason of an aborted signal. */
function unavailable(what: string, cause: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted === true) return signal.reason
  if (isHoldfastError(cause) && cause.code === 'hold_unavailable') return cause
  const retryable = isHoldfastError(cause) ? cause.retryable : undefined
  return new HoldUnavailableError(`Cannot tell what is held: ${what} cannot be read: ${messageOf(cause)}`, {
    cause,
    retryable,
    hint: isHoldfastError(cause) ? `Nothing was deleted. ${cause.hint}` : AGAIN.hint,
  })
}
