import type { Command } from 'commander'
import { describePlan, isHoldfastError, openRepository, planRestore, recordCount, restoreBackup, type RestoreReport } from '../../index.ts'
import { CATALOG_DEFAULT, ID_HELP, withExamples, withSource, withStore, withTrial } from '../command-options.ts'
import { openPayloadStore, parseStoreUrl, withParts } from '../../registry/index.ts'
import { Output } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { formatBytes, formatDuration, formatPace, plural, printable, shellWord } from '../../util/text.ts'
import { refuseWithoutPath, restorePath, type RestorePathOptions, warnOfOtherUser } from './restore-path.ts'

type RestoreOptions = Omit<RestorePathOptions, 'path'> & { readonly path?: string | undefined }

export function registerRestore(program: Command, terminal: Terminal): void {
  const restoring = withStore(withSource(program.command('restore').description('restore a whole store, or one file or directory, from a backup')))
    .argument('<id>', ID_HELP)
    .option('--allow-store-id', 'allow a backup of another store; the target keeps its own ID')
    .option('--allow-altered', 'allow a backup that differs from what the catalog recorded')
    .option('--catalog <path>', `where the job is recorded ${CATALOG_DEFAULT}`)
    .option('-y, --yes', 'do not ask')
    .option(
      '--path <path>',
      'restore only this file or directory, share/directory/name; the rest stays. A hard link to a file outside of it becomes a file of its own',
    )
    .option('--to-path <path>', 'restore it under this path, in an existing directory (default: where it was)')
    .option('--overwrite', 'with --path: replace what is there, for good')
    .option('--payloads <dir>', 'the payload directory of the store: note there that this store uses it, for "gc" of other stores; with --path, also check that all are there')
    .option('--release <share>', 'with --path: first remove this share, .holdfast-restore-..., of a restore killed on a machine that is gone for good')
  const command = withTrial(restoring, 'a restore with --path')
  withExamples(
    command,
    [
      ['restore latest --from file:/backups --store level:/srv/metadata', 'show what would be replaced, ask, restore'],
      ['restore 01JD3 --from file:/backups --store level:./copy --yes', 'into a new store, from a script'],
      ['restore 01JD3 --from file:/backups --store level:/srv/metadata --path photos/2026', 'one directory that was lost'],
      ['restore 01JD3 --from file:/backups --store level:/srv/metadata --path photos/a.jpg --to-path photos/old/a.jpg', 'one file, next to the current one'],
    ],
    `The backup is restored next to the store and checked in full, then swapped in, in one step. The replaced store is kept:
"holdfast rollback" brings it back. The store may be damaged or missing. No other process may have a LevelDB store open; a
Postgres store refuses writes meanwhile, and still serves reads.

With --path the store stays, and a Postgres store stays in service; a server that runs on LevelDB restores a path through the
library. The backup is first restored into a temporary store, which takes as much space as the whole backup and checks all of
it; then the path appears in one step. --overwrite replaces what is there in the same step, for good: "rollback" does not bring
it back. If interrupted or killed, the command has restored all of the path or none. The next run removes what a killed one
left: a share .holdfast-restore-... and a schema holdfast_trial_...; if that ran on another machine, use --release. Locks and
pending uploads are not restored.`,
  )
  command.action(async (id: string, options: RestoreOptions) => {
    const { path } = options
    if (path !== undefined) return await restorePath(id, { ...options, path }, terminal)
    refuseWithoutPath(options)
    await restore(id, options, terminal)
  })
}

async function restore(id: string, options: RestoreOptions, terminal: Terminal): Promise<void> {
  const output = new Output(terminal, options)
  const { signal } = terminal
  const address = parseStoreUrl(options.store)
  const payloads = options.payloads === undefined ? undefined : await openPayloadStore(options.payloads)
  await withParts(terminal, async (parts) => {
    const destination = await parts.destination(options.from)
    const backupId = await openRepository(destination).resolve(id, { signal })
    const target = await parts.home(options.store, { adopt: options.adopt, pace: 'full' })
    const settings = { target, destination, backupId, allowStoreId: options.allowStoreId, allowAltered: options.allowAltered }
    // A refusal comes before the question, and before a catalog or a note in the payload directory is made. With --yes a refusal is
    // recorded where there is a catalog: the restore below is refused in the same way.
    const isRecorded = options.yes === true && payloads === undefined && (await target.engines()).live !== undefined
    let refusal: unknown
    const plan = await planRestore({ ...settings, signal }).catch((error: unknown) => {
      if (!isRecorded) throw error
      refusal = error
      return undefined
    })
    if (plan !== undefined) {
      for (const line of describePlan(plan, address.shown)) await output.note(line)
      if (payloads === undefined && plan.target.storeId !== plan.manifest.storeId) await output.note(UNKNOWN_USER)
      const user = { storeId: plan.storeId, place: await address.place() }
      if (payloads !== undefined) await warnOfOtherUser(payloads, user, output)
      await output.confirm('Restore it?', options)
      // Noted before the first reference exists, and never removed: the next start may complete an interrupted restore.
      await payloads?.addUser(user)
    }
    const progress = output.progress('restore')
    try {
      const catalog = await parts.catalogIfPossible({
        store: options.store,
        catalog: options.catalog,
        storeIdIfNone: plan?.storeId,
        create: plan !== undefined,
        warn: (text) => output.warn(printable(text)),
      })
      // Planned again it might succeed, after a failure that did not last, and would run without a lease.
      if (plan === undefined && catalog === undefined) throw refusal
      const report = await restoreBackup({
        ...(plan === undefined ? settings : { target, destination, plan }),
        signal: parts.signal,
        catalog,
        onProgress: ({ step, bytes, totalBytes, records }) => progress.update({ label: `restore: ${step}`, bytes, totalBytes, count: records, noun: 'records' }),
      })
      progress.end()
      for (const warning of report.warnings) await output.warn(printable(warning.message))
      await output.result({ ...report, warnings: report.warnings.map(({ message }) => message) }, () => describeReport(report, address.shown))
    } catch (error) {
      // The record of the failed job is in there, too.
      if (plan === undefined || plan.target.live !== undefined || !isHoldfastError(error)) throw error
      const left = `${printable(address.shown)} was made and holds no store yet: restore into it again, or remove it`
      throw Object.defineProperty(error, 'hint', { value: `${error.hint}. ${left}`, enumerable: true })
    } finally {
      progress.end()
    }
  })
}

/** The remark for a store that its payload directory may not know: garbage collection for another store would delete its payloads. */
const UNKNOWN_USER =
  'If its payloads are in a payload directory, name it with --payloads: otherwise "holdfast gc" of another store may delete them'

function describeReport(report: RestoreReport, store: string): string[] {
  const { bytes, durationMs, previous, stoppedMs } = report
  return [
    `Restored ${report.backupId} into ${printable(store)}: ${plural(recordCount(report), 'record')}, ${formatBytes(bytes)}, ${plural(report.payloadIds.count, 'payload ID')} ` +
      `checked, in ${formatPace(bytes, durationMs)}; the swap took ${formatDuration(stoppedMs)}`,
    previous === undefined ? 'There was no store before' : `The replaced store is kept; "holdfast rollback --store ${shellWord(store)}" brings it back`,
  ]
}
