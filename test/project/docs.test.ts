/** What the READMEs say is what the code does. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { serverUrl, testPool } from '../stores/postgres/server.ts'
import { isFull, isTried } from '../support/seed.ts'
import { pages, tablesIn, withTables } from './docs.ts'
import { ROOT } from './sources.ts'

const PAGES = pages().map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }))
const ROOT_PAGE = PAGES.find(({ path }) => path === 'README.md')?.text ?? ''
/** The first screen of a terminal or a browser. */
const FIRST_SCREEN = 62
/** The most lines of a room's README, tables and code not counted. */
const A_PAGE = 60

describe('the pages', () => {
  it.each(PAGES)('$path has its tables as the code has them; "npm run docs" writes them anew', ({ text }) => {
    expect(withTables(text)).toBe(text)
  })

  it('have each table somewhere', () => {
    expect(PAGES.flatMap(({ text }) => tablesIn(text)).toSorted()).toEqual(['commands', 'errors', 'exit codes'])
  })

  it.each(PAGES)('$path links to files and headings that exist', ({ path, text }) => {
    const missing = [...text.matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g)].filter(([, file = '', heading]) => {
      const target = file === '' ? path : join(dirname(path), file)
      if (!existsSync(join(ROOT, target))) return true
      return heading !== undefined && !anchorsIn(readFileSync(join(ROOT, target), 'utf8')).includes(heading)
    })
    expect(missing.map(([link]) => link)).toEqual([])
  })

  it('README.md has at most 150 lines, and what the thing is on its first screen', () => {
    const lines = ROOT_PAGE.trimEnd().split('\n')
    expect(lines.length).toBeLessThanOrEqual(150)
    const screen = lines.slice(0, FIRST_SCREEN).join('\n')
    for (const part of ['npm install holdfast', '```ts', '```console', '| word | meaning |']) expect(screen).toContain(part)
    expect(blocksOf(ROOT_PAGE, 'ts')[0]?.trimEnd().split('\n').filter((line) => line !== '').length).toBeLessThanOrEqual(15)
    expect(blocksOf(ROOT_PAGE, 'console')[0]?.trimEnd().split('\n').length).toBe(6)
  })

  it('of rooms have at most a page', () => {
    const isOfRoom = (path: string): boolean => /^(?:src|destinations)\/(?:.*\/)?README\.md$/.test(path)
    for (const { path, text } of PAGES) if (isOfRoom(path)) expect(proseOf(text).length, path).toBeLessThanOrEqual(A_PAGE)
  })
})

/** The main page's samples run twice always, those of other pages in a share of the runs. */
function timesOf(path: string): readonly string[] {
  return path === 'README.md' || isFull || isTried(path) ? ['first', 'second'] : ['first']
}

describe('the samples', () => {
  let directory: string
  let samples: readonly { readonly path: string; readonly code: string; readonly file: string }[]

  // All in one compilation. Within the package, its own name leads to its exports, as it does for a project that installed it.
  beforeAll(() => {
    mkdirSync(join(ROOT, 'dist/test'), { recursive: true })
    directory = mkdtempSync(join(ROOT, 'dist/test/samples-'))
    samples = PAGES.flatMap(({ path, text }) => blocksOf(text, 'ts').map((code, index) => ({ path, code, file: `${path.replaceAll(/[/.]/g, '-')}-${index}` })))
    for (const { code, file } of samples) writeFileSync(join(directory, `${file}.ts`), code)
    const compilerOptions = { target: 'es2023', lib: ['es2023', 'esnext.disposable'], module: 'nodenext', strict: true, types: ['node'], skipLibCheck: true }
    writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: samples.map(({ file }) => `${file}.ts`) }))
    execFileSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '--project', directory], { stdio: 'pipe' })
  })

  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  it('compile and run, twice in the same place, and so do the commands of the first screen', async () => {
    expect(samples.length).toBeGreaterThan(0)
    for (const { path, code, file } of samples) {
      const place = join(directory, file)
      mkdirSync(place)
      for (const time of timesOf(path)) {
        const env = code.includes('postgresBackupable') ? await documentsAt() : {}
        const output = execFileSync(process.execPath, [join(directory, `${file}.js`)], { cwd: place, encoding: 'utf8', env: { ...process.env, ...env } })
        if (code.includes('console.log(')) expect(output, `${path}, ${time} time`).not.toBe('')
      }
    }
    const [first] = samples.filter(({ path }) => path === 'README.md')
    const place = join(directory, first?.file ?? '')
    const bin = join(place, 'node_modules/.bin')
    mkdirSync(bin, { recursive: true })
    symlinkSync(join(ROOT, 'dist/src/cli/main.js'), join(bin, 'holdfast'))
    const commands = blocksOf(ROOT_PAGE, 'console').flatMap((block) => [...block.matchAll(/^\$ npx holdfast (.*)$/gm)].map(([, words = '']) => words.split(' ')))
    for (const time of ['first', 'second']) {
      for (const words of commands) {
        const output = execFileSync(process.execPath, [join(ROOT, 'dist/src/cli/main.js'), ...words], { cwd: place, encoding: 'utf8' })
        expect(output, `${words.join(' ')}, ${time} time`).not.toBe('')
      }
    }
  })
})

/** Two databases with the tables of the sample, which have a row at the source and none at the target. */
async function documentsAt(): Promise<{ readonly SOURCE: string; readonly TARGET: string }> {
  const pool = await testPool()
  const urlOf = async (name: string, rows: string): Promise<string> => {
    const url = new URL(await serverUrl())
    url.pathname = `/samples_${name}`
    await pool.query(`DROP DATABASE IF EXISTS samples_${name}`)
    await pool.query(`CREATE DATABASE samples_${name}`)
    const client = new Client({ connectionString: url.href })
    await client.connect()
    await client.query(`CREATE SCHEMA docs; CREATE TABLE docs.files (name text PRIMARY KEY, payload text); ${rows}`)
    await client.end()
    return url.href
  }
  return { SOURCE: await urlOf('source', "INSERT INTO docs.files VALUES ('a file', 'p1')"), TARGET: await urlOf('target', '') }
}

function blocksOf(text: string, language: string): readonly string[] {
  return [...text.matchAll(new RegExp(String.raw`^\`\`\`${language}\n([^]*?)^\`\`\``, 'gm'))].map(([, block = '']) => block)
}

/** The lines that are neither of a table nor of code. */
function proseOf(text: string): readonly string[] {
  return text.trimEnd().replaceAll(/^```[^]*?^```\n/gm, '').split('\n').filter((line) => !line.trimStart().startsWith('|'))
}

/** As GitHub makes them of headings. */
function anchorsIn(text: string): readonly string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading.toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(' ', '-'))
}
