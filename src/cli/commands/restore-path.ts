/** The restore of one file or directory: `holdfast restore ID --path PATH`. */
import {
  InvalidArgumentError, isHoldfastError, type MetadataStore, openRepository, parsePath, type PayloadUser, restoreSubtree, type RestoreSubtreeReport,
  showPath, type WritablePayloadStore,
} from '../../index.ts'
import { openPayloadStore, openTrial, parseStoreUrl, withParts } from '../../registry/index.ts'
import { type TrialPlace, trialUrls } from '../command-options.ts'
import { Output, type OutputOptions } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { formatBytes, formatDuration, formatTime, plural, printable } from '../../util/text.ts'
import { checkBackupPath, findPath } from '../../browse/index.ts'

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
    const user = { storeId: store.storeId, place: await address.place() }
    if (payloads !== undefined) await warnOfOtherUser(payloads, user, output)
    if (overwrite === true) {
      await output.note(`It restores "${printable(path)}" of backup ${backupId}`)
      await output.note(await describeExisting(store, target))
      await output.confirm(`Replace what is at "${printable(target)}" in ${printable(address.shown)} for good?`, options)
    }
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
        beforeChange: async () => await payloads?.addUser(user),
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

/** What a restore with --overwrite replaces. */
async function describeExisting(store: MetadataStore, path: string): Promise<string> {
  const found = await findPath(store, parsePath(path), 'in the store').catch((error: unknown) => {
    if (!isHoldfastError(error) || error.code !== 'entry_not_found') throw error
    return undefined
  })
  const shown = `"${printable(path)}"`
  if (found === undefined) return `There is no ${shown} to replace`
  const { type, inode, size, modifiedAtNs } = found
  const modified = `modified ${formatTime(Number(modifiedAtNs / 1_000_000n))}`
  if (type !== 'directory') return `It replaces the ${type} ${shown}: ${formatBytes(size)}, ${modified}`
  const { entries, cursor } = await store.readDirectory(inode)
  const count = plural(entries.length, 'entry', 'entries')
  return `It replaces the directory ${shown} and all in it (${cursor === undefined ? count : `more than ${count}`}), ${modified}`
}

/** Says that a payload store which another store uses too is not swept, while that can still be avoided. */
export async function warnOfOtherUser(payloads: WritablePayloadStore, user: PayloadUser, output: Output): Promise<void> {
  const other = await payloads.otherUser(user)
  if (other === undefined) return
  const which = other.storeId === user.storeId ? 'a copy of this store' : `the store "${printable(other.storeId)}"`
  const where = other.place === undefined ? '' : ` at "${printable(other.place)}"`
  await output.warn(
    `${which}${where} refers to payloads in this directory too: no "holdfast gc" of it runs as long as both do. ` +
      `If that store was moved or is gone for good, remove "${printable(other.path)}"; ` +
      'otherwise keep the payloads of each store in a directory of its own',
  )
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
