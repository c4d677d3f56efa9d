/** The command line: parses, runs one command, prints what failed, and returns the exit code. */
import { Command, CommanderError } from 'commander'
import { InvalidArgumentError, isHoldfastError } from '../index.ts'
import { registerBackup } from './commands/backup.ts'
import { registerCatalog } from './commands/catalog.ts'
import { registerCheck } from './commands/check.ts'
import { registerConvert } from './commands/convert.ts'
import { registerDelete } from './commands/delete.ts'
import { registerDiff } from './commands/diff.ts'
import { registerExport } from './commands/export.ts'
import { registerGc } from './commands/gc.ts'
import { registerHolds } from './commands/holds.ts'
import { registerImport } from './commands/import.ts'
import { registerJobs } from './commands/jobs.ts'
import { registerList } from './commands/list.ts'
import { registerLs } from './commands/ls.ts'
import { registerRestore } from './commands/restore.ts'
import { registerRollback } from './commands/rollback.ts'
import { registerShow } from './commands/show.ts'
import { registerVerify } from './commands/verify.ts'
import { withOutputOptions } from './command-options.ts'
import { EXIT, exitCodeFor } from './exit-codes.ts'
import { Interrupted } from './interrupt.ts'
import { reportError } from './report-error.ts'
import { type Terminal, writeText } from './terminal.ts'
import { HOLDFAST_VERSION } from '../util/version.ts'

const COMMANDS = [
  registerImport,
  registerExport,
  registerBackup,
  registerList,
  registerShow,
  registerVerify,
  registerRestore,
  registerRollback,
  registerConvert,
  registerCheck,
  registerLs,
  registerDiff,
  registerDelete,
  registerGc,
  registerHolds,
  registerJobs,
  registerCatalog,
] as const

/** Runs one command line (without `node` and the script) and resolves with the exit code. Never rejects, never exits the process. */
export async function runCommandLine(words: readonly string[], terminal: Terminal): Promise<number> {
  const program = createProgram(terminal)
  try {
    await program.parseAsync(wordsToParse(program, words), { from: 'user' })
    return EXIT.done
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return EXIT.done
    const error = await reportError(terminal, failureOf(thrown, program, words, terminal), { json: words.includes('--json') })
    return interruptOf(terminal)?.exitCode ?? exitCodeFor(error.code)
  }
}

/** The words; of a wish for help with a command that does not exist only the name, which commander then refuses. */
function wordsToParse(program: Command, words: readonly string[]): string[] {
  const name = words[0] === 'help' ? words[1] : words[0]
  const isKnown = name === undefined || name.startsWith('-') || program.commands.some((command) => command.name() === name)
  return isKnown ? [...words] : [name]
}

/** The error to print: a usage error in our own words, and the interrupt for any failure that it caused. */
function failureOf(thrown: unknown, program: Command, words: readonly string[], terminal: Terminal): unknown {
  if (thrown instanceof CommanderError) return usageError(thrown, program, words)
  return isHoldfastError(thrown) ? thrown : (interruptOf(terminal) ?? thrown)
}

function interruptOf({ signal }: Terminal): Interrupted | undefined {
  const reason: unknown = signal.reason
  return reason instanceof Interrupted ? reason : undefined
}

/** The program with all its commands; parsing throws instead of exiting the process. */
export function createProgram(terminal: Terminal): Command {
  const program = new Command('holdfast')
    .description("Back up, verify and restore a storage server's metadata")
    .version(HOLDFAST_VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help for a command')
    .showSuggestionAfterError(true)
  program.addHelpText('after', OVERVIEW)
  for (const register of COMMANDS) register(program, terminal)
  // Commands do not inherit settings made after them, so each is set here.
  for (const command of allCommands(program)) {
    if (command.commands.length === 0) withOutputOptions(command)
    command.exitOverride().configureOutput({
      writeOut: (text) => void writeText(terminal.stdout, text),
      writeErr: (text) => void writeText(terminal.stderr, text),
      outputError: () => undefined,
    })
  }
  return program
}

const OVERVIEW = `
URLs:
  level:PATH   a LevelDB metadata store in the directory PATH
  postgres://USER@HOST/DATABASE?schema=NAME
               a Postgres metadata store in the schema NAME; put the password in PGPASSWORD or ~/.pgpass
  file:PATH    a directory of backups
  s3://BUCKET/PREFIX?region=REGION&endpoint=URL
               backups in a bucket of S3 or a compatible store; put the keys in AWS_ACCESS_KEY_ID and
               AWS_SECRET_ACCESS_KEY, or name AWS_PROFILE

Examples:
  # take a backup, look at it, and prove that it can be restored
  holdfast backup --store level:/srv/metadata --to file:/backups
  holdfast list --from file:/backups
  holdfast verify latest --from file:/backups --level restore
  # publish it off the machine
  holdfast backup --store level:/srv/metadata --to 's3://my-bucket/metadata?region=eu-central-1'
  # put it back
  holdfast restore latest --from file:/backups --store level:/srv/metadata

"holdfast COMMAND --help" shows the details, examples and exit codes of a command.
Set HOLDFAST_DEBUG=1 to see stack traces and causes.`

function* allCommands(command: Command): Iterable<Command> {
  yield command
  for (const child of command.commands) yield* allCommands(child)
}

/** Converts commander's error, `error: sentence` on one or two lines, to one of Holdfast's. */
function usageError(error: CommanderError, program: Command, words: readonly string[]): InvalidArgumentError {
  const [first = '', ...rest] = error.message.replace(/^error: /, '').split('\n')
  const sentence = `${first.charAt(0).toUpperCase()}${first.slice(1)}`.replace(/\.$/, '').replace(/\. ([A-Z])/, (_, letter: string) => `: ${letter.toLowerCase()}`)
  const [names, command] = commandOf(program, words)
  // A misspelled option is not there, but commander says first that it is missing.
  const isMissing = error.code === 'commander.missingMandatoryOptionValue'
  // Only the name: a value may have a password in it.
  const misspelled = isMissing || error.code === 'commander.unknownOption' ? unknownOptionIn(command, words) : undefined
  const suggestion = (misspelled === undefined ? rest.join(' ') : suggestionFor(command, misspelled)).replace(/^\(|\)$/g, '').trim()
  const hasValue = misspelled !== undefined && hasOption(command, misspelled)
  const message = error.code === 'commander.help' ? 'No command given' : misspelled === undefined ? sentence
    : isMissing ? `${sentence}, and ${JSON.stringify(misspelled)} ${hasValue ? 'takes no value' : 'is not an option'}`
    : hasValue ? `Option '${misspelled}' takes no value` : `Unknown option '${misspelled}'`
  return new InvalidArgumentError(message, {
    cause: error,
    hint: `${suggestion === '' ? '' : `${suggestion} `}Run "${['holdfast', ...names].join(' ')} --help"`,
  })
}

/** Whether a command has an option of this name. Commander does not count help among the options. */
function hasOption(command: Command, name: string): boolean {
  return ['-h', '--help'].includes(name) || command.options.some(({ short, long }) => name === short || name === long)
}

/** The name of the first option among the words that the command does not have, or that has a value and takes none. */
function unknownOptionIn(command: Command, words: readonly string[]): string | undefined {
  return command.parseOptions([...words]).unknown.find((word) => /^-./.test(word))?.split('=', 1)[0]
}

/** Commander's suggestion for a misspelled option. It makes one only for a command that lacks nothing else, and for two dashes. */
function suggestionFor(command: Command, misspelled: string): string {
  const long = misspelled.replace(/^-(?=[^-].)/, '--')
  if (hasOption(command, long)) return long === misspelled ? '' : `Did you mean ${long}?`
  // Parsed by the command itself, other words would run it.
  const idle = new Command().exitOverride().configureOutput({ outputError: () => undefined })
  for (const option of command.options) idle.addOption(option.makeOptionMandatory(false))
  try {
    idle.parse([long], { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError && error.code === 'commander.unknownOption') return error.message.split('\n').slice(1).join(' ')
  }
  return ''
}

/** The command that the words name, and its names. */
function commandOf(program: Command, words: readonly string[]): [names: string[], command: Command] {
  const names: string[] = []
  let command = program
  for (const word of words) {
    const child = command.commands.find((candidate) => candidate.name() === word)
    if (child === undefined) continue
    names.push(word)
    command = child
  }
  return [names, command]
}
