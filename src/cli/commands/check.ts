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
  const command = withStore(program.command('check').description('check that what a metadata store says of itself fits together; changes nothing in it'))
  withExamples(
    command,
    [
      ['check --store level:/srv/metadata', 'one line for each thing that is wrong'],
      ['check --store postgres://server@localhost/files?schema=meta --json', 'from a script: { "problems": [...] }'],
    ],
    `Every entry has its inode, link counts are those of the entries, the payload IDs are those that files refer to, used bytes are the sum of
the sizes. The exit code is 3 where something is wrong. Memory grows with the number of inodes and payload IDs. No other process may have a
LevelDB store open; a Postgres store may be in service, and is checked as it was at one instant.`,
  )
  command.action((options: CheckOptions) => check(options, terminal))
}

async function check(options: CheckOptions, terminal: Terminal): Promise<void> {
  const output = new Output(terminal, options)
  const { shown } = parseStoreUrl(options.store)
  const problems = await withParts(terminal, async (parts) => {
    const store = await parts.store(options.store, { adopt: options.adopt })
    const view = parts.keep(await store.view())
    return await checkTree(view, { signal: terminal.signal })
  })
  await output.result({ problems }, () => (problems.length === 0 ? [`${printable(shown)} fits together`] : problems.map(printable)))
  if (problems.length === 0) return
  const error = new StoreInconsistentError(`The store ${JSON.stringify(shown)} does not fit together: ${plural(problems.length, 'problem')} found`, {
    hint: 'Restore a verified backup; keep the store as it is until you know what happened to it',
  })
  throw output.json ? new AlreadyReported(error) : error
}
