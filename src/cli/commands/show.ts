import type { Command } from 'commander'
import { type Manifest, openRepository, recordCount } from '../../index.ts'
import { ID_HELP, withExamples, withRecord, withSource } from '../command-options.ts'
import { type RecordOptions, withParts } from '../../registry/index.ts'
import { Output, type OutputOptions } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { describeVerification, verificationOf } from '../verification.ts'
import { formatBytes, formatCount, formatLabels, formatPairs, formatTime, printable } from '../../util/text.ts'

type ShowOptions = OutputOptions & RecordOptions & { readonly from: string }

export function registerShow(program: Command, terminal: Terminal): void {
  const showing = program.command('show').description("print a backup's manifest and, with its store or catalog, its last verification")
  const command = withRecord(withSource(showing.argument('<id>', ID_HELP)))
  withExamples(command, [
    ['show latest --from file:/backups', 'the newest backup'],
    ['show 01JD --from file:/backups --json', 'the backup whose ID begins with 01JD, as JSON'],
  ])
  command.action((id: string, options: ShowOptions) => show(id, options, terminal))
}

async function show(id: string, options: ShowOptions, terminal: Terminal): Promise<void> {
  const { signal } = terminal
  await withParts(terminal, async (parts) => {
    const destination = await parts.destination(options.from)
    const catalog = await parts.recordOf(options)
    const repository = openRepository(destination, { catalog })
    const { manifest, backupId } = await repository.open(await repository.resolve(id, { signal }), { signal })
    const record = await catalog?.backup(backupId, destination.url)
    const verified = catalog === undefined ? 'not known here; name the store with --store' : describeVerification(record)
    await new Output(terminal, options).result(
      { ...manifest, ...(catalog && verificationOf(record)) },
      () => describeManifest(manifest, verified),
    )
  })
}

/** The lines of a manifest and of its last verification, for people. */
function describeManifest(manifest: Manifest, verified: string): string[] {
  const { payload, payloadIds, records } = manifest
  return formatPairs([
    ['backupId', manifest.backupId],
    ['createdAt', formatTime(manifest.createdAt)],
    ['store', `${printable(manifest.storeId)} (${printable(manifest.storeKind)}, schema version ${manifest.schemaVersion})`],
    ['stream', `${formatBytes(payload.bytes)} (${formatCount(payload.bytes)} bytes), sha256 ${payload.sha256}`],
    ['payloadIds', `${formatCount(payloadIds.count)} in ${formatBytes(payloadIds.bytes)}, sha256 ${payloadIds.sha256}`],
    ['records', describeRecords(records)],
    ['compression', manifest.compression],
    ['encryption', manifest.encryption === null ? 'none' : printable(JSON.stringify(manifest.encryption))],
    ['verified', verified],
    ['labels', formatLabels(manifest.labels) || 'none'],
    ['holdfastVersion', printable(manifest.holdfastVersion)],
    ['manifestVersion', String(manifest.manifestVersion)],
  ])
}

/** The total, and the count of each section that has records. */
function describeRecords(records: Manifest['records']): string {
  const sections = Object.entries(records).filter(([, count]) => count > 0)
  return `${formatCount(recordCount({ records }))} (${sections.map(([section, count]) => `${printable(section)} ${formatCount(count)}`).join(', ')})`
}
