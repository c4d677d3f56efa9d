import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ERROR_CODES, ERROR_TRAITS } from '../../src/errors/errors.ts'
import { EXIT } from '../../src/cli/exit-codes.ts'
import { holdfast } from './holdfast.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const readme = await readFile(join(ROOT, 'README.md'), 'utf8')

describe('README.md', () => {
  it('has a sample of at most fifteen lines that compiles, runs, and prints what it says', async () => {
    const sample = /```ts\n([^]*?)```/.exec(readme)?.[1] ?? ''
    expect(sample.trimEnd().split('\n').length).toBeLessThanOrEqual(15)
    // Within the package, its own name leads to its exports, as it does for those who install it.
    await mkdir(join(ROOT, 'dist/test'), { recursive: true })
    const dir = await mkdtemp(join(ROOT, 'dist/test/readme-'))
    onTestFinished(() => rm(dir, { recursive: true, force: true }))
    await writeFile(join(dir, 'sample.ts'), sample)
    const compilerOptions = { target: 'es2023', lib: ['es2023', 'esnext.disposable'], module: 'nodenext', strict: true, types: ['node'], skipLibCheck: true }
    await writeFile(join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['sample.ts'] }))
    execFileSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '--project', dir], { stdio: 'pipe' })
    const output = execFileSync(process.execPath, ['sample.js'], { cwd: dir, encoding: 'utf8' })
    expect(output).toContain('a.jpg is back')
  })

  it('lists every error code with its HTTP status and whether it can be tried again', () => {
    const rows = [...readme.matchAll(/^\| `([a-z_]+)` \| (\d{3}) \| (yes|no) \| (.+) \|$/gm)]
    expect(rows.map(([, code]) => code)).toEqual([...ERROR_CODES])
    for (const [, code = '', status, retryable] of rows) {
      const traits = ERROR_TRAITS[code as keyof typeof ERROR_TRAITS]
      expect([code, status, retryable]).toEqual([code, String(traits.httpStatus), traits.retryable ? 'yes' : 'no'])
    }
  })

  it('lists every exit code', () => {
    const rows = [...readme.matchAll(/^\| (\d{1,3}) \| /gm)].map(([, code]) => Number(code))
    expect(rows).toEqual(Object.values(EXIT))
  })

  it('names every command of the program, as its help does', async () => {
    const { stdout } = await holdfast(['--help'])
    const commands = [...stdout.matchAll(/^ {2}([a-z]+) (?:\[options\]| )/gm)].map(([, name]) => name).filter((name) => name !== 'help')
    expect(commands.length).toBeGreaterThan(10)
    expect(commands.filter((name) => !readme.includes(`\`holdfast ${name} `))).toEqual([])
  })
})
