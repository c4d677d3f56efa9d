import type { Command } from 'commander'
import type { Job } from '../../index.ts'
import { CATALOG_DEFAULT, parseCount, withExamples } from '../command-options.ts'
import { Output, type OutputOptions } from '../output.ts'
import { catalogPathOf, withParts } from '../../registry/index.ts'
import type { Terminal } from '../terminal.ts'
import { formatBytes, formatDuration, formatTable, formatTime, printable } from '../../util/text.ts'

type JobsOptions = OutputOptions & { readonly store: string; readonly catalog?: string | undefined; readonly limit: number }

export function registerJobs(program: Command, terminal: Terminal): void {
  const command = program
    .command('jobs')
    .description('list the jobs of a store and their outcomes, newest first')
    .requiredOption('--store <url>', 'the metadata store, such as level:/var/lib/server/metadata')
    .option('--catalog <path>', `the catalog ${CATALOG_DEFAULT}`)
    .option('--limit <count>', 'the most jobs to print', parseCount, 20)
  withExamples(command, [
    ['jobs --store level:/srv/metadata', 'the last twenty jobs'],
    ['jobs --store level:/srv/metadata --limit 1 --json', 'the last job, as JSON'],
  ])
  command.action((options: JobsOptions) => jobs(options, terminal))
}

async function jobs(options: JobsOptions, terminal: Terminal): Promise<void> {
  const found: Job[] = []
  await withParts(terminal, async (parts) => {
    const catalog = await parts.catalog(await catalogPathOf(options.store, options.catalog), { create: false })
    for await (const job of catalog.jobs({ limit: options.limit })) found.push(job)
  })
  await new Output(terminal, options).result({ jobs: found }, () => (found.length === 0 ? ['There were no jobs yet.'] : listing(found)))
}

function* listing(jobs: readonly Job[]): Iterable<string> {
  const rows = jobs.map((job) => [
    job.jobId,
    job.kind,
    job.state === 'running' && job.progress !== undefined ? `running: ${job.progress.phase}, ${formatBytes(job.progress.bytes)}` : job.state,
    formatTime(job.startedAt),
    job.endedAt === undefined ? '' : formatDuration(Date.parse(job.endedAt) - Date.parse(job.startedAt)),
    job.backupId ?? '',
    printable(job.error === undefined ? '' : `${job.error.code}: ${job.error.message}`),
  ])
  yield* formatTable(['JOB', 'KIND', 'STATE', 'STARTED', 'TOOK>', 'BACKUP', 'ERROR'], rows)
}
