import type { Command } from 'commander'
import { deleteBackup } from '../../repository/delete-backup.ts'
import { resolveBackup } from '../../repository/resolve-backup.ts'
import type { Destination } from '../../contracts/destination.ts'
import { isHoldfastError, ManifestMissingError } from '../../errors/errors.ts'
import { isNewerManifest, parseManifest } from '../../format/manifest.ts'
import { ID_HELP, withExamples, withSource } from '../command-options.ts'
import { catalogPathOf, withParts } from '../../registry/index.ts'
import { Output, type OutputOptions } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { formatTime, printable } from '../../util/text.ts'

interface DeleteCommandOptions extends OutputOptions {
  readonly from: string
  readonly store?: string | undefined
  readonly catalog?: string | undefined
  readonly force?: boolean | undefined
  readonly yes?: boolean | undefined
}

export function registerDelete(program: Command, terminal: Terminal): void {
  const command = withSource(program.command('delete').description('delete a backup'))
    .argument('<id>', ID_HELP)
    .option('--force', 'delete it even if it is the last good backup of its store')
    .option('--store <url>', 'the store it is a backup of: the deletion is recorded in its catalog, and refused while a restore needs the backup')
    .option('--catalog <path>', 'the same with a catalog that is elsewhere')
    .option('-y, --yes', 'do not ask')
  withExamples(
    command,
    [
      ['delete 01JD3 --from file:/backups', 'say which one it is, ask, delete it'],
      ['delete 01JD3 --from file:/backups --store level:/srv/metadata --yes', 'from a script, recorded in the catalog of the store'],
    ],
    `The backup is un-listed first, then its objects are removed; an interrupted delete is finished by the next one, or by a later backup.
The last good backup of a store is refused without --force. Payloads are not touched; "gc" deletes nothing while a catalog has a backup
whose deletion it was not told of: name the store, or its catalog.`,
  )
  command.action((id: string, options: DeleteCommandOptions) => runDelete(id, options, terminal))
}

async function runDelete(id: string, options: DeleteCommandOptions, terminal: Terminal): Promise<void> {
  const output = new Output(terminal, options)
  const { signal } = terminal
  await withParts(terminal, async (parts) => {
    const destination = await parts.destination(options.from)
    const backupId = await resolveBackup(destination, id, { signal })
    await output.note(await describe(destination, { backupId, signal }))
    await output.confirm('Delete it for good?', options)
    const catalogPath = options.store === undefined ? options.catalog : catalogPathOf(options.store, options.catalog)
    // A new catalog in a wrong place would take the record, and the store's own never learn of it.
    const catalog = catalogPath === undefined ? undefined : await parts.catalog(catalogPath, { create: false })
    const report = await deleteBackup({ destination, backupId, catalog, force: options.force, signal })
    if (!report.wasListed) {
      throw new ManifestMissingError(`Cannot delete backup ${backupId}: it is not listed at ${JSON.stringify(destination.url)}`, {
        hint: 'What an interrupted delete may have left of it is removed now',
      })
    }
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
    if (!isHoldfastError(error) || !error.code.startsWith('manifest_')) throw error
    if (error.code === 'manifest_missing') return `Backup ${backupId} is not listed`
    const state = isNewerManifest(error) ? 'cannot be read' : 'is damaged'
    return `Backup ${backupId} ${state}: ${printable(error.message)}`
  }
}
