/** The restore of one file or directory: `holdfast restore ID --path PATH`. */
import { InvalidArgumentError, openRepository, parsePath, restoreSubtree, type RestoreSubtreeReport, showPath } from '../../index.ts'
import { openPayloadStore, openTrial, parseStoreUrl, withParts } from '../../registry/index.ts'
import { type TrialPlace, trialUrls } from '../command-options.ts'
import { Output, type OutputOptions } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { formatBytes, formatDuration, plural, printable } from '../../util/text.ts'
import { checkBackupPath } from '../../browse/index.ts'

export interface RestorePathOptions extends OutputOptions, TrialPlace {
  readonly from: string
  readonly store: string
  readonly path: string
  readonly toPath?: string | undefined
  readonly overwrite?: boolean | undefined
  readonly payloads?: string | undefined
  readonly adopt?: boolean | undefined
  readonly release?: string | undefined
  readonly allowStoreId?: boolean | undefined
  readonly allowAltered?: boolean | undefined
  readonly catalog?: string | undefined
  readonly yes?: boolean | undefined
}

export async function restorePath(id: string, options: RestorePathOptions, terminal: Terminal): Promise<void> {
  const { path, toPath = path, overwrite, allowStoreId, allowAltered, release } = options
  parsePath(path)
  const output = new Output(terminal, options)
  const { signal } = terminal
  const address = parseStoreUrl(options.store)
  const target = showPath(parsePath(toPath))
  // The trial of a Postgres backup uses the store's server, unless another is named.
  const at = trialUrls({ trialDir: options.trialDir, trialServer: options.trialServer ?? address.trialUrl })
  const payloads = options.payloads === undefined ? undefined : await openPayloadStore(options.payloads)
  await withParts(terminal, async (parts) => {
    const destination = await parts.destination(options.from)
    const backupId = await openRepository(destination).resolve(id, { signal })
    const store = await parts.store(options.store, { adopt: options.adopt })
    if (overwrite === true) await output.confirm(`Replace what is at "${printable(target)}" in ${printable(address.shown)} for good?`, options)
    // The catalog holds the payloads: without it, garbage collection could delete them.
    const { catalog, holds } = await parts.holds({ store: options.store, use: 'need', catalog: options.catalog, destinations: [destination] })
    const holding = parts.signal
    const progress = output.progress('restore')
    try {
      const report = await restoreSubtree({
        store,
        destination,
        backupId,
        path,
        toPath,
        overwrite,
        openTrial: async (manifest, backup) => {
          // Reports a missing path before the whole backup is restored.
          await checkBackupPath(backup, { path: parsePath(path), signal: holding })
          return await openTrial(manifest, { at, pace: 'full', onWarning: output.onWarning })
        },
        catalog,
        holds,
        payloads,
        // A sweep for another store, such as the original of this copy, must know that this one needs payloads there.
        beforeChange: async () => await payloads?.addUser({ storeId: store.storeId, place: await address.place() }),
        allowStoreId,
        allowAltered,
        release,
        signal: holding,
        onProgress: ({ step, bytes, totalBytes, records }) => progress.update({ label: `restore: ${step}`, bytes, totalBytes, count: records, noun: 'records' }),
      })
      progress.end()
      for (const { message } of report.warnings) await output.warn(printable(message))
      await output.result({ ...report, warnings: report.warnings.map(({ message }) => message) }, () => [describeReport(report, address.shown)])
    } finally {
      progress.end()
    }
  })
}

/** Refuses options that need `--path`. */
export function refuseWithoutPath(options: Omit<RestorePathOptions, 'path'>): void {
  const named = (['toPath', 'overwrite', 'release', 'trialServer'] as const).find((name) => options[name] !== undefined)
  if (named === undefined) return
  const option = `--${named.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
  throw new InvalidArgumentError(`Cannot use ${option} without --path`, {
    hint: 'Name the file or directory to restore with --path, or leave the option out to restore the whole store',
  })
}

function describeReport({ backupId, path, toPath, replaced, restored, durationMs }: RestoreSubtreeReport, store: string): string {
  const { files, directories, symlinks, others, hardLinks, bytes } = restored
  const counts = [
    `${plural(files, 'file')} (${formatBytes(bytes)})`,
    plural(directories, 'directory', 'directories'),
    ...(symlinks > 0 ? [plural(symlinks, 'symbolic link')] : []),
    ...(hardLinks > 0 ? [plural(hardLinks, 'hard link')] : []),
    ...(others > 0 ? [plural(others, 'socket, fifo or device', 'sockets, fifos and devices')] : []),
  ]
  const as = toPath === path ? '' : ` as "${printable(toPath)}"`
  return `Restored "${printable(path)}" of ${backupId}${as} into ${printable(store)}${replaced ? ', in place of what was there' : ''}: ${counts.join(', ')}, in ${formatDuration(durationMs)}`
}
