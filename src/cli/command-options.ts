/** Options and help that commands share. */
import type { Command } from 'commander'

/** Adds `--json` and `--quiet`. */
export function withOutputOptions(command: Command): Command {
  return command.option('--json', 'print one JSON document on stdout and nothing else there').option('-q, --quiet', 'no progress and no remarks on stderr')
}

export function withStore(command: Command): Command {
  return command
    .requiredOption('--store <url>', 'the metadata store, such as level:/var/lib/server/metadata')
    .option('--adopt', 'manage a plain LevelDB directory as a store from now on; its files stay where they are')
}

export function withSource(command: Command): Command {
  return command.requiredOption('--from <url>', 'where the backups are, such as file:/backups')
}

export const ID_HELP = 'a backup ID, the beginning of one, or "latest"'

const EXIT_CODES = `
Exit codes:
  0    done
  1    failed
  2    the command line is wrong
  3    something stored is corrupt, or failed verification
  4    refused by a precondition; nothing was changed
  130  interrupted by Ctrl-C; nothing is left half done`

/** Adds examples, each a command line without the program's name and what it is for, and the exit codes to a command's help. */
export function withExamples(command: Command, examples: readonly (readonly [string, string])[], remarks: string = ''): Command {
  const lines = examples.map(([line, purpose]) => `  # ${purpose}\n  holdfast ${line}`)
  return command.addHelpText('after', `${remarks === '' ? '' : `\n${remarks}\n`}\nExamples:\n${lines.join('\n')}\n${EXIT_CODES}`)
}
