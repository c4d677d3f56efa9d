import type { Command } from 'commander'
import { describePlan, openRepository, planRestore, recordCount, restoreBackup, type RestoreReport } from '../../index.ts'
import { ID_HELP, withExamples, withSource, withStore, withTrial } from '../command-options.ts'
import { openPayloadStore, parseStoreUrl, withParts } from '../../registry/index.ts'
import { Output } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { formatBytes, formatCount, formatDuration, formatPace, plural, printable } from '../../util/text.ts'
import { refuseWithoutPath, restorePath, type RestorePathOptions } from './restore-path.ts'

type RestoreOptions = Omit<RestorePathOptions, 'path'> & { readonly path?: string | undefined }

export function registerRestore(program: Command, terminal: Terminal): void {
  const restoring = withStore(withSource(program.command('restore').description('replace a store by what a backup holds, or bring one file or directory back')))
    .argument('<id>', ID_HELP)
    .option('--allow-store-id', 'restore the backup of another store; the store keeps its own ID')
    .option('--allow-altered', 'restore a backup that is not as the catalog recorded it, as it is now')
    .option('--catalog <path>', "where the job is recorded (default: the directory catalog within the store's; of a Postgres store one in ~/.local/state/holdfast)")
    .option('-y, --yes', 'do not ask')
    .option('--path <path>', 'bring back only this file or directory, share/directory/name, into a store that goes on as it is')
    .option('--to-path <path>', 'bring it back under this path; the directory above is there (default: where it was)')
    .option('--overwrite', 'replace what is there already')
    .option('--payloads <dir>', 'where its payloads are: note there that this store needs them, for "gc" of other stores; with --path, see first that all are there')
    .option('--release <share>', 'with --path: first remove what a killed one left in this share, .holdfast-restore-..., on a machine that is gone for good')
  const command = withTrial(restoring, 'a restore with --path')
  withExamples(
    command,
    [
      ['restore latest --from file:/backups --store level:/srv/metadata', 'say what would be replaced, ask, restore'],
      ['restore 01JD3 --from file:/backups --store level:./copy --yes', 'into a new store, from a script'],
      ['restore 01JD3 --from file:/backups --store level:/srv/metadata --path photos/2026', 'one directory that was lost'],
      ['restore 01JD3 --from file:/backups --store level:/srv/metadata --path photos/a.jpg --to-path photos/old/a.jpg', 'one file, beside the one there is'],
    ],
    `The backup is restored beside the store and checked in full before it takes its place, in one step. The store that was there before is
kept: "holdfast rollback" brings it back. The store may be damaged, or not exist yet. No other process may have
a LevelDB store open; of a Postgres store, writes of others are refused for that time, and reads go on.

With --path the store stays, and users of a Postgres store are not held up; a LevelDB store must be at rest, or its server restores from within. The
backup is restored into a temporary store first, which needs as much space and checks all of it; then what was asked for appears in one step, whole.
--overwrite replaces what is there in the same step, for good: "rollback" does not bring it back. Interrupted or killed, the command
leaves the tree as it was, or whole; a share .holdfast-restore-... that a killed one leaves is removed by the next, or in a Postgres store, where it
was killed on another machine, by --release; so is a schema holdfast_trial_... of a Postgres backup. Locks and pending uploads are not brought back.`,
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
    // What is refused is refused before the operator is asked, and before anything is made for it, be it the catalog or a note in the payload directory. Of a
    // script, though, a refusal is recorded: the restore below is refused in the same way.
    const isRecorded = options.yes === true && payloads === undefined && (await target.engines()).live !== undefined
    const plan = await planRestore({ ...settings, signal }).catch((error: unknown) => {
      if (!isRecorded) throw error
      return undefined
    })
    if (plan !== undefined) {
      for (const line of describePlan(plan, address.shown)) await output.note(line)
      if (payloads === undefined && plan.target.storeId !== plan.manifest.storeId) await output.note(UNKNOWN_USER)
      await output.confirm('Restore it?', options)
      // Before the first reference is there, and never taken back: a restore that was cut off may be completed by the next start.
      await payloads?.addUser({ storeId: plan.storeId, place: await address.place() })
    }
    const progress = output.progress('restore')
    try {
      const catalog = await parts.catalogIfPossible({ store: options.store, catalog: options.catalog, warn: (text) => output.warn(printable(text)) })
      const report = await restoreBackup({
        ...(plan === undefined ? settings : { target, destination, plan }),
        signal: parts.signal,
        catalog,
        onProgress: ({ step, bytes, totalBytes, records }) => progress.update({ label: `restore: ${step}`, bytes, totalBytes, count: records, noun: 'records' }),
      })
      progress.end()
      for (const warning of report.warnings) await output.warn(printable(warning.message))
      await output.result({ ...report, warnings: report.warnings.map(({ message }) => message) }, () => describeReport(report, address.shown))
    } finally {
      progress.end()
    }
  })
}

/** Where the store need not be one that the payload directory knows, garbage collection for another store would take its payloads. */
const UNKNOWN_USER =
  'If its payloads are in a payload directory, name that with --payloads: else "holdfast gc" of another store does not know that this one needs them'

function describeReport(report: RestoreReport, store: string): string[] {
  const { bytes, durationMs, previous, stoppedMs } = report
  return [
    `Restored ${report.backupId} into ${printable(store)}: ${plural(recordCount(report), 'record')}, ${formatBytes(bytes)}, ${formatCount(report.payloadIds.count)} payload IDs ` +
      `checked, in ${formatPace(bytes, durationMs)}; the swap took ${formatDuration(stoppedMs)}`,
    previous === undefined ? 'There was no store before' : `The store as it was is kept; "holdfast rollback --store ${printable(store)}" brings it back`,
  ]
}
