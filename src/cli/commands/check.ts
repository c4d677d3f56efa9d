import type { Command } from 'commander'
import { checkTree, StoreInconsistentError } from '../../index.ts'
import { parseStoreUrl, withParts } from '../../registry/index.ts'
import { plural, printable } from '../../util/text.ts'
import { withExamples, withStore } from '../command-options.ts'
import { Output, type OutputOptions } from '../output.ts'
import { AlreadyReported } from '../report-error.ts'
import type { Terminal } from '../terminal.ts'

type CheckOptions = OutputOptions & { readonly store: string; readonly adopt?: boolean | undefined }

export function registerCheck(program: Command, terminal: Terminal): void {
  const command = withStore(program.command('check').description('check a metadata store for inconsistencies; changes nothing'))
  withExamples(
    command,
    [
      ['check --store level:/srv/metadata', 'print a line for each problem'],
      ["check --store 'postgres://server@localhost/files?schema=meta' --json", 'from a script: { "problems": [...] }'],
    ],
    `Checks that entries and inodes fit together, that every directory is in one place below a share, that link counts, block counts and
used bytes are right, that the next inode number is free, and that the payload IDs are those that files refer to. The exit code is 3 if
there are problems. No other process may have a LevelDB store open; a Postgres store may be in service, and is checked at one instant.`,
  )
  command.action((options: CheckOptions) => check(options, terminal))
}

async function check(options: CheckOptions, terminal: Terminal): Promise<void> {
  const output = new Output(terminal, options)
  const { shown } = parseStoreUrl(options.store)
  const problems = await withParts(terminal, async (parts) => {
    return await checkTree(await parts.store(options.store, { adopt: options.adopt }), { signal: terminal.signal })
  })
  await output.result({ problems }, () => (problems.length === 0 ? [`${printable(shown)} is consistent`] : problems.map(printable)))
  if (problems.length === 0) return
  const error = new StoreInconsistentError(`The store ${JSON.stringify(shown)} is inconsistent: ${plural(problems.length, 'problem')} found`, {
    hint: 'Restore a verified backup; keep a copy of the store until you know what happened to it',
  })
  throw output.json ? new AlreadyReported(error) : error
}
