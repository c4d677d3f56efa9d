/** Runs the command line as a user does, in a process of its own, or in this one. */
import { spawn } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { PassThrough } from 'node:stream'
import type { Command } from 'commander'
import { createProgram, runCommandLine } from '../../src/cli/program.ts'
import type { Terminal } from '../../src/cli/terminal.ts'
import { isFull } from '../support/seed.ts'

export const MAIN: string = resolve(import.meta.dirname, '../../dist/src/cli/main.js')

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs one command; standard input is empty, as from a script. In a full run, and with variables of its own, it is a process; otherwise it
 * runs in this one, several times as fast, one at a time.
 */
export async function holdfast(words: readonly string[], options: { readonly cwd?: string; readonly env?: Record<string, string> } = {}): Promise<Outcome> {
  return isFull || options.env !== undefined ? await holdfastProcess(words, options) : await inTurn(words, options)
}

/** Runs one command in a process of its own, whatever the run. */
export async function holdfastProcess(words: readonly string[], options: { readonly cwd?: string; readonly env?: Record<string, string> } = {}): Promise<Outcome> {
  const child = spawn(process.execPath, [MAIN, ...words], {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const code = await new Promise<number | null>((settle, fail) => child.once('error', fail).once('close', settle))
  return checkHints(words, { code, stdout, stderr })
}

let last: Promise<unknown> = Promise.resolve()

async function inTurn(words: readonly string[], { cwd = process.cwd() }: { readonly cwd?: string }): Promise<Outcome> {
  const running = last.then(() => runIn(cwd, words))
  last = running.catch(() => undefined)
  return await running
}

/** Runs one command that must succeed, with `--json`, in this process, and gives its document. */
export async function holdfastJson<T = Record<string, unknown>>(words: readonly string[], options: { readonly cwd?: string } = {}): Promise<T> {
  const { code, stdout, stderr } = await inTurn([...words, '--json'], options)
  if (code !== 0) throw new Error(`holdfast ${words.join(' ')} ended with ${code}: ${stdout}${stderr}`)
  return JSON.parse(stdout) as T
}

async function runIn(cwd: string, words: readonly string[]): Promise<Outcome> {
  const before = process.cwd()
  process.chdir(cwd)
  try {
    return await runHere(words, { stdin: new PassThrough().end(), env: process.env, signal: new AbortController().signal })
  } finally {
    process.chdir(before)
  }
}

interface OnTerminal {
  readonly answer?: string
  readonly stderrIsTTY?: boolean
  readonly env?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

/** Runs one command in this process, as on a terminal where `answer` is typed; paths must be absolute. What it prints is given as it came. */
export async function holdfastOnTerminal(words: readonly string[], options: OnTerminal = {}): Promise<Outcome> {
  const { answer = '', stderrIsTTY = true, env = {}, signal = new AbortController().signal } = options
  const stdin = Object.assign(new PassThrough(), { isTTY: true })
  stdin.end(answer)
  return await runHere(words, { stdin, env, signal }, { isTTY: stderrIsTTY, columns: 200 })
}

async function runHere(words: readonly string[], terminal: Pick<Terminal, 'stdin' | 'env' | 'signal'>, screen: { readonly isTTY?: boolean; readonly columns?: number } = {}): Promise<Outcome> {
  const [stdout, stderr] = [new PassThrough({ encoding: 'utf8' }), new PassThrough({ encoding: 'utf8' })]
  const printed = { stdout: '', stderr: '' }
  stdout.on('data', (text: string) => (printed.stdout += text))
  stderr.on('data', (text: string) => (printed.stderr += text))
  const code = await runCommandLine(words, { ...terminal, stdout, stderr: Object.assign(stderr, screen) })
  await Promise.all([stdout, stderr].map((stream) => new Promise((settle) => stream.once('end', settle).end())))
  return checkHints(words, { code, ...printed })
}

/**
 * Throws when a hint or a warning names an option that the command does not have, nor one that the text names: every text that the tests
 * see is one that an operator can follow.
 */
function checkHints(words: readonly string[], outcome: Outcome): Outcome {
  const hints = [...outcome.stdout.matchAll(/^ +"hint": (".*"),?$/gm)].map(([, text = '']) => JSON.parse(text) as string)
  const texts = [...hints, ...(outcome.stderr.match(/^(?:hint|warning): .*$/gm) ?? [])]
  for (const text of texts) {
    const [, ...mentions] = text.split(/\bholdfast (?=[a-z])/)
    const known = [words, ...mentions.map((mention) => mention.split(/[^a-z]+/))].flatMap(optionsOf)
    // Options of other programs are in quotes.
    const named = text.replaceAll(/"(?!holdfast )[^"]*"/g, '').match(/(?<![\w-])--[a-z][a-z-]*/g) ?? []
    const strange = named.filter((option) => !known.includes(option))
    if (strange.length > 0) throw new Error(`"holdfast ${words.join(' ')}" has no ${strange.join(', ')}, but says: ${text}`)
  }
  return outcome
}

/** The options of the command that the words begin with. */
function optionsOf(words: readonly string[]): readonly string[] {
  let command: Command | undefined = createProgram({ stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough(), env: {}, signal: new AbortController().signal })
  for (const word of words) {
    const child: Command | undefined = command.commands.find((candidate) => candidate.name() === word)
    if (child === undefined) break
    command = child
  }
  return [...command.options.map(({ long }) => long ?? ''), '--help']
}

/** Writes files, making the directories above them. */
export async function writeTree(root: string, files: Readonly<Record<string, string | Uint8Array>>): Promise<void> {
  await mkdir(root, { recursive: true })
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), content)
  }
}
