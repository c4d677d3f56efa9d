import type { Command } from 'commander'
import { isHoldfastError, ManifestMissingError, openRepository, type Repository } from '../../index.ts'
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
  const command = withSource(program.command('delete').description('delete backups'))
    .argument('<id...>', `one or several: ${ID_HELP}`)
    .option('--force', 'delete them even if no good backup of the store is left, or if this release cannot tell whether they are good')
    .option('--store <url>', 'the store they are backups of: the deletion is recorded in its catalog, and refused while a restore needs a backup')
    .option('--catalog <path>', 'the same with a catalog that is elsewhere')
    .option('-y, --yes', 'do not ask')
  withExamples(
    command,
    [
      ['delete 01JD3 --from file:/backups', 'say which one it is, ask, delete it'],
      ['delete 01JD3 01JD4 --from file:/backups --store level:/srv/metadata --yes', 'two from a script, recorded in the catalog of the store'],
    ],
    `A backup is un-listed first, then its objects are removed; an interrupted delete is finished by the next one, or by a later backup.
The last good backup of a store is refused without --force. Payloads are not touched; "gc" deletes nothing while a catalog has a backup
whose deletion it was not told of: name the store, or its catalog.`,
  )
  command.action((ids: readonly string[], options: DeleteCommandOptions) => runDelete(ids, options, terminal))
}

async function runDelete(ids: readonly string[], options: DeleteCommandOptions, terminal: Terminal): Promise<void> {
  const output = new Output(terminal, options)
  const { signal } = terminal
  await withParts(terminal, async (parts) => {
    const destination = await parts.destination(options.from)
    const named = openRepository(destination)
    const backupIds: string[] = []
    for (const id of ids) backupIds.push(await named.resolve(id, { signal }))
    for (const backupId of backupIds) await output.note(await describe(named, { backupId, signal }))
    await output.confirm(backupIds.length === 1 ? 'Delete it for good?' : `Delete these ${backupIds.length} for good?`, options)
    const catalogPath = options.store === undefined ? options.catalog : catalogPathOf(options.store, options.catalog)
    // A new catalog in a wrong place would take the record, and the store's own never learn of it.
    const catalog = catalogPath === undefined ? undefined : await parts.catalog(catalogPath, { create: false })
    const reports = await openRepository(destination, { catalog }).delete(backupIds, { force: options.force, signal })
    const deleted = reports.filter(({ wasListed }) => wasListed).map(({ backupId }) => backupId)
    const missing = reports.filter(({ wasListed }) => !wasListed).map(({ backupId }) => backupId)
    if (missing.length > 0) {
      const others = deleted.length === 0 ? '' : `; deleted ${deleted.join(', ')}`
      throw new ManifestMissingError(`Cannot delete backup ${missing.join(', ')}: not listed at ${JSON.stringify(destination.url)}${others}`, {
        hint: 'What an interrupted delete may have left of it is removed now',
        details: { deleted, missing },
      })
    }
    const [backupId] = deleted
    await output.result(deleted.length === 1 ? { backupId, deleted: true } : { backupIds: deleted, deleted: true }, () => deleted.map((backupId) => `Deleted ${backupId}`))
  })
}

/** What would be deleted. A damaged backup may be deleted too, one that is not listed may not. */
async function describe(repository: Repository, options: { readonly backupId: string; readonly signal: AbortSignal }): Promise<string> {
  const { backupId, signal } = options
  try {
    const { createdAt, storeId } = (await repository.open(backupId, { signal })).manifest
    return `Backup ${backupId} of ${formatTime(createdAt)}: store ${printable(storeId)}`
  } catch (error) {
    if (!isHoldfastError(error) || !error.code.startsWith('manifest_')) throw error
    if (error.code === 'manifest_missing') return `Backup ${backupId} is not listed`
    const state = error.code === 'manifest_invalid' ? 'is damaged' : 'cannot be read'
    return `Backup ${backupId} ${state}: ${printable(error.message)}`
  }
}
