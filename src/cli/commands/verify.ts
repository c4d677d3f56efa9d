import { tmpdir } from 'node:os'
import { type Command, Option } from 'commander'
import { resolveBackup } from '../../backup/resolve-backup.ts'
import { verifyBackup, type TrialStore, type VerificationLevel, type VerifyReport } from '../../backup/verify-backup.ts'
import { VERIFICATION_LEVELS } from '../../catalog/catalog.ts'
import { withOptionalCatalog } from '../catalogs.ts'
import { ID_HELP, withExamples, withSource } from '../command-options.ts'
import { withDestination } from '../destinations.ts'
import { Output, type OutputOptions } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { formatBytes, formatPace, formatTime, plural, printable } from '../text.ts'

interface VerifyCommandOptions extends OutputOptions {
  readonly from: string
  readonly level: VerificationLevel
  readonly catalog?: string | undefined
  readonly trialDir: string
}

export function registerVerify(program: Command, terminal: Terminal): void {
  const command = withSource(program.command('verify').description('check a backup; changes nothing at the destination'))
    .argument('<id>', ID_HELP)
    .addOption(new Option('--level <level>', 'how thoroughly').choices(VERIFICATION_LEVELS).default('checksum'))
    .option('--catalog <path>', 'a catalog to record the outcome in')
    .option('--trial-dir <dir>', 'where the temporary store of level restore is made', tmpdir())
  withExamples(
    command,
    [
      ['verify latest --from file:/backups', 'read all stored bytes, check every frame, count and digest'],
      ['verify latest --from file:/backups --level restore', 'the same, then restore it into a temporary store and compare'],
    ],
    `Levels:
  manifest  the manifest is valid and the objects have the sizes it says
  checksum  all stored bytes are read; every frame, count and digest agrees
  restore   on top of that, a trial restore is compared record by record, and removed`,
  )
  command.action((id: string, options: VerifyCommandOptions) => verify(id, options, terminal))
}

async function verify(id: string, options: VerifyCommandOptions, terminal: Terminal): Promise<void> {
  const output = new Output(terminal, options)
  const { signal } = terminal
  const { level } = options
  await withDestination(options.from, async (destination) => {
    const backupId = await resolveBackup(destination, id, { signal })
    const progress = output.progress('verify')
    try {
      const report = await withOptionalCatalog(options.catalog, (catalog) =>
        verifyBackup({
          destination,
          backupId,
          level,
          openTrial: () => openTrial(options.trialDir, output),
          catalog,
          signal,
          onProgress: ({ step, bytes, totalBytes, records }) => progress.update({ label: `verify: ${step}`, bytes, totalBytes, count: records, noun: 'records' }),
        }),
      )
      progress.end()
      await output.result(report, () => [describeReport(report)])
    } finally {
      progress.end()
    }
  })
}

/** A LevelDB store that lasts for one trial; the records of memory stores are the same. */
async function openTrial(parent: string, output: Output): Promise<TrialStore> {
  const { openLevelTrial } = await import('../trial-directory.ts')
  return await openLevelTrial(parent, { onWarning: ({ message }) => output.warn(printable(message)) })
}

function describeReport({ backupId, manifest, level, bytes, frames, durationMs }: VerifyReport): string {
  const records = Object.values(manifest.records).reduce((sum, count) => sum + count, 0)
  const which = `${backupId} of ${formatTime(manifest.createdAt)}, store ${printable(manifest.storeId)}`
  if (level === 'manifest') return `The manifest of ${which} is valid, and the objects have the sizes it says`
  const read = `${formatBytes(bytes)} in ${plural(frames, 'frame')}, ${plural(records, 'record')}, ${plural(manifest.payloadIds.count, 'payload ID')}`
  const trial = level === 'restore' ? '; a trial restore gave back the same records' : ''
  return `Good: ${which}: ${read} checked in ${formatPace(bytes, durationMs)}${trial}`
}
