/** The streams, environment and signal of a command line, which can run in its own process or inside another. */
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

/** Writes, waiting while the reader is behind. A reader that has gone is not an error: the rest is dropped. */
export async function writeText(stream: Writable, text: string): Promise<void> {
  if (stream.destroyed || stream.errored !== null) return
  if (!stream.write(text) && !stream.destroyed && stream.errored === null) {
    // If the reader closes the pipe, the wait ends with an error that the process's own handler has seen.
    await once(stream, 'drain').catch(() => undefined)
  }
}

/**
 * Asks a yes-or-no question; anything but `y` or `yes` means no, and so does the end of the input. Ctrl-C rejects with the signal's reason.
 */
export async function askYesNo(terminal: Terminal, question: string): Promise<boolean> {
  const { stdin, stderr, signal } = terminal
  // Not as a terminal: the line editor would catch Ctrl-C.
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
