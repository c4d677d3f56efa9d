import { type Command, Option } from 'commander'
import { type HeldBy, sweepPayloads, type SweepPayloadsReport, type Tally, warnOfLease } from '../../index.ts'
import { CATALOG_DEFAULT, collect, parseDuration, withExamples, withStore } from '../command-options.ts'
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
    .requiredOption('--payloads <dir>', 'the payload directory that "import" made')
    .requiredOption('--from <url>', 'where backups of the store are; give every place (the option may be repeated)', collect)
    .addOption(new Option('--min-age <time>', 'how long a payload must have been unused, such as 90m, 1h or 7d').argParser(parseDuration).default(HOUR_MS, '1h'))
    .option('--apply', 'mark and delete; without it, only report')
    .option('--catalog <path>', `the store's catalog ${CATALOG_DEFAULT}`)
    .option('--allow-empty', 'proceed even if a --from has no backups and the catalog never recorded one there')
    .option('--register', 'note this store in a payload directory that knows no store yet; only if no other store uses the directory')
    .option('--ignore-kept', 'also delete payloads needed only by "rollback"')
  withExamples(
    command,
    [
      ['gc --store level:/srv/metadata --payloads /srv/payloads --from file:/backups', 'report what would be deleted'],
      ['gc --store level:/srv/metadata --payloads /srv/payloads --from file:/backups --apply', 'mark unused payloads, and delete those marked an hour ago or longer'],
    ],
    `Run it regularly: one run marks a payload as unused, and a run after the minimum age deletes it if it is still unused.
If anything that may hold payloads cannot be read, nothing is deleted. Files that a killed import left half written
go after a day.

No other process may have a LevelDB store open. A Postgres store may be in service if its servers write or renew a payload
within the minimum age before they refer to it. A sweep is refused while another command backs up, restores or imports into
the store, and those are refused during a sweep.

A payload directory records the ID and place of each store that uses it: "import", "restore" and "convert" note that with
--payloads. If the directory records another store, or none, nothing is deleted.`,
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
    const { holds } = await parts.holds({
      store: url,
      use: apply ? 'sweep' : 'need',
      catalog: options.catalog,
      create: false,
      destinations,
      mayBeEmpty: allowEmpty,
    })
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

/** The lines of a report, for people. */
export function* describeReport(report: SweepPayloadsReport, { apply, minAge }: Pick<GcOptions, 'apply' | 'minAge'>): Iterable<string> {
  const { listed, live, held, heldBy, waiting, deleted, spared, heldOff, holders, oldestHold, durationMs } = report
  if (heldOff.length > 0) {
    yield deleted.payloads > 0 ? `Deleted: ${tally(deleted)}; then stopped, because everything is held now` : 'Nothing was marked or deleted: everything is held'
    for (const lease of heldOff) yield `  ${describeHolder(lease)}`
    yield 'A lease ends with its work. If its process was killed, run this twice with --apply, a minute or more apart; if its machine is gone for good, use "holdfast holds --release ID --from URL --store URL"'
    return
  }
  yield `Looked at ${tally(listed)} in ${formatDuration(durationMs)}`
  yield `Needed by the store: ${tally(live)}; by backups alone: ${tally(held)}`
  if (oldestHold !== undefined) yield `Held by ${plural(holders.length, 'backup')}; the oldest is ${describeHolder(oldestHold)}`
  yield* describeHolders(heldBy)
  if (waiting.payloads > 0) yield `Unused, but not for ${formatDuration(minAge)} yet: ${tally(waiting)}${apply === true ? '; a later run deletes them' : ''}`
  if (spared.payloads > 0) yield `Kept after the second look: ${tally(spared)}`
  yield apply === true ? `Deleted: ${tally(deleted)}` : `Would delete: ${tally(deleted)}; nothing was changed; repeat with --apply to do it`
}

/** The payloads that only backups need, by backup; first those whose deletion would free most. */
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
