/** Prints a failure: a code, one sentence and a hint; a stack trace only on request. */
import { inspect } from 'node:util'
import type { HoldfastError } from '../index.ts'
import { asHoldfastError } from '../util/system-errors.ts'
import { toJson } from './output.ts'
import { type Terminal, writeText } from './terminal.ts'
import { printable, printableLines } from '../util/text.ts'

/** Thrown to end a command with an error's exit code when the command has printed the error already. */
export class AlreadyReported extends Error {
  readonly error: HoldfastError

  constructor(error: HoldfastError) {
    super(error.message, { cause: error })
    this.error = error
  }
}

/**
 * Prints an error and returns it as one of Holdfast's own. With `json` it is one document on stdout, `{ "error": ... }`.
 * With HOLDFAST_DEBUG=1 in the environment, stack and causes follow on stderr.
 */
export async function reportError(terminal: Terminal, thrown: unknown, options: { readonly json: boolean }): Promise<HoldfastError> {
  if (thrown instanceof AlreadyReported) return thrown.error
  const error = asHoldfastError(thrown)
  if (options.json) await writeText(terminal.stdout, `${toJson({ error: errorDocument(error) })}\n`)
  else await writeText(terminal.stderr, `error: ${error.code}: ${printable(error.message)}\nhint: ${printable(error.hint)}\n`)
  if (terminal.env['HOLDFAST_DEBUG'] === '1') await writeText(terminal.stderr, `${printableLines(inspect(error, { depth: 6 }))}\n`)
  return error
}

/** An error's fields, for JSON. Works for errors of another copy of the package too. */
export function errorDocument(error: HoldfastError): Record<string, unknown> {
  const { code, message, hint, retryable, details, jobId } = error
  return { code, message, hint, retryable, details, jobId }
}
