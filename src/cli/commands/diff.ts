import type { Command } from 'commander'
import { ID_HELP, withExamples, withRecord, withSource } from '../command-options.ts'
import { type RecordOptions, withParts } from '../../registry/index.ts'
import { Output, type OutputOptions } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { plural, printable } from '../../util/text.ts'
import { type BackupDiff, type Change, diffBackups } from '../../browse/index.ts'

type DiffOptions = OutputOptions & RecordOptions & { readonly from: string }

export function registerDiff(program: Command, terminal: Terminal): void {
  const command = withRecord(withSource(program.command('diff').description('show what changed between two backups of one store')))
    .argument('<id>', `the older backup: ${ID_HELP}`)
    .argument('<id>', `the newer backup: ${ID_HELP}`)
  withExamples(
    command,
    [['diff 01JD3 latest --from file:/backups', 'changes since then']],
    `+ added, - removed, > renamed, M modified (with the fields that differ). Both backups are read twice.
Memory grows with the number of changes and directories, not with the number of files.`,
  )
  command.action((older: string, newer: string, options: DiffOptions) => diff([older, newer], options, terminal))
}

async function diff([older, newer]: readonly [string, string], options: DiffOptions, terminal: Terminal): Promise<void> {
  const { signal } = terminal
  const result = await withParts(terminal, async (parts) => {
    const destination = await parts.destination(options.from)
    return await diffBackups({ destination, catalog: await parts.recordOf(options), older, newer, signal })
  })
  await new Output(terminal, options).result(result, () => describe(result))
}

function* describe({ changes, records }: BackupDiff): Iterable<string> {
  for (const change of changes) yield lineOf(change)
  const other = Object.entries(records).filter(([section]) => section !== 'entries' && section !== 'inodes' && section !== 'blocks')
  for (const [section, { added, removed, changed }] of other) yield `${section}: ${added} added, ${removed} removed, ${changed} changed`
  yield changes.length + other.length === 0 ? 'No differences.' : `${plural(changes.length, 'difference')} in the tree`
}

function lineOf({ change, path, from, fields }: Change): string {
  switch (change) {
    case 'added':
      return `+ ${printable(path)}`
    case 'removed':
      return `- ${printable(path)}`
    case 'renamed':
      return `> ${printable(from ?? '')} -> ${printable(path)}`
    case 'modified':
      return `M ${printable(path)}  (${fields?.join(', ') ?? ''})`
    default:
      return change satisfies never
  }
}
