import type { Command } from 'commander'
import { withExamples, withStore } from '../command-options.ts'
import { Output, type OutputOptions } from '../output.ts'
import { openPayloadStore, withParts } from '../../registry/index.ts'
import type { Terminal } from '../terminal.ts'
import { formatBytes, formatPace, plural, printable } from '../../util/text.ts'
import { chooseShare, type ExportCounts, exportTree } from '../../trees/index.ts'

interface ExportCommandOptions extends OutputOptions {
  readonly store: string
  readonly payloads: string
  readonly adopt?: boolean | undefined
  readonly share?: string | undefined
}

export function registerExport(program: Command, terminal: Terminal): void {
  const command = withStore(program.command('export').description('write a share back as a directory tree, byte for byte'))
    .argument('<dir>', 'where to write it: a missing or empty directory')
    .requiredOption('--payloads <dir>', 'the payload directory that "import" filled')
    .option('--share <name>', 'the share to write (default: the only one)')
  withExamples(
    command,
    [['export ./photos-again --store level:./metadata --payloads ./payloads', 'write the tree back']],
    `Content is checked against its digest while it is written. Modes, times (to the microsecond), symbolic and hard links are set; owners
only when run as root. Sockets, fifos and devices are not created. A failed or interrupted export removes what it has written.`,
  )
  command.action((directory: string, options: ExportCommandOptions) => runExport(directory, options, terminal))
}

async function runExport(directory: string, options: ExportCommandOptions, terminal: Terminal): Promise<void> {
  const output = new Output(terminal, options)
  const payloads = await openPayloadStore(options.payloads)
  const startedMs = performance.now()
  const progress = output.progress('export')
  await withParts(terminal, async (parts) => {
    const store = await parts.store(options.store, { adopt: options.adopt })
    try {
      const share = await chooseShare(store, options.share)
      const totalBytes = await store.usedBytes()
      const onProgress = ({ bytes, files }: ExportCounts): void => progress.update({ bytes, totalBytes, count: files, noun: 'files' })
      const counts = await exportTree({ directory, store, root: share.root, payloads, signal: terminal.signal, onProgress })
      progress.end()
      const elapsedMs = performance.now() - startedMs
      await warnOfGaps(counts, output)
      const document = { share: share.name, directory, ...counts, elapsedMs: Math.round(elapsedMs) }
      await output.result(document, () => [describeExport(counts, { share: share.name, directory, elapsedMs })])
    } finally {
      progress.end()
    }
  })
}

function describeExport(counts: ExportCounts, context: { readonly share: string; readonly directory: string; readonly elapsedMs: number }): string {
  const { files, directories, symlinks, hardLinks, bytes } = counts
  const { share, directory, elapsedMs } = context
  return (
    `Exported share "${printable(share)}" to ${printable(directory)}: ${plural(files, 'file')} (${formatBytes(bytes)}), ` +
    `${plural(directories, 'directory', 'directories')}, ${plural(symlinks, 'symbolic link')}, ${plural(hardLinks, 'hard link')} ` +
    `in ${formatPace(bytes, elapsedMs)}`
  )
}

async function warnOfGaps(counts: ExportCounts, output: Output): Promise<void> {
  if (!counts.owners) await output.note('note: owners were not set; only root can set them')
  const { owners, modes, times, symlinks, hardLinks } = counts.refused
  const left = [
    owners > 0 ? plural(owners, 'owner') : [],
    modes > 0 ? plural(modes, 'mode') : [],
    times > 0 ? plural(times, 'time of entries', 'times of entries') : [],
    symlinks > 0 ? plural(symlinks, 'symbolic link') : [],
  ].flat()
  const bits = modes > 0 ? ' (or, of a mode, the set-user-ID and set-group-ID bits, because the owner could not be set)' : ''
  if (left.length > 0) await output.warn(`${left.join(', ')} left out: the file system or the user namespace does not take them${bits}`)
  if (hardLinks > 0) await output.warn(`${plural(hardLinks, 'hard link')} became a file of its own: the file system does not have hard links`)
  if (counts.notMadeCount === 0) return
  const listed = counts.notMade.map(printable).join(', ')
  await output.warn(`${plural(counts.notMadeCount, 'socket, fifo or device was', 'sockets, fifos and devices were')} not made: ${listed}`)
}
