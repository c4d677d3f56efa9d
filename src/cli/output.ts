/** What a command prints: one JSON document, or text for people. */
import { BackupAbortedError, InvalidArgumentError } from '../index.ts'
import { drawProgress, noProgress, type Progress } from './progress.ts'
import { askYesNo, type Terminal, writeText } from './terminal.ts'
import { printable, printableLines } from '../util/text.ts'

/** The options of every command. */
export interface OutputOptions {
  readonly json?: boolean | undefined
  readonly quiet?: boolean | undefined
}

export class Output {
  readonly json: boolean
  readonly quiet: boolean
  readonly #terminal: Terminal

  constructor(terminal: Terminal, options: OutputOptions = {}) {
    this.#terminal = terminal
    this.json = options.json ?? false
    this.quiet = options.quiet ?? false
  }

  /** Prints a command's outcome: the document with `--json`, the lines otherwise. Called once, at the end. */
  async result(document: unknown, lines: () => Iterable<string>): Promise<void> {
    if (this.json) return await writeText(this.#terminal.stdout, `${toJson(document)}\n`)
    await this.lines(lines())
  }

  /** Prints lines of text on stdout, in large pieces; nothing with `--json`. */
  async lines(lines: Iterable<string>): Promise<void> {
    if (this.json) return
    let text = ''
    for (const line of lines) {
      text += `${line}\n`
      if (text.length < 65_536) continue
      await writeText(this.#terminal.stdout, text)
      text = ''
    }
    if (text !== '') await writeText(this.#terminal.stdout, text)
  }

  /** Prints a remark on stderr; nothing with `--json` or `--quiet`. */
  async note(text: string): Promise<void> {
    if (!this.json && !this.quiet) await writeText(this.#terminal.stderr, `${text}\n`)
  }

  /** Prints a warning on stderr, whatever the options. */
  async warn(text: string): Promise<void> {
    await writeText(this.#terminal.stderr, `warning: ${text}\n`)
  }

  /** Prints a warning that the library gives. */
  readonly onWarning = ({ message }: Error): Promise<void> => this.warn(printable(message))

  progress(label: string): Progress {
    const { stderr, env } = this.#terminal
    // A dumb terminal, such as an editor's, erases nothing.
    return stderr.isTTY === true && env['TERM'] !== 'dumb' && !this.json && !this.quiet ? drawProgress(stderr, label) : noProgress
  }

  /** Returns when the operator agrees. Without a terminal to ask on, the operator agrees with `--yes`. */
  async confirm(question: string, options: { readonly yes?: boolean | undefined }): Promise<void> {
    if (options.yes === true) return
    if (this.#terminal.stdin.isTTY !== true) {
      throw new InvalidArgumentError('Cannot ask for confirmation: standard input is not a terminal', {
        hint: 'Repeat the command with --yes if you mean it; nothing was changed',
      })
    }
    if (!(await askYesNo(this.#terminal, question))) {
      throw new BackupAbortedError('Not confirmed; nothing was done', { hint: 'Answer y, or give --yes, if you mean it' })
    }
  }
}

/** Formats JSON: two spaces, big integers as text (JSON readers may not hold them), maps as objects, nothing that a terminal obeys. */
export function toJson(document: unknown): string {
  return printableLines(JSON.stringify(document, (_, value: unknown) => plain(value), 2))
}

function plain(value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value instanceof Map ? Object.fromEntries(value) : value
}
