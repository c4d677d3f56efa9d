import { type Command, Option } from 'commander'
import { type CheckedContent, InvalidArgumentError, openRepository, recordCount, VERIFICATION_LEVELS, type VerificationLevel, type VerifyReport } from '../../index.ts'
import { ID_HELP, trialUrls, type TrialPlace, withExamples, withRecord, withSource, withTrial } from '../command-options.ts'
import { checkTrial, findContentCheck, openPayloadStore, openTrial, type RecordOptions, withParts } from '../../registry/index.ts'
import { Output, type OutputOptions } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { formatBytes, formatPace, formatTime, plural, printable } from '../../util/text.ts'

interface VerifyCommandOptions extends OutputOptions, RecordOptions, TrialPlace {
  readonly from: string
  readonly level: VerificationLevel
  readonly payloads?: string | undefined
}

export function registerVerify(program: Command, terminal: Terminal): void {
  const recording = withSource(program.command('verify').description('check a backup; changes nothing at the destination'))
    .argument('<id>', ID_HELP)
    .addOption(new Option('--level <level>', 'how thorough the check is').choices(VERIFICATION_LEVELS).default('content'))
  const verifying = withRecord(recording, 'compare with what its catalog recorded, and record the outcome')
    .option('--payloads <dir>', 'the payload directory, for level "payloads"')
  const command = withTrial(verifying, 'level "restore"')
  withExamples(
    command,
    [
      ['verify latest --from file:/backups', 'read all of it, and check every frame, count, digest and record'],
      ['verify latest --from file:/backups --level restore', 'the same, then restore it into a temporary store and compare'],
      ['verify latest --from file:/backups --level payloads --payloads /srv/payloads', 'also check that every payload is there'],
      ['verify latest --from file:/backups --level restore --trial-server postgres://server@localhost/spare', 'the same for a backup of a Postgres store'],
    ],
    `Levels:
  manifest  the manifest is valid, and the objects have the sizes that it states
  checksum  also reads all stored bytes; every frame, count and digest agrees
  content   also decodes them, and applies the rules that a restore applies. Of stores of other makers only the form of records is
            checked; of Postgres the archive and its rows, not the values in them: the server checks those at level restore
  restore   like checksum, and compares a trial restore record by record, then removes it
  payloads  like content, and checks that every payload of the backup is in --payloads`,
  )
  command.action((id: string, options: VerifyCommandOptions) => verify(id, options, terminal))
}

async function verify(id: string, options: VerifyCommandOptions, terminal: Terminal): Promise<void> {
  const output = new Output(terminal, options)
  const { signal } = terminal
  const { level } = options
  if (level === 'payloads' && options.payloads === undefined) {
    throw new InvalidArgumentError('Level payloads needs --payloads', { hint: 'Add --payloads with the directory that the payloads are in' })
  }
  if (level !== 'payloads' && options.payloads !== undefined) {
    throw new InvalidArgumentError(`Cannot look for payloads at level ${level}`, { hint: 'Add --level payloads, or leave --payloads out' })
  }
  const payloads = options.payloads === undefined ? undefined : await openPayloadStore(options.payloads)
  const at = trialUrls(options)
  await withParts(terminal, async (parts) => {
    const destination = await parts.destination(options.from)
    const backupId = await openRepository(destination).resolve(id, { signal })
    const catalog = await parts.recordOf(options, {})
    const progress = output.progress('verify')
    try {
      const report = await openRepository(destination, { catalog }).verify(backupId, {
        level,
        onManifest: (manifest) => {
          // Refuses at once, not after everything has been read.
          if (level === 'restore') checkTrial(manifest, at)
        },
        contentCheck: findContentCheck,
        openTrial: (manifest) => openTrial(manifest, { at, pace: 'full', onWarning: output.onWarning }),
        payloads,
        signal,
        onProgress: ({ step, bytes, totalBytes, records }) => progress.update({ label: `verify: ${step}`, bytes, totalBytes, count: records, noun: 'records' }),
      })
      progress.end()
      await output.result(report, () => [describeReport(report)])
    } finally {
      progress.end()
    }
  })
}

function describeReport({ backupId, manifest, level, checkedContent, bytes, frames, durationMs }: VerifyReport): string {
  const which = `${backupId} of ${formatTime(manifest.createdAt)}, store ${printable(manifest.storeId)}`
  if (level === 'manifest') return `The manifest of ${which} is valid, and the objects have the sizes that it states`
  const read = `${formatBytes(bytes)} in ${plural(frames, 'frame')}, ${plural(recordCount(manifest), 'record')}, ${plural(manifest.payloadIds.count, 'payload ID')}`
  const more = { manifest: '', checksum: '', content: '', restore: '; a trial restore gave back the same records', payloads: '; every payload is there' }[level]
  return `Good: ${which}: ${read} checked in ${formatPace(bytes, durationMs)}${contentNote(level, checkedContent)}${more}`
}

/** What was not looked into. */
function contentNote(level: VerificationLevel, checked: CheckedContent): string {
  if (checked === 'all') return ''
  if (checked === 'form') return '; what the records mean was not checked, for the store is of another maker'
  return level === 'checksum' ? '; what the frames hold was not checked' : ''
}
