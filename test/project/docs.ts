/**
 * The tables in the READMEs that follow from the code. Each stands between two comments, `<!-- table: NAME -->` and `<!-- end -->`.
 *
 *     npm run docs
 *
 * writes them anew; `docs.test.ts` fails while one is out of date.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import type { Command } from 'commander'
import { EXIT, EXIT_MEANINGS } from '../../src/cli/exit-codes.ts'
import { createProgram } from '../../src/cli/program.ts'
import { ERROR_CODES, ERROR_TRAITS } from '../../src/errors/errors.ts'
import { filesOf, ROOT } from './sources.ts'

const TABLE = /(<!-- table: ([a-z ]+) -->\n)[^]*?(<!-- end -->)/g

const TABLES: Readonly<Record<string, () => readonly string[]>> = {
  errors: () => [
    '| code | HTTP | retryable | thrown when |',
    '| --- | --- | --- | --- |',
    ...ERROR_CODES.map((code) => {
      const { httpStatus, retryable, when } = ERROR_TRAITS[code]
      return `| \`${code}\` | ${httpStatus} | ${retryable ? 'yes' : 'no'} | ${when} |`
    }),
  ],
  'exit codes': () => ['| exit code | meaning |', '| --- | --- |', ...Object.entries(EXIT).map(([name, code]) => `| ${code} | ${EXIT_MEANINGS[name as keyof typeof EXIT]} |`)],
  commands: () => ['| command | what it does |', '| --- | --- |', ...commandsOf(createProgram({ stdin: process.stdin, stdout: process.stdout, stderr: process.stderr, env: {}, signal: new AbortController().signal })).map((command) => `| \`${usageOf(command)}\` | ${cell(command.description())} |`)],
}

/** A page with its tables as the code has them now. */
export function withTables(page: string): string {
  return page.replace(TABLE, (_, begin: string, name: string, end: string) => {
    const table = TABLES[name]
    if (table === undefined) throw new Error(`No table is called ${JSON.stringify(name)}; there are ${Object.keys(TABLES).join(', ')}`)
    return `${begin}${table().join('\n')}\n${end}`
  })
}

/** Every README and other page of the project, as paths from the root. */
export function pages(): readonly string[] {
  return filesOf('.', /\.md$/).filter((path) => !path.startsWith('fixtures/'))
}

/** Each table's name, with the page that it stands on. */
export function tablesIn(page: string): readonly string[] {
  return [...page.matchAll(TABLE)].map(([, , name = '']) => name)
}

function commandsOf(program: Command): readonly Command[] {
  return program.commands.flatMap((command) => (command.commands.length > 0 ? commandsOf(command) : [command])).filter((command) => command.name() !== 'help')
}

/** The command with its arguments and the options that it must have. */
function usageOf(command: Command): string {
  const names: string[] = []
  for (let at: Command | null = command; at !== null; at = at.parent) names.unshift(at.name())
  const words = command.registeredArguments.map((argument) => {
    const name = `${argument.name().toUpperCase()}${argument.variadic ? '...' : ''}`
    return argument.required ? name : `[${name}]`
  })
  const options = command.options.filter(({ mandatory }) => mandatory).map(({ long, flags }) => `${long ?? ''} ${(/<([^>]+)>/.exec(flags)?.[1] ?? '').toUpperCase()}`)
  return [...names, ...words, ...options].join(' ')
}

function cell(text: string): string {
  return text.replaceAll('|', String.raw`\|`)
}

if (process.argv[1] === import.meta.filename) {
  for (const path of pages()) {
    const before = readFileSync(join(ROOT, path), 'utf8')
    const after = withTables(before)
    if (after !== before) writeFileSync(join(ROOT, path), after)
  }
}
