import type { Command } from 'commander'
import { rollback } from '../../index.ts'
import { CATALOG_DEFAULT, withExamples, withStore } from '../command-options.ts'
import { Output, type OutputOptions } from '../output.ts'
import { parseStoreUrl, withParts } from '../../registry/index.ts'
import type { Terminal } from '../terminal.ts'
import { formatDuration, printable } from '../../util/text.ts'

type RollbackOptions = OutputOptions & { readonly store: string; readonly adopt?: boolean | undefined; readonly catalog?: string | undefined }

export function registerRollback(program: Command, terminal: Terminal): void {
  const command = withStore(program.command('rollback').description('bring back the store that the last restore replaced')).option(
    '--catalog <path>',
    `where the job is recorded ${CATALOG_DEFAULT}`,
  )
  withExamples(
    command,
    [['rollback --store level:/srv/metadata', 'undo the last restore']],
    'The store that is live now is kept in turn: a second rollback undoes the first.',
  )
  command.action((options: RollbackOptions) => runRollback(options, terminal))
}

async function runRollback(options: RollbackOptions, terminal: Terminal): Promise<void> {
  const output = new Output(terminal, options)
  await withParts(terminal, async (parts) => {
    const target = await parts.home(options.store, { adopt: options.adopt })
    terminal.signal.throwIfAborted()
    // Without a store, or one to bring back, there is nothing to roll back, and no catalog is created.
    const { live, previous } = await target.engines()
    const record = { store: options.store, catalog: options.catalog, create: previous !== undefined, warn: (text: string) => output.warn(printable(text)) }
    const catalog = live === undefined ? undefined : await parts.catalogIfPossible(record)
    const report = await rollback({ target, catalog })
    for (const warning of report.warnings) await output.warn(printable(warning.message))
    await output.result({ ...report, warnings: report.warnings.map(({ message }) => message) }, () => [
      `Rolled back ${printable(parseStoreUrl(options.store).shown)} to the store before its last restore, in ${formatDuration(report.stoppedMs)}`,
      'The store that was live until now is kept; another rollback brings it back',
    ])
  })
}
