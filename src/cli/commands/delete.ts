import type { Command } from 'commander'
import type { Destination } from '../../destination.ts'
import { isHoldfastError } from '../../errors.ts'
import { parseManifest } from '../../snapshot/manifest.ts'
import { chooseBackup } from '../backup-choice.ts'
import { ID_HELP, withExamples, withSource } from '../command-options.ts'
import { withDestination } from '../destinations.ts'
import { Output, type OutputOptions } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { formatTime, printable } from '../text.ts'

type DeleteOptions = OutputOptions & { readonly from: string; readonly yes?: boolean | undefined }

export function registerDelete(program: Command, terminal: Terminal): void {
  const command = withSource(program.command('delete').description('delete a backup')).argument('<id>', ID_HELP).option('-y, --yes', 'do not ask')
  withExamples(
    command,
    [
      ['delete 01JD3 --from file:/backups', 'say which one it is, ask, delete it'],
      ['delete 01JD3 --from file:/backups --yes', 'from a script'],
    ],
    'The backup is un-listed first, then its objects are removed. An interrupted delete is finished by the next backup. Payloads are not touched.',
  )
  command.action((id: string, options: DeleteOptions) => runDelete(id, options, terminal))
}

async function runDelete(id: string, options: DeleteOptions, terminal: Terminal): Promise<void> {
  const output = new Output(terminal, options)
  const { signal } = terminal
  await withDestination(options.from, async (destination) => {
    const backupId = await chooseBackup(destination, id, { signal })
    await output.note(await describe(destination, { backupId, signal }))
    await output.confirm('Delete it for good?', options)
    signal.throwIfAborted()
    await destination.delete(backupId, { signal })
    await output.result({ backupId, deleted: true }, () => [`Deleted ${backupId}`])
  })
}

/** What would be deleted. A damaged backup may be deleted too, one that is not listed may not. */
async function describe(destination: Destination, options: { readonly backupId: string; readonly signal: AbortSignal }): Promise<string> {
  const { backupId, signal } = options
  try {
    const { createdAt, storeId } = parseManifest(await destination.manifest(backupId, { signal }), backupId)
    return `Backup ${backupId} of ${formatTime(createdAt)}: store ${printable(storeId)}`
  } catch (error) {
    if (!isHoldfastError(error) || !error.code.startsWith('manifest_') || error.code === 'manifest_missing') throw error
    return `Backup ${backupId}, which is damaged: ${printable(error.message)}`
  }
}
