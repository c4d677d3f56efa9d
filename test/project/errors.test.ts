/** What the README says of errors is what the code does. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import * as errors from '../../src/errors/errors.ts'
import { ROOT } from './sources.ts'

const README = readFileSync(join(ROOT, 'README.md'), 'utf8')
const ROW = /^\| `([a-z_]+)` \| (\d{3}) \| (yes|no) \| (.+) \|$/gm

it('README lists every code once, in order, with its HTTP status and whether a retry helps', () => {
  const rows = [...README.matchAll(ROW)].map(([, code, httpStatus, retryable]) => ({ code, httpStatus: Number(httpStatus), retryable: retryable === 'yes' }))
  expect(rows).toEqual(errors.ERROR_CODES.map((code) => ({ code, httpStatus: errors.ERROR_TRAITS[code].httpStatus, retryable: errors.ERROR_TRAITS[code].retryable })))
})

it('every code has one class, which says when it is thrown', () => {
  const source = readFileSync(join(ROOT, 'src/errors/errors.ts'), 'utf8')
  const classes = Object.entries(errors as unknown as Record<string, unknown>).filter(([name, value]) => typeof value === 'function' && name.endsWith('Error') && !['HoldfastError', 'CombinedError', 'isHoldfastError'].includes(name))
  for (const [name] of classes) expect(source, name).toMatch(new RegExp(String.raw`/\*\*\s(?:\* )?Thrown when (?:(?!\*/)[\s\S])*\*/\nexport class ${name}\b`))
  // One class for what the operations of a metadata store refuse: their callers match on the code.
  const metadata = /MetadataErrorCode = (.*)/.exec(source)?.[1]?.split('|').length ?? 0
  expect(classes.length).toBe(errors.ERROR_CODES.length - metadata + 1)
})
