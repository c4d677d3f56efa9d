import { basename, resolve } from 'node:path'
import type { Command } from 'commander'
import { InvalidArgumentError, type WritablePayloadStore } from '../../index.ts'
import { withExamples, withStore } from '../command-options.ts'
import { Output, type OutputOptions } from '../output.ts'
import { openPayloadStore, parseStoreUrl, withParts } from '../../registry/index.ts'
import type { Terminal } from '../terminal.ts'
import { formatBytes, formatPace, plural, printable } from '../../util/text.ts'
import { checkImport, type ImportCounts, importTree } from '../../trees/index.ts'

interface ImportCommandOptions extends OutputOptions {
  readonly store: string
  readonly payloads?: string | undefined
  readonly adopt?: boolean | undefined
  readonly share?: string | undefined
}

export function registerImport(program: Command, terminal: Terminal): void {
  const command = withStore(program.command('import').description('index a directory tree as a new share of a metadata store'))
    .argument('<dir>', 'the directory to index')
    .option('--payloads <dir>', 'also copy the content there, as files named by their SHA-256; "export" needs them')
    .option('--share <name>', "the share's name (default: the directory's name)")
  withExamples(
    command,
    [
      ['import ./photos --store level:./metadata --payloads ./payloads', 'index a tree and keep its content'],
      ['import /srv/files --share files --store level:/srv/metadata', 'index names, attributes and content IDs only'],
    ],
    `Links are never followed. Hard links stay hard links; sockets, fifos and devices are recorded by type. Extended attributes are
not read (Node cannot). Files over 4 MiB become lists of 4 MiB blocks. A failed or interrupted import removes its
share; the next import removes the share of a killed one.`,
  )
  command.action((directory: string, options: ImportCommandOptions) => runImport(directory, options, terminal))
}

async function runImport(directory: string, options: ImportCommandOptions, terminal: Terminal): Promise<void> {
  const output = new Output(terminal, options)
  const share = options.share ?? basename(resolve(directory))
  if (share === '' && options.share === undefined) throw new InvalidArgumentError(`Cannot name a share after ${JSON.stringify(directory)}`, { hint: 'Name the share with --share' })
  const address = parseStoreUrl(options.store)
  await checkImport(directory, { share, writesTo: [address.directory, options.payloads].filter((path) => path !== undefined) })
  const payloads = options.payloads === undefined ? undefined : await openPayloadStore(options.payloads, { create: true })
  const startedMs = performance.now()
  const progress = output.progress('import')
  await withParts(terminal, async (parts) => {
    const store = await parts.store(options.store, { create: true, adopt: options.adopt })
    try {
      const onProgress = ({ bytes, files }: ImportCounts): void => progress.update({ bytes, count: files, noun: 'files' })
      await payloads?.addUser({ storeId: store.storeId, place: await address.place() })
      await parts.guardPayloads(options.store, 'need')
      const counts = await importTree({ directory, store, share, payloads, signal: parts.signal, onProgress })
      progress.end()
      const elapsedMs = performance.now() - startedMs
      const document = { share, storeId: store.storeId, ...counts, elapsedMs: Math.round(elapsedMs) }
      await warnOf(counts, payloads, output)
      await output.result(document, () => describeImport(counts, { share, elapsedMs, payloads: options.payloads }))
    } finally {
      progress.end()
    }
  })
}

async function warnOf({ clamped, clampedCount }: ImportCounts, payloads: WritablePayloadStore | undefined, output: Output): Promise<void> {
  for (const { message } of payloads?.takeWarnings?.() ?? []) await output.warn(printable(message))
  if (clampedCount === 0) return
  const more = clampedCount > clamped.length ? ' and others' : ''
  await output.warn(`times of ${plural(clampedCount, 'entry', 'entries')} are beyond the years 1677 to 2262, and became the nearest that a store holds: ${clamped.map(printable).join(', ')}${more}`)
}

function describeImport(
  counts: ImportCounts,
  context: { readonly share: string; readonly elapsedMs: number; readonly payloads: string | undefined },
): string[] {
  const { files, directories, symlinks, hardLinks, others, vanished, bytes } = counts
  const { share, elapsedMs, payloads } = context
  const lines = [
    `Imported share "${printable(share)}": ${plural(files, 'file')} (${formatBytes(bytes)}), ${plural(directories, 'directory', 'directories')}, ` +
      `${plural(symlinks, 'symbolic link')}, ${plural(hardLinks, 'hard link')} in ${formatPace(bytes, elapsedMs)}`,
  ]
  if (payloads === undefined) lines.push('The store has names, attributes and payload IDs; no payload was copied: "export" needs an import with --payloads')
  else lines.push(`Payloads: ${plural(counts.newPayloads, 'new file')}, ${formatBytes(counts.newPayloadBytes)}, in ${printable(payloads)}`)
  if (others > 0) lines.push(`${plural(others, 'socket, fifo or device', 'sockets, fifos and devices')} recorded by type`)
  if (vanished > 0) lines.push(`${plural(vanished, 'entry', 'entries')} vanished during the import`)
  return lines
}
