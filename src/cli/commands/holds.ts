import type { Command } from 'commander'
import { type Catalog, checkPayloadId, type Destination, findHolders, type Holder, InvalidArgumentError, releaseLease } from '../../index.ts'
import { collect, withExamples, withRecord } from '../command-options.ts'
import { type RecordOptions, withParts } from '../../registry/index.ts'
import { Output, type OutputOptions } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { formatCount, formatTable, formatTime, printable } from '../../util/text.ts'

/** The length of a backup ID: a longer text is not the beginning of one. */
const ULID_LENGTH = 26

type HoldsOptions = OutputOptions & RecordOptions & { readonly from: readonly string[]; readonly release?: string | undefined }

export function registerHolds(program: Command, terminal: Terminal): void {
  const holding = program
    .command('holds')
    .description('show which backups and leases hold payloads, or one payload')
    .argument('[payload-id]', 'a payload ID, not a backup ID; without it, all holders are listed')
    .requiredOption('--from <url>', 'where backups are, such as file:/backups; may be given several times', collect)
  const command = withRecord(holding, 'also list the leases of running backups and restores, from its catalog').option('--release <lease>', 'first release this lease of that catalog; only if its owner, such as a lost machine, is gone for good')
  withExamples(command, [
    ['holds --from file:/backups', 'every backup, and how many payloads it holds'],
    ['holds 9f86d0818...0a08 --from file:/backups', 'the backups that hold this payload'],
  ])
  command.action((id: string | undefined, options: HoldsOptions) => runHolds(id, options, terminal))
}

async function runHolds(id: string | undefined, options: HoldsOptions, terminal: Terminal): Promise<void> {
  if (id === 'latest') throw namesBackup(id)
  const payloadId = id === undefined ? undefined : checkPayloadId(id)
  const { signal } = terminal
  let sawLeases = false
  const holders = await withParts(terminal, async (parts) => {
    const catalog = await parts.recordOf(options)
    sawLeases = catalog !== undefined
    if (options.release !== undefined) await release(options.release, catalog)
    const destinations = await parts.destinations(options.from)
    const found = await findHolders({ catalog, destinations, payloadId, signal })
    if (payloadId !== undefined) await refuseBackupId(payloadId, { destinations, isHeld: found.length > 0, signal })
    return found
  })
  await new Output(terminal, options).result({ payloadId, holders }, () => describe(holders, { payloadId, sawLeases }))
}

/** Refuses the ID of a listed backup, and the beginning of one if nothing holds such a payload: "nothing holds it" would mislead. */
async function refuseBackupId(
  payloadId: string,
  { destinations, isHeld, signal }: { readonly destinations: readonly Destination[]; readonly isHeld: boolean; readonly signal: AbortSignal },
): Promise<void> {
  const text = payloadId.toUpperCase()
  if (text.length > ULID_LENGTH) return
  for (const destination of destinations) {
    // Only the IDs matter: a repository's list would read every manifest.
    for await (const backupId of destination.list({ signal })) {
      if (backupId === text || (!isHeld && backupId.startsWith(text))) throw namesBackup(payloadId)
    }
  }
}

function namesBackup(text: string): InvalidArgumentError {
  return new InvalidArgumentError(`Cannot use ${JSON.stringify(text)} as a payload ID: it names a backup`, {
    hint: 'Leave it out to list what every backup holds; to see one backup, run "holdfast show"',
  })
}

/** Releases a lease whose owner is gone for good, on the word of the operator. */
async function release(leaseId: string, catalog: Catalog | undefined): Promise<void> {
  if (catalog === undefined) {
    throw new InvalidArgumentError('Cannot release a lease: no catalog is named', {
      hint: 'Name the store that the lease is for with --store, or its catalog with --catalog',
    })
  }
  if (await releaseLease(catalog, leaseId)) return
  throw new InvalidArgumentError(`Cannot release lease ${JSON.stringify(leaseId)}: the catalog does not have it`, {
    hint: 'Run "holdfast holds" without --release to see the leases',
  })
}

function describe(
  holders: readonly Holder[],
  { payloadId, sawLeases }: { readonly payloadId: string | undefined; readonly sawLeases: boolean },
): readonly string[] {
  if (holders.length === 0) {
    const what = payloadId === undefined ? 'payloads' : printable(payloadId)
    return [sawLeases ? `Nothing holds ${what}` : `No backup holds ${what}; leases were not checked; name the store with --store`]
  }
  const rows = holders.map((holder) => [
    holder.kind === 'backup' ? holder.backupId : holder.leaseId,
    holder.kind === 'backup' ? 'backup' : `lease of a ${holder.purpose}`,
    formatTime(holder.since),
    holder.payloadIds === undefined ? 'all' : formatCount(holder.payloadIds.count),
    holder.kind === 'backup' ? printable(holder.destination) : '',
  ])
  return formatTable(['HOLDER', 'KIND', 'SINCE', 'PAYLOADS>', 'AT'], rows)
}

/** A holder in one phrase. */
export function describeHolder(holder: Holder): string {
  if (holder.kind === 'backup') return `backup ${holder.backupId} of ${formatTime(holder.since)}`
  return `lease ${holder.leaseId} of a ${holder.purpose}, taken ${formatTime(holder.since)}`
}
