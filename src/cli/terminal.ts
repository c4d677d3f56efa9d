/** What the command line reads from and writes to, so that it can run in a process of its own or inside another. */
import { once } from 'node:events'
import { createInterface } from 'node:readline/promises'
import type { Readable, Writable } from 'node:stream'

export interface Terminal {
  readonly stdin: Readable & { readonly isTTY?: boolean | undefined }
  readonly stdout: Writable
  readonly stderr: Writable & { readonly isTTY?: boolean | undefined; readonly columns?: number | undefined }
  readonly env: Readonly<Record<string, string | undefined>>
  /** Aborted by Ctrl-C; its reason is what the command ends with. */
  readonly signal: AbortSignal
}

/** Writes, waiting while the reader is behind. A reader that has gone is no error: the rest is dropped. */
export async function writeText(stream: Writable, text: string): Promise<void> {
  if (stream.destroyed || stream.errored !== null) return
  if (!stream.write(text) && !stream.destroyed && stream.errored === null) {
    // A pipe closed by its reader ends the wait with an error, which the process's own handler has judged already.
    await once(stream, 'drain').catch(() => undefined)
  }
}

/**
 * Asks a question that is answered with yes or no; anything but `y` or `yes` is no, the end of the input too. Ctrl-C
 * rejects with the signal's reason.
 */
export async function askYesNo(terminal: Terminal, question: string): Promise<boolean> {
  const { stdin, stderr, signal } = terminal
  // Not as a terminal: the line editor would take Ctrl-C for itself.
  const lines = createInterface({ input: stdin, output: stderr, terminal: false })
  try {
    const answer = await Promise.race([lines.question(`${question} [y/N] `, { signal }), once(lines, 'close').then(() => '')])
    return /^y(?:es)?$/i.test(answer.trim())
  } catch (error) {
    if (!signal.aborted) throw error
    stderr.write('\n')
    throw signal.reason
  } finally {
    lines.close()
  }
}
