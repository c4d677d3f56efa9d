/** Options and help that commands share. */
import { tmpdir } from 'node:os'
import { resolve } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { EXIT, EXIT_MEANINGS } from './exit-codes.ts'
import { urlOfPath } from '../util/urls.ts'

/** Adds `--json` and `--quiet`. */
export function withOutputOptions(command: Command): Command {
  return command.option('--json', 'print one JSON document on stdout and nothing else there').option('-q, --quiet', 'print neither progress nor remarks on stderr')
}

export function withStore(command: Command): Command {
  return command
    .requiredOption('--store <url>', 'the metadata store, such as level:/var/lib/server/metadata or postgres://server@localhost/files?schema=meta')
    .option('--adopt', 'take over a plain LevelDB directory, or a schema that the library filled; nothing is moved')
}

export function withSource(command: Command): Command {
  return command.requiredOption('--from <url>', 'where the backups are, such as file:/backups')
}

/** Adds the options of `RecordOptions`; `purpose` is what the catalog is for. */
export function withRecord(command: Command, purpose = 'compare with what its catalog recorded'): Command {
  return command.option('--store <url>', `the store that was backed up: ${purpose}`).option('--catalog <path>', 'the same, with a catalog in another place')
}

/** Where a command makes its trial restore. */
export interface TrialPlace {
  readonly trialDir: string
  readonly trialServer?: string | undefined
}

/** The URLs of the places where a trial may be made. */
export function trialUrls({ trialDir, trialServer }: TrialPlace): readonly string[] {
  return [urlOfPath('level', resolve(trialDir)), ...(trialServer === undefined ? [] : [trialServer])]
}

/** Adds the options of `TrialPlace`; `when` says when a trial is made. */
export function withTrial(command: Command, when: string): Command {
  return command
    .option('--trial-dir <dir>', `where ${when} makes its temporary store`, tmpdir())
    .option('--trial-server <url>', 'the same for a Postgres backup, in a schema of its own: postgres://USER@HOST/DATABASE')
}

/** The default of `--catalog`, for help. */
export const CATALOG_DEFAULT = '(default: "catalog" in the store\'s directory; for Postgres a directory in ~/.local/state/holdfast)'

export const ID_HELP = 'a backup ID, the beginning of one, or "latest"'

const EXIT_CODES = `
Exit codes:
${Object.entries(EXIT).map(([name, code]) => `  ${String(code).padEnd(5)}${EXIT_MEANINGS[name as keyof typeof EXIT]}`).join('\n')}`

/** Adds remarks, examples and exit codes to a command's help. An example is a command line without the program's name, and its purpose. */
export function withExamples(command: Command, examples: readonly (readonly [string, string])[], remarks: string = ''): Command {
  const lines = examples.map(([line, purpose]) => `  # ${purpose}\n  holdfast ${line}`)
  return command.addHelpText('after', `${remarks === '' ? '' : `\n${remarks}\n`}\nExamples:\n${lines.join('\n')}\n${EXIT_CODES}`)
}

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 }

/** Parses a number of bytes: `65536`, `512k`, `10MiB`. Units are powers of 1024. */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([kmg]?)(?:i?b)?$/i.exec(text)
  const bytes = Math.floor(Number(match?.[1]) * (UNITS[match?.[2]?.toLowerCase() ?? ''] ?? 1))
  if (match === null || !Number.isSafeInteger(bytes) || bytes < 1) throw new InvalidArgumentError('It must be a number of bytes, such as 512k or 10MiB.')
  return bytes
}

const MILLISECONDS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Parses a time, `90m`, `1h`, `7d` or `0`, into milliseconds. */
export function parseDuration(text: string): number {
  const match = /^(?:(\d{1,6})([smhd])|0)$/.exec(text)
  if (match === null) throw new InvalidArgumentError('It must be a time, such as 90m, 1h or 7d.')
  return Number(match[1] ?? 0) * (MILLISECONDS[match[2] ?? ''] ?? 0)
}

/** Parses a count, 1 and up. */
export function parseCount(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('It must be a positive number.')
  return Number(text)
}

/** Collects `name=value` from an option that may be given several times. */
export function collectLabel(text: string, labels: Readonly<Record<string, string>> = {}): Record<string, string> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('It must be NAME=VALUE.')
  return { ...labels, [text.slice(0, at)]: text.slice(at + 1) }
}

/** Collects the values of an option that may be given several times. */
export function collect(text: string, values: readonly string[] = []): string[] {
  return [...values, text]
}
