import type { Command } from 'commander'
import { rebuildCatalog, type RebuildReport } from '../../index.ts'
import { collect, withExamples } from '../command-options.ts'
import { withParts } from '../../registry/index.ts'
import { Output, type OutputOptions } from '../output.ts'
import { AlreadyReported, errorDocument } from '../report-error.ts'
import { asHoldfastError } from '../../util/system-errors.ts'
import type { Terminal } from '../terminal.ts'
import { plural, printable } from '../../util/text.ts'

type RebuildOptions = OutputOptions & { readonly from: readonly string[]; readonly catalog: string }

export function registerCatalog(program: Command, terminal: Terminal): void {
  const catalog = program.command('catalog').description('manage the record of jobs and backups; see "catalog rebuild --help"')
  const rebuild = catalog
    .command('rebuild')
    .description('rebuild or complete a catalog from the backups at destinations')
    .requiredOption('--from <url>', 'where backups are, such as file:/backups; may be given several times', collect)
    .requiredOption('--catalog <path>', 'the directory of the catalog; created if missing')
  withExamples(
    rebuild,
    [['catalog rebuild --from file:/backups --catalog /srv/metadata/catalog', 'after the catalog was lost']],
    'Nothing is removed, from the catalog or the destinations. The history of jobs cannot be rebuilt.',
  )
  rebuild.action((options: RebuildOptions) => runRebuild(options, terminal))
}

async function runRebuild(options: RebuildOptions, terminal: Terminal): Promise<void> {
  const output = new Output(terminal, options)
  const { signal } = terminal
  const report = await withParts(terminal, async (parts) => {
    const destinations = await parts.destinations(options.from)
    return await rebuildCatalog({ catalog: await parts.catalog(options.catalog), destinations, signal })
  })
  const unreadable = report.unreadable.map((place) => ({ ...place, error: asHoldfastError(place.error) }))
  const document = { ...report, unreadable: unreadable.map((place) => ({ ...place, error: errorDocument(place.error) })) }
  await output.result(document, () => describe(report, options.catalog))
  const [first] = unreadable
  if (first !== undefined) throw output.json ? new AlreadyReported(first.error) : first.error
}

function* describe({ recorded, altered, known, unreadable, missing }: RebuildReport, catalog: string): Iterable<string> {
  yield `Recorded ${plural(recorded.length, 'backup')} in ${printable(catalog)}; ${plural(known, 'backup')} known before`
  for (const { destination, backupId } of recorded) yield `+ ${backupId} at ${printable(destination)}`
  for (const { destination, backupId } of altered) yield `~ ${backupId} at ${printable(destination)} differed from its record; the record is updated`
  for (const { destination, backupId } of missing) yield `! ${backupId} is in the catalog, but no longer at ${printable(destination)}`
  for (const { destination, backupId } of unreadable) yield `? ${backupId ?? 'the list of backups'} at ${printable(destination)} cannot be read`
}
