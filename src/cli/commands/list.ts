import type { Command } from 'commander'
import { dirname } from 'node:path'
import {
  type Catalog, type CatalogBackup, ChecksumMismatchError, type DestinationWarning, type ListedBackup, type Manifest, ManifestMissingError, openRepository, recordCount,
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

/** A backup that the list shows: it is there, good or not. */
type Shown = Exclude<ListedBackup, { readonly state: 'gone' | 'unreachable' }>

export function registerList(program: Command, terminal: Terminal): void {
  const command = withRecord(withSource(program.command('list').description('list the backups of a destination, oldest first')))
  withExamples(command, [
    ['list --from file:/backups', 'every backup, a line each'],
    ['list --from file:/backups --json', 'the manifests, for scripts: { "backups": [...], "newer": [...], "altered": [...], "damaged": [...], "missing": [...] }'],
  ], `States: "newer" needs a newer release; "damaged" has an invalid manifest, or a link, FIFO or directory for a file; "altered" differs from what the catalog recorded.
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
  let missing: readonly Missing[] = []
  await withParts(terminal, async (parts) => {
    const destination = await parts.destination(options.from)
    hint = hintFor(destination.url)
    const catalog = await parts.recordOf(options)
    if (catalog !== undefined) recorded = new Map()
    for await (const entry of openRepository(destination, { catalog }).list({ signal: terminal.signal })) {
      if (entry.state === 'unreachable') throw entry.error
      if (entry.state !== 'gone') entries.push(entry)
      if (entry.state !== 'readable' || catalog === undefined) continue
      const record = await catalog.backup(entry.backupId, destination.url)
      recorded?.set(entry.backupId, record)
      if (record === undefined) unrecorded.push(entry.backup.manifest)
      else stores.add(entry.backup.manifest.storeId)
    }
    if (catalog !== undefined) missing = await findMissing(catalog, { url: destination.url, listed: new Set(entries.map(({ backupId }) => backupId)) })
    warnings = destination.takeWarnings?.() ?? []
  })
  const document: Record<'backups' | 'newer' | 'altered' | 'damaged' | 'missing', unknown[]> = { backups: [], newer: [], altered: [], damaged: [], missing: [] }
  for (const entry of entries) {
    if (entry.state === 'readable') document.backups.push({ ...entry.backup.manifest, ...(recorded && verificationOf(recorded.get(entry.backupId))) })
    else document[entry.state].push({ backupId: entry.backupId, error: errorDocument(entry.error) })
  }
  for (const { backupId, error } of missing) document.missing.push({ backupId, error: errorDocument(error) })
  await output.result(document, () => listing(entries, recorded))
  for (const { message } of warnings) await output.warn(printable(message))
  if (hint !== undefined && entries.length === 0) await output.note(hint)
  const unknown = unrecorded.filter(({ storeId }) => stores.has(storeId)).map(({ backupId }) => backupId)
  if (unknown.length > 0) await output.warn(`The catalog has no record of ${unknown.join(', ')}; look into it before you restore it. "holdfast catalog rebuild" records it`)
  const error = entries.flatMap((entry) => (entry.state === 'altered' || entry.state === 'damaged' ? [entry.error] : []))[0] ?? failedOf(recorded) ?? missing[0]?.error
  if (error !== undefined) throw output.json ? new AlreadyReported(error) : error
}

interface Missing {
  readonly backupId: string
  readonly error: ManifestMissingError
}

/** The backups that the catalog has and the destination lacks, but for those that only a sweep recorded: others may take them. */
async function findMissing(
  catalog: Catalog,
  { url, listed }: { readonly url: string; readonly listed: ReadonlySet<string> },
): Promise<readonly Missing[]> {
  const missing: string[] = []
  for await (const { backupId, destination, deletedAt, how } of catalog.backups()) {
    if (destination === url && deletedAt === undefined && how !== 'sweep' && !listed.has(backupId)) missing.push(backupId)
  }
  const error = new ManifestMissingError(`Not listed at ${JSON.stringify(url)}, but the catalog has it: backup ${missing.join(', ')}`, {
    hint: 'Check that the destination is mounted and the right one; if a backup is gone for good, run "holdfast delete ID" with its store or catalog',
    details: { missing },
  })
  return missing.map((backupId) => ({ backupId, error }))
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
