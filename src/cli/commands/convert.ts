import type { Command } from 'commander'
import { type ConvertReport, convertStore, InvalidArgumentError } from '../../index.ts'
import { withExamples } from '../command-options.ts'
import { Output, type OutputOptions } from '../output.ts'
import { openPayloadStore, parseStoreUrl, withParts } from '../../registry/index.ts'
import type { Terminal } from '../terminal.ts'
import { formatDuration, plural, printable } from '../../util/text.ts'

interface ConvertOptions extends OutputOptions {
  readonly fromStore: string
  readonly toStore: string
  readonly payloads?: string | undefined
  readonly adopt?: boolean | undefined
}

export function registerConvert(program: Command, terminal: Terminal): void {
  const command = program
    .command('convert')
    .description('copy a metadata store into an empty one, of any kind')
    .requiredOption('--from-store <url>', 'the store to copy, such as level:/srv/metadata')
    .requiredOption('--to-store <url>', 'where to copy it; created if missing')
    .option('--payloads <dir>', 'its payload directory: note there that the new store needs payloads, for "gc" of the old one')
    .option('--adopt', 'take over a plain LevelDB directory, or a schema that the library filled, to copy from; nothing is moved')
  withExamples(
    command,
    [
      ['convert --from-store level:/srv/metadata --to-store level:/mnt/metadata', 'copy a store to another disk'],
      ["convert --from-store level:/srv/metadata --to-store 'postgres://server@localhost/files?schema=meta'", 'move from LevelDB to Postgres'],
      ['convert --from-store level:/srv/metadata --to-store level:./copy --json', 'from a script, with the report as JSON'],
    ],
    `Inode numbers, links, times, upload IDs, locks and settings stay the same; the new store has its own ID. Every record and
the set of payload IDs are compared before the command succeeds. If it fails, is interrupted or is killed, the target is left
empty. A target that holds data is refused. No other process may have either store open, except a Postgres store to copy from.`,
  )
  command.action((options: ConvertOptions) => convert(options, terminal))
}

async function convert(options: ConvertOptions, terminal: Terminal): Promise<void> {
  const output = new Output(terminal, options)
  const [fromStore, toStore] = [parseStoreUrl(options.fromStore), parseStoreUrl(options.toStore)]
  const place = await toStore.place()
  if ((await fromStore.place()) === place) {
    throw new InvalidArgumentError(`Cannot convert ${JSON.stringify(fromStore.shown)} into itself`, { hint: 'Name another store with --to-store' })
  }
  const payloads = options.payloads === undefined ? undefined : await openPayloadStore(options.payloads)
  await withParts(terminal, async (parts) => {
    const from = await parts.store(options.fromStore, { adopt: options.adopt })
    const to = await parts.store(options.toStore, { create: true, adopt: false })
    const progress = output.progress('convert')
    try {
      await payloads?.addUser({ storeId: to.storeId, place })
      const report = await convertStore({
        from,
        to,
        signal: terminal.signal,
        onProgress: ({ step, records }) => progress.update({ label: `convert: ${step}`, count: records, noun: 'records' }),
      })
      progress.end()
      await output.result(report, () => describeReport(report, { from: fromStore.shown, to: toStore.shown }))
    } finally {
      progress.end()
    }
  })
}

function describeReport({ from, to, records, payloadIds, durationMs }: ConvertReport, shown: { readonly from: string; readonly to: string }): string[] {
  const { shares, inodes, entries, blocks, locks, uploads, settings } = records
  return [
    `Copied ${printable(shown.from)} (${printable(from.kind)} store ${printable(from.storeId)}) into ${printable(shown.to)} (${printable(to.kind)} store ${printable(to.storeId)}) in ${formatDuration(durationMs)}`,
    `${plural(shares, 'share')}, ${plural(inodes, 'inode')}, ${plural(entries, 'entry', 'entries')}, ${plural(blocks, 'block')}, ${plural(uploads, 'pending upload')}, ` +
      `${plural(locks, 'lock')}, ${plural(settings, 'setting')}, ${plural(payloadIds.count, 'payload ID')}: all compared and equal`,
  ]
}
