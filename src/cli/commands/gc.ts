import { type Command, Option } from 'commander'
import { HoldUnavailableError } from '../../errors/errors.ts'
import type { HeldBy } from '../../gc/holds/held-cursor.ts'
import { warnOfLease } from '../../gc/leases/leases.ts'
import { type SweepPayloadsReport, sweepPayloads } from '../../gc/sweep/sweep-payloads.ts'
import type { Tally } from '../../contracts/payload-store.ts'
import { withHolds } from '../../registry/catalogs.ts'
import { collect, parseDuration, withExamples, withStore } from '../command-options.ts'
import { withDestinations } from '../../registry/destinations.ts'
import { Output, type OutputOptions } from '../output.ts'
import { placeOf } from '../../registry/store-place.ts'
import { catalogPathOf } from '../../registry/store-url.ts'
import { withStoreOf } from '../../registry/stores.ts'
import type { Terminal } from '../terminal.ts'
import { formatBytes, formatDuration, plural, printable } from '../../util/text.ts'
import { PayloadDirectory } from '../../payload-stores/directory/payload-directory.ts'
import type { PayloadUser } from '../../payload-stores/directory/payload-users.ts'
import { describeHolder } from './holds.ts'

interface GcOptions extends OutputOptions {
  readonly store: string
  readonly payloads: string
  readonly from: readonly string[]
  readonly minAge: number
  readonly apply?: boolean | undefined
  readonly adopt?: boolean | undefined
  readonly catalog?: string | undefined
  readonly ignoreKept?: boolean | undefined
  readonly allowEmpty?: boolean | undefined
  readonly register?: boolean | undefined
}

const HOUR_MS = 60 * 60 * 1000
const HOLDERS_SHOWN = 10

export function registerGc(program: Command, terminal: Terminal): void {
  const command = withStore(program.command('gc').description('delete the payloads that neither the store nor a backup needs'))
    .requiredOption('--payloads <dir>', 'the payload directory, as "import" made it')
    .requiredOption('--from <url>', 'where backups of the store are; give all of them', collect)
    .addOption(new Option('--min-age <time>', 'how long a payload must have been of no use, such as 90m, 1h or 7d').argParser(parseDuration).default(HOUR_MS, '1h'))
    .option('--apply', 'do it; without this, nothing is changed')
    .option('--catalog <path>', "the store's catalog (default: the directory catalog within the store's)")
    .option('--allow-empty', 'believe a --from that lists no backup, and of which the catalog never had one')
    .option('--register', 'take the store for the only one that needs payloads of a directory that knows of none, and note it there')
    .option('--ignore-kept', 'give up what only the store kept for "rollback" needs')
  withExamples(
    command,
    [
      ['gc --store level:/srv/metadata --payloads /srv/payloads --from file:/backups', 'say what would be deleted'],
      ['gc --store level:/srv/metadata --payloads /srv/payloads --from file:/backups --apply', 'mark what is of no use, delete what was marked an hour ago'],
    ],
    `A payload is deleted when a run marked it as needed by nothing, the minimum age passed since, and a later look finds it so still: run it
regularly. If anything that may hold payloads cannot be read, nothing is deleted. No other process may have a LevelDB store open. A
Postgres store may be in service, of servers that write or renew a payload within the minimum age before they refer to it; while it is backed up, restored or
imported into by another command, a sweep is refused, and these while it is swept. Files that a killed import left half written
go after a day, by this or by the next import.
A payload directory knows the stores that need payloads there, by ID and place: "import", "restore" and "convert" note it, with --payloads. When it
knows of another store, or of none, nothing is deleted.`,
  )
  command.action((options: GcOptions) => gc(options, terminal))
}

async function gc(options: GcOptions, terminal: Terminal): Promise<void> {
  const output = new Output(terminal, options)
  const catalogPath = catalogPathOf(options.store, options.catalog)
  await withDestinations(options.from, async (destinations) => {
    await withStoreOf(options.store, { adopt: options.adopt }, async (store) => {
      const user = { storeId: store.storeId, place: await placeOf(options.store) }
      const use = options.apply === true ? 'sweep' : 'need'
      await withHolds({ store: options.store, use, catalogPath, create: false, destinations, mayBeEmpty: options.allowEmpty === true, signal: terminal.signal }, async ({ holds, signal, check }) => {
        const payloads: PayloadDirectory = await PayloadDirectory.open(options.payloads, {
          beforeDelete: async () => {
            await check()
            await refuseOthers(payloads, user)
          },
        })
        await refuseOthers(payloads, user)
        if (options.register !== true) await refuseUnknown(payloads, user)
        if (options.apply === true) {
          await payloads.addUser(user)
          await payloads.removeAbandoned()
        }
        const progress = output.progress('gc')
        try {
          const report = await sweepPayloads({
            payloads,
            stores: [options.ignoreKept === true ? { storeId: store.storeId, payloadIds: () => store.payloadIds() } : store],
            holds,
            minAgeMs: options.minAge,
            dryRun: options.apply !== true,
            signal,
            onProgress: ({ phase, payloads: count }) => progress.update({ label: `gc: ${phase}`, bytes: 0, totalBytes: 0, count, noun: 'payloads' }),
          })
          progress.end()
          for (const lease of report.leases.unproven) await output.warn(printable(warnOfLease(lease).message))
          payloads.checkDeleted()
          await output.result(report, () => describeReport(report, options))
        } finally {
          progress.end()
        }
      })
    })
  })
}

/** A store that is not asked what it refers to would lose its payloads. */
async function refuseOthers(payloads: PayloadDirectory, { storeId, place }: PayloadUser): Promise<void> {
  const other = (await payloads.users()).find((user) => user.storeId !== storeId || (user.place ?? place) !== place)
  if (other === undefined) return
  const where = other.place === undefined ? '' : ` at ${JSON.stringify(other.place)}`
  const which = other.storeId === storeId ? 'a copy of it' : `the store "${other.storeId}"`
  throw new HoldUnavailableError(`Cannot sweep ${JSON.stringify(payloads.path)} for the store "${storeId}" at ${JSON.stringify(place)}: ${which}${where} refers to payloads there too`, {
    hint: `Nothing was deleted. Keep the payloads of each store in a directory of its own; if that store was moved from there or is gone for good, remove ${JSON.stringify(other.path)}`,
    retryable: false,
    details: { storeId: other.storeId, place: other.place },
  })
}

/** Of a directory that knows of no store it cannot be told whether others refer to payloads there: an operator must say so. */
async function refuseUnknown(payloads: PayloadDirectory, { storeId, place }: PayloadUser): Promise<void> {
  if ((await payloads.users()).length > 0) return
  throw new HoldUnavailableError(`Cannot sweep ${JSON.stringify(payloads.path)} for the store "${storeId}" at ${JSON.stringify(place)}: the directory does not say which stores refer to payloads there`, {
    hint: 'Nothing was deleted. Check that it is the right directory; if no other store needs payloads there, say so with --register',
    retryable: false,
    details: { storeId, place },
  })
}

/** A report for people, a line each. */
export function* describeReport(report: SweepPayloadsReport, { apply, minAge }: Pick<GcOptions, 'apply' | 'minAge'>): Iterable<string> {
  const { listed, live, held, heldBy, waiting, deleted, spared, heldOff, holders, oldestHold, durationMs } = report
  if (heldOff.length > 0) {
    yield deleted.payloads > 0 ? `Deleted: ${tally(deleted)}; nothing more was decided, for now everything is held` : 'Nothing was decided: everything is held'
    for (const lease of heldOff) yield `  ${describeHolder(lease)}`
    yield 'Each ends with its work. Those whose process was killed are released by two runs with --apply, a minute or more apart; one of a machine that is gone for good by "holdfast holds --release"'
    return
  }
  yield `Looked at ${tally(listed)} in ${formatDuration(durationMs)}`
  yield `Needed by the store: ${tally(live)}; by backups alone: ${tally(held)}`
  if (oldestHold !== undefined) yield `Held by ${plural(holders.length, 'backup')}; the oldest is ${describeHolder(oldestHold)}`
  yield* describeHolders(heldBy)
  if (waiting.payloads > 0) yield `Needed by nothing, but not for ${formatDuration(minAge)} yet: ${tally(waiting)}${apply === true ? '; a later run deletes them' : ''}`
  if (spared.payloads > 0) yield `Spared at the second look: ${tally(spared)}`
  yield apply === true ? `Deleted: ${tally(deleted)}` : `Would delete: ${tally(deleted)}; nothing was changed, --apply does it`
}

/** What backups alone need, by backup: those first whose deletion would free most. */
function* describeHolders(heldBy: readonly HeldBy[]): Iterable<string> {
  const first = heldBy.toSorted((left, right) => right.alone.bytes - left.alone.bytes || right.payloads.bytes - left.payloads.bytes)
  for (const { holder, payloads, alone } of first.slice(0, HOLDERS_SHOWN)) {
    yield `  ${describeHolder(holder)}: ${tally(payloads)}${alone.payloads > 0 ? `, ${tally(alone)} of it alone` : ''}`
  }
  if (first.length > HOLDERS_SHOWN) yield `  and ${plural(first.length - HOLDERS_SHOWN, 'more holder')}; --json has all`
}

function tally({ payloads, bytes }: Tally): string {
  return `${plural(payloads, 'payload')} (${formatBytes(bytes)})`
}
