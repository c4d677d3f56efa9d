import type { Command } from 'commander'
import { dirname } from 'node:path'
import {
  type CatalogBackup, ChecksumMismatchError, type DestinationWarning, type HoldfastError, type ListedBackup, type Manifest, openRepository, recordCount,
} from '../../index.ts'
import { isUlid } from '../../util/ulid.ts'
import { withExamples, withRecord, withSource } from '../command-options.ts'
import { type RecordOptions, withParts } from '../../registry/index.ts'
import { Output, type OutputOptions } from '../output.ts'
import { AlreadyReported, errorDocument } from '../report-error.ts'
import type { Terminal } from '../terminal.ts'
import { shortVerification, verificationOf } from '../verification.ts'
import { formatBytes, formatCount, formatLabels, formatTable, formatTime, printable, shellWord } from '../../util/text.ts'

type ListOptions = OutputOptions & RecordOptions & { readonly from: string }

/** A backup that the list shows: one that is there, good or not, or should be. */
type Shown = Exclude<ListedBackup, { readonly state: 'gone' | 'unreachable' }>

export function registerList(program: Command, terminal: Terminal): void {
  const command = withRecord(withSource(program.command('list').description('list the backups of a destination, oldest first')))
  withExamples(command, [
    ['list --from file:/backups', 'every backup, a line each'],
    ['list --from file:/backups --json', 'the manifests, for scripts: { "backups": [...], "newer": [...], "altered": [...], "damaged": [...], "missing": [...] }'],
  ], `States: "newer" needs a newer release; "damaged" has an invalid manifest, or a link, FIFO or directory for a file; "altered" differs from what the catalog recorded;
"missing" is in the catalog only.
With --store or --catalog, VERIFIED shows the level and day of the last recorded verification: "never" for none, "failed" for a fault that it found.
The exit code is 3 if any backup is damaged, altered or failed its last verification, 1 if the destination lacks one that the catalog has.`)
  command.action((options: ListOptions) => list(options, terminal))
}

async function list(options: ListOptions, terminal: Terminal): Promise<void> {
  const output = new Output(terminal, options)
  const entries: Shown[] = []
  const unrecorded: Manifest[] = []
  /** What the catalog has of each backup; `undefined` without a catalog. */
  let recorded: Map<string, CatalogBackup | undefined> | undefined
  /** The stores that the catalog has backups of: others may share the destination. */
  const stores = new Set<string>()
  let hint: string | undefined
  let warnings: readonly DestinationWarning[] = []
  await withParts(terminal, async (parts) => {
    const destination = await parts.destination(options.from)
    hint = hintFor(destination.url)
    const catalog = await parts.recordOf(options)
    if (catalog !== undefined) recorded = new Map()
    for await (const entry of openRepository(destination, { catalog }).list({ signal: terminal.signal })) {
      if (entry.state === 'unreachable') throw entry.error
      if (entry.state !== 'gone') entries.push(entry)
      if (entry.state !== 'readable' || catalog === undefined) continue
      recorded?.set(entry.backupId, entry.recorded)
      if (entry.recorded === undefined) unrecorded.push(entry.backup.manifest)
      else stores.add(entry.backup.manifest.storeId)
    }
    warnings = destination.takeWarnings?.() ?? []
  })
  const document: Record<'backups' | 'newer' | 'altered' | 'damaged' | 'missing', unknown[]> = { backups: [], newer: [], altered: [], damaged: [], missing: [] }
  for (const entry of entries) {
    if (entry.state === 'readable') document.backups.push({ ...entry.backup.manifest, ...(recorded && verificationOf(recorded.get(entry.backupId))) })
    else document[entry.state].push({ backupId: entry.backupId, error: errorDocument(entry.error) })
  }
  await output.result(document, () => listing(entries, recorded))
  for (const { message } of warnings) await output.warn(printable(message))
  if (hint !== undefined && entries.length === 0) await output.note(hint)
  const unknown = unrecorded.filter(({ storeId }) => stores.has(storeId)).map(({ backupId }) => backupId)
  if (unknown.length > 0) await output.warn(`The catalog has no record of ${unknown.join(', ')}; look into it before you restore it. "holdfast catalog rebuild" records it`)
  const error = errorOf(entries, 'altered', 'damaged') ?? failedOf(recorded) ?? errorOf(entries, 'missing')
  if (error !== undefined) throw output.json ? new AlreadyReported(error) : error
}

/** The error of the first entry in one of some states. */
function errorOf(entries: readonly Shown[], ...states: readonly ListedBackup['state'][]): HoldfastError | undefined {
  for (const entry of entries) if (entry.state !== 'readable' && states.includes(entry.state)) return entry.error
  return undefined
}

/** The error for the backups that failed their last verification. */
function failedOf(recorded: ReadonlyMap<string, CatalogBackup | undefined> = new Map()): ChecksumMismatchError | undefined {
  const failed = [...recorded].filter(([, record]) => verificationOf(record).verification?.error !== undefined).map(([backupId]) => backupId)
  if (failed.length === 0) return undefined
  return new ChecksumMismatchError(`Failed its last verification: backup ${failed.join(', ')}`, {
    hint: 'Run "holdfast show ID" with the same store or catalog to see the fault, and take a new backup; "holdfast verify ID" looks again',
    details: { failed },
  })
}

/** The hint for a URL that names a single backup instead of its directory. */
function hintFor(url: string): string | undefined {
  const [path = '', query] = url.replace(/\/+$/, '').split('?')
  if (!isUlid(path.slice(path.lastIndexOf('/') + 1))) return undefined
  const parent = `${dirname(path)}${query === undefined ? '' : `?${query}`}`
  return `This URL names a single backup; list its parent directory: holdfast list --from ${shellWord(parent)}`
}

function listing(entries: readonly Shown[], recorded: ReadonlyMap<string, CatalogBackup | undefined> | undefined): string[] {
  if (entries.length === 0) return ['There are no backups yet.']
  const rows = entries.map((entry) => {
    if (entry.state !== 'readable') return [entry.backupId, `${entry.state}: ${entry.error.code}`]
    const { manifest } = entry.backup
    return [...rowOf(manifest), ...(recorded === undefined ? [] : [shortVerification(recorded.get(entry.backupId))]), formatLabels(manifest.labels)]
  })
  return formatTable(['BACKUP', 'CREATED', 'STORE', 'KIND', 'RECORDS>', 'PAYLOADS>', 'SIZE>', ...(recorded === undefined ? [] : ['VERIFIED']), 'LABELS'], rows)
}

function rowOf(manifest: Manifest): string[] {
  return [
    manifest.backupId,
    formatTime(manifest.createdAt),
    printable(manifest.storeId),
    printable(manifest.storeKind),
    formatCount(recordCount(manifest)),
    formatCount(manifest.payloadIds.count),
    formatBytes(manifest.payload.bytes + manifest.payloadIds.bytes),
  ]
}
