/** Each code of an error has a class, and both say the same of when it is thrown. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import * as errors from '../../src/errors/errors.ts'
import { ROOT, sourcesOf } from './sources.ts'

const SOURCE = readFileSync(join(ROOT, 'src/errors/errors.ts'), 'utf8')

it('every code has one class, which says when it is thrown', () => {
  const classes = Object.entries(errors as unknown as Record<string, unknown>).filter(([name, value]) => typeof value === 'function' && name.endsWith('Error') && !['HoldfastError', 'CombinedError', 'isHoldfastError'].includes(name))
  for (const [name] of classes) expect(SOURCE, name).toMatch(new RegExp(String.raw`/\*\*\s+(?:\* )?Thrown when (?:(?!\*/)[\s\S])*\*/\nexport class ${name}\b`))
  // One class for what the operations of a metadata store refuse: their callers match on the code.
  const metadata = /MetadataErrorCode = (.*)/.exec(SOURCE)?.[1]?.split('|').length ?? 0
  expect(classes.length).toBe(errors.ERROR_CODES.length - metadata + 1)
})

it('a class says of its code what the table of codes says', () => {
  const said = [...SOURCE.matchAll(/\/\*\*\s+(?:\* )?Thrown when ((?:(?!\*\/)[\s\S])*?)\s*\*\/\nexport class \w+ extends HoldfastError \{\s+static override readonly code = '([a-z_]+)'/g)]
  expect(said.length).toBeGreaterThan(30)
  for (const [, text = '', code = ''] of said) expect(text.replaceAll(/\s*\n \* ?/g, ' ').replace(/\.$/, ''), code).toBe(errors.ERROR_TRAITS[code as errors.ErrorCode].when)
})

it('a message of the library that names an option of the command line names that of the function too', () => {
  // The command line has its own; trees are not public.
  const lines = sourcesOf('src', 'destinations').filter(({ path }) => !/^src\/(?:cli|trees)\//.test(path)).flatMap(({ text }) => text.split('\n'))
  const texts = lines.filter((line) => /['`].*\s--[a-z]/.test(line) && !/^\s*(?:\/\/|\/?\*)/.test(line))
  expect(texts.length).toBeGreaterThan(15)
  // In quotes are whole commands.
  const named = texts.map((line) => line.replaceAll(/"[^"]*"/g, '')).flatMap((line) => [...line.matchAll(/--[a-z]/g)].map(({ index }) => line.slice(index)))
  for (const text of named) expect(text).toMatch(/^--[a-z-]+(?: [A-Z/]+| \$\{name\})? \(\w+/)
})
