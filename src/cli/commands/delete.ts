import type { Command } from 'commander'
import { isHoldfastError, ManifestMissingError, openRepository, type Repository } from '../../index.ts'
import { ID_HELP, withExamples, withRecord, withSource } from '../command-options.ts'
import { type RecordOptions, withParts } from '../../registry/index.ts'
import { Output, type OutputOptions } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { formatTime, printable } from '../../util/text.ts'

interface DeleteCommandOptions extends OutputOptions, RecordOptions {
  readonly from: string
  readonly force?: boolean | undefined
  readonly yes?: boolean | undefined
}

const GOOD = `Good means: its manifest is readable and as recorded, its objects have the right sizes, and no fault is recorded of it
that a verification as thorough has not cleared.`

export function registerDelete(program: Command, terminal: Terminal): void {
  const deleting = withSource(program.command('delete').description('delete backups'))
    .argument('<id...>', `one or several: ${ID_HELP}`)
    .option('--force', 'delete even the last good backup of a store, one that is not as the catalog recorded it, or one of a newer release; never one in use')
  const command = withRecord(deleting, 'record the deletion in its catalog, and refuse it while a restore needs the backup').option('-y, --yes', 'do not ask')
  withExamples(
    command,
    [
      ['delete 01JD3 --from file:/backups', 'show the backup, ask, delete it'],
      ['delete 01JD3 01JD4 --from file:/backups --store level:/srv/metadata --yes', 'two from a script, recorded in the catalog of the store'],
    ],
    `The manifest goes first, then the objects; the next delete or backup finishes an interrupted one. Payloads are not touched. Name
the store or its catalog: "gc" deletes nothing while the catalog expects a backup that is gone.

The last good backup of a store needs --force.
${GOOD}
Only the catalog knows the record and the verifications, and only "verify" reads the data: first run "holdfast verify ID --store URL"
for a backup that stays.`,
  )
  command.action((ids: readonly string[], options: DeleteCommandOptions) => runDelete(ids, options, terminal))
}

async function runDelete(ids: readonly string[], options: DeleteCommandOptions, terminal: Terminal): Promise<void> {
  const output = new Output(terminal, options)
  const { signal } = terminal
  await withParts(terminal, async (parts) => {
    const destination = await parts.destination(options.from)
    const named = openRepository(destination)
    const backupIds = await named.resolveAll(ids, { signal })
    for (const backupId of backupIds) await output.note(await describe(named, { backupId, signal }))
    if (options.yes !== true) await output.note(`${GOOD}\nIs one that stays good, and verified? "holdfast verify ID --store URL" reads all of it`)
    await output.confirm(backupIds.length === 1 ? 'Delete it for good?' : `Delete these ${backupIds.length} for good?`, options)
    const catalog = await parts.recordOf(options)
    const reports = await openRepository(destination, { catalog }).delete(backupIds, { force: options.force, signal })
    for (const { warnings } of reports) for (const warning of warnings) await output.onWarning(warning)
    const deleted = reports.filter(({ wasListed }) => wasListed).map(({ backupId }) => backupId)
    const missing = reports.filter(({ wasListed }) => !wasListed).map(({ backupId }) => backupId)
    if (missing.length > 0) {
      const others = deleted.length === 0 ? '' : `; deleted ${deleted.join(', ')}`
      throw new ManifestMissingError(`Cannot delete backup ${missing.join(', ')}: not listed at ${JSON.stringify(destination.url)}${others}`, {
        hint: 'Run "holdfast list" to see the backups; leftovers of this one are removed now, and its deletion is recorded if you named its store or catalog',
        details: { deleted, missing },
      })
    }
    const [backupId] = deleted
    await output.result(
      deleted.length === 1 ? { backupId, deleted: true } : { backupIds: deleted, deleted: true },
      () => deleted.map((backupId) => `Deleted ${backupId}`),
    )
  })
}

/** Describes a backup before its deletion. A damaged one can be deleted; one that is not listed cannot. */
async function describe(repository: Repository, options: { readonly backupId: string; readonly signal: AbortSignal }): Promise<string> {
  const { backupId, signal } = options
  try {
    const { createdAt, storeId } = (await repository.open(backupId, { signal })).manifest
    return `Backup ${backupId} of ${formatTime(createdAt)}: store ${printable(storeId)}`
  } catch (error) {
    if (!isHoldfastError(error) || !(error.code.startsWith('manifest_') || error.code === 'backup_incomplete')) throw error
    if (error.code === 'manifest_missing') return `Backup ${backupId} is not listed`
    const state = error.code === 'manifest_invalid' || error.code === 'backup_incomplete' ? 'is damaged' : 'cannot be read'
    return `Backup ${backupId} ${state}: ${printable(error.message)}`
  }
}
