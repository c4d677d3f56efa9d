import { type Command, Option } from 'commander'
import { type Destination, type Manifest, recordCount, runBackup } from '../../index.ts'
import { CATALOG_DEFAULT, collectLabel, parseBytes, withExamples, withStore } from '../command-options.ts'
import { Output, type OutputOptions } from '../output.ts'
import { openPayloadStore, parseStoreUrl, withParts } from '../../registry/index.ts'
import { asHoldfastError } from '../../util/system-errors.ts'
import type { Terminal } from '../terminal.ts'
import { formatBytes, formatPace, plural, printable } from '../../util/text.ts'

interface BackupCommandOptions extends OutputOptions {
  readonly store: string
  readonly to: string
  readonly adopt?: boolean | undefined
  readonly payloads?: string | undefined
  readonly catalog?: string | undefined
  readonly label?: Readonly<Record<string, string>> | undefined
  readonly maxRate?: number | undefined
  readonly check?: boolean | undefined
  readonly compress?: 'zstd' | undefined
  readonly gentle?: boolean | undefined
}

export function registerBackup(program: Command, terminal: Terminal): void {
  const command = withStore(program.command('backup').description('take a backup, publish it and read it back'))
    .requiredOption('--to <url>', 'where to publish it, such as file:/backups; created if missing')
    .option('--payloads <dir>', 'publish nothing unless every payload that the store refers to is in this directory')
    .option('--label <name=value>', 'a label for the manifest; may be given several times', collectLabel)
    .addOption(new Option('--compress [codec]', 'compress the backup, about fivefold').choices(['zstd']).preset('zstd'))
    .option('--catalog <path>', `where jobs are recorded ${CATALOG_DEFAULT}`)
    .option('--check', 'test the destination first, and warn of its weaknesses; the first backup there always does')
    .option('--max-rate <bytes>', 'the most bytes per second to write, such as 10MiB', parseBytes)
    .option('--gentle', 'keep out of the way of other sessions on the Postgres server; takes about four times as long')
  withExamples(
    command,
    [
      ['backup --store level:/srv/metadata --to file:/backups', 'a backup'],
      ['backup --store level:/srv/metadata --to file:/backups --payloads /srv/payloads', 'only if no payload is missing'],
      ['backup --store level:/srv/metadata --to file:/backups --label why=upgrade --json', 'labelled, with the manifest as JSON'],
    ],
    `No other process may have a LevelDB store open: a running server backs itself up through the library. A Postgres store may be
in service. The backup is listed only when it is complete, and the command succeeds only after the stored bytes were read
back and matched.`,
  )
  command.action((options: BackupCommandOptions) => backup(options, terminal))
}

async function backup(options: BackupCommandOptions, terminal: Terminal): Promise<void> {
  const output = new Output(terminal, options)
  const { shown } = parseStoreUrl(options.store)
  const payloads = options.payloads === undefined ? undefined : await openPayloadStore(options.payloads)
  const startedMs = performance.now()
  await withParts(terminal, async (parts) => {
    const destination = await parts.destination(options.to)
    const store = await parts.store(options.store, { adopt: options.adopt, pace: options.gentle === true ? 'gentle' : 'full' })
    const doubts = options.check === true ? await doubtsAbout(destination, terminal.signal) : []
    const { catalog, holds } = await parts.holds({ store: options.store, use: 'need', catalog: options.catalog, destinations: [destination] })
    const progress = output.progress('backup')
    try {
      const { manifest, verification, warnings, isFirst } = await runBackup({
        store,
        destination,
        catalog,
        holds,
        payloads,
        labels: options.label,
        maxBytesPerSecond: options.maxRate,
        compress: options.compress,
        signal: parts.signal,
        onProgress: ({ phase, bytes, totalBytes, records }) => progress.update({ label: `backup: ${phase}`, bytes, totalBytes, count: records, noun: phase === 'payload-ids' ? 'payload IDs' : 'records' }),
      })
      progress.end()
      const late = isFirst && options.check !== true ? await doubtsAbout(destination, parts.signal) : []
      for (const message of new Set([...doubts, ...late, ...warnings].map(({ message }) => message))) await output.warn(printable(message))
      const elapsedMs = performance.now() - startedMs
      await output.result(manifest, () => describeBackup(manifest, { store: shown, elapsedMs, readBackMs: verification.durationMs }))
    } finally {
      progress.end()
    }
  })
}

/** Tests the destination and returns warnings. A useless destination fails the backup itself, which records that. */
async function doubtsAbout(destination: Destination, signal: AbortSignal): Promise<readonly { readonly message: string }[]> {
  try {
    return await destination.validate({ signal })
  } catch (error) {
    return [asHoldfastError(error)]
  }
}

function describeBackup(manifest: Manifest, context: { readonly store: string; readonly elapsedMs: number; readonly readBackMs: number }): string[] {
  const { payload, payloadIds } = manifest
  return [
    `Backed up ${printable(context.store)} as ${manifest.backupId}: ${plural(recordCount(manifest), 'record')}, ${plural(payloadIds.count, 'payload ID')}, ` +
      `${formatBytes(payload.bytes + payloadIds.bytes)} in ${formatPace(payload.bytes, context.elapsedMs)}`,
    `Read back in ${formatPace(payload.bytes + payloadIds.bytes, context.readBackMs)}: the stored bytes match`,
  ]
}
