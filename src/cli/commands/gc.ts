import { type Command, Option } from 'commander'
import { type HeldBy, sweepPayloads, type SweepPayloadsReport, type Tally, warnOfLease } from '../../index.ts'
import { collect, parseDuration, withExamples, withStore } from '../command-options.ts'
import { openPayloadStoreToSweep, placeOf, withParts } from '../../registry/index.ts'
import { Output, type OutputOptions } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { formatBytes, formatDuration, plural, printable } from '../../util/text.ts'
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
  const { store: url, register, apply = false, ignoreKept = false, allowEmpty = false } = options
  await withParts(terminal, async (parts) => {
    const destinations = await parts.destinations(options.from)
    const store = await parts.store(url, { adopt: options.adopt })
    const user = { storeId: store.storeId, place: await placeOf(url) }
    const { holds } = await parts.holds({ store: url, use: apply ? 'sweep' : 'need', catalog: options.catalog, create: false, destinations, mayBeEmpty: allowEmpty })
    const payloads = await openPayloadStoreToSweep(options.payloads, { user, register, dryRun: !apply, beforeDelete: () => parts.checkGuard() })
    const progress = output.progress('gc')
    try {
      const report = await sweepPayloads({
        payloads,
        stores: [ignoreKept ? { storeId: store.storeId, payloadIds: () => store.payloadIds() } : store],
        holds,
        minAgeMs: options.minAge,
        dryRun: !apply,
        signal: parts.signal,
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
