/** The package as it is published: packed, installed elsewhere, imported and run. */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ROOT } from './sources.ts'

/** How CONTRIBUTING.md says that a server with Holdfast in it is bundled. */
const BUNDLING = /^ {4}esbuild (server\.js .*--outfile=(\S+).*)$/m

/** A directory whose node_modules has the package and links to its dependencies. */
let user: string
let installed: string
let files: readonly string[]

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  readonly dependencies: Readonly<Record<string, string>>
  readonly optionalDependencies: Readonly<Record<string, string>>
  readonly bin: { readonly holdfast: string }
  readonly exports: Readonly<Record<string, string | null>>
  readonly version: string
}

beforeAll(() => {
  user = mkdtempSync(join(tmpdir(), 'holdfast-package-'))
  installed = join(user, 'node_modules/holdfast')
  const options = ['--ignore-scripts', '--loglevel=error', `--cache=${join(user, 'cache')}`, `--pack-destination=${user}`]
  execFileSync('npm', ['pack', ...options], { cwd: ROOT, stdio: 'pipe' })
  mkdirSync(installed, { recursive: true })
  const tarball = readdirSync(user).find((name) => name.endsWith('.tgz')) ?? ''
  execFileSync('tar', ['-xzf', join(user, tarball), '-C', installed, '--strip-components=1'])
  for (const name of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })) link(name)
  files = readdirSync(installed, { recursive: true, encoding: 'utf8' })
}, 600_000)

afterAll(() => rmSync(user, { recursive: true, force: true }))

/** Installs a package beside the packed one. */
function link(name: string): void {
  mkdirSync(dirname(join(user, 'node_modules', name)), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules', name), join(user, 'node_modules', name))
}

/** Runs code beside the installed package. */
function run(code: string, type: 'module' | 'commonjs' = 'module'): string {
  return execFileSync(process.execPath, [`--input-type=${type}`, '--eval', code], { cwd: user, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** What the exports map makes of the files there are, by the rule that Node has for it: the most specific pattern counts. */
function subpaths(): readonly string[] {
  const found = new Set<string>()
  for (const [subpath, target] of Object.entries(manifest.exports)) {
    if (target === null) continue
    const [before = '', after] = target.slice(2).split('*')
    if (after === undefined) found.add(subpath)
    else for (const file of files) if (file.startsWith(before) && file.endsWith(after)) found.add(subpath.replace('*', file.slice(before.length, -after.length)))
  }
  const refused = Object.keys(manifest.exports).filter((subpath) => manifest.exports[subpath] === null)
  return [...found].filter((subpath) => !refused.some((pattern) => subpath.startsWith(pattern.replace('*', '')))).toSorted()
}

describe('the packed package', () => {
  it('imports by every subpath of its exports map', () => {
    const names = subpaths().map((subpath) => `holdfast${subpath.slice(1)}`)
    expect(names).toEqual(expect.arrayContaining(['holdfast', 'holdfast/conformance', 'holdfast/stores/level', 'holdfast/stores/memory', 'holdfast/destinations/fs', 'holdfast/destinations/s3', 'holdfast/package.json']))
    const imports = names.map((name) => `import(${JSON.stringify(name)}${name.endsWith('.json') ? ", { with: { type: 'json' } }" : ''})`)
    const count = run(`const modules = await Promise.all([${imports.join(', ')}]); console.log(modules.filter((module) => Object.keys(module).length > 0).length)`)
    expect(Number(count)).toBe(names.length)
  })

  it('is what require() gives, in CommonJS, by every name', () => {
    const names = subpaths().map((subpath) => `holdfast${subpath.slice(1)}`)
    expect(run(`for (const name of ${JSON.stringify(names)}) if (Object.keys(require(name)).length === 0) console.log(name)`, 'commonjs')).toBe('')
    expect(run(`const { runBackup, HOLDFAST_VERSION } = require('holdfast'); console.log(typeof runBackup, HOLDFAST_VERSION, typeof require('holdfast/stores/level').openLevelStore)`, 'commonjs')).toBe(
      `function ${manifest.version} function\n`,
    )
  })

  it('has every file that its documents link to', () => {
    const documents = files.filter((file) => file.endsWith('.md'))
    const missing = documents.flatMap((document) =>
      [...readFileSync(join(installed, document), 'utf8').matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)]
        .map(([, target = '']) => join(dirname(document), target))
        .filter((target) => !existsSync(join(installed, target)))
        .map((target) => `${document} links to ${target}`),
    )
    expect(documents.length).toBeGreaterThan(2)
    expect(missing).toEqual([])
  })

  it.each([
    ['pg', `import('holdfast/stores/postgres').then(({ openPostgresStore }) => openPostgresStore({ connection: 'postgres://127.0.0.1:1/none', schema: 'metadata' }))`],
    ['@aws-sdk/client-s3', `import('holdfast/destinations/registry').then(({ openDestination }) => openDestination('s3://bucket/backups'))`],
  ])('says what to install where %s was left out, and does without it', (name, use) => {
    unlinkSync(join(user, 'node_modules', name))
    try {
      const said = run(`console.log(JSON.stringify(await ${use}.then(() => 'opened', (error) => ({ code: error.code, message: error.message, hint: error.hint }))))`)
      expect(JSON.parse(said)).toEqual({
        code: 'backup_unsupported',
        message: `The package "${name}" is not installed`,
        hint: `Install it next to Holdfast: npm install ${name}`,
      })
      expect(run(`const { openMemoryStore } = await import('holdfast/stores/memory'); await (await openMemoryStore()).close(); console.log('done')`)).toBe('done\n')
    } finally {
      link(name)
    }
  })

  it('backs a LevelDB store up in a worker thread from a bundle that leaves holdfast out', async () => {
    writeFileSync(
      join(user, 'server.js'),
      `import { runBackup } from 'holdfast'
       import { fsDestination } from 'holdfast/destinations/fs'
       import { openLevelStore } from 'holdfast/stores/level'
       let threads = 0
       process.on('worker', () => void (threads += 1))
       const store = await openLevelStore('bundled-store')
       await store.createShare('media')
       const { manifest } = await runBackup({ store, destination: fsDestination({ path: 'bundled-backups' }) })
       await store.close()
       console.log(JSON.stringify({ threads, records: manifest.records }))`,
    )
    const [, options = '', outfile = ''] = BUNDLING.exec(readFileSync(join(ROOT, 'CONTRIBUTING.md'), 'utf8')) ?? []
    const bundle = join(user, outfile)
    execFileSync(join(ROOT, 'node_modules/.bin/esbuild'), [...options.split(' '), '--log-level=error', '--metafile=bundled.json'], { cwd: user })
    const { inputs } = JSON.parse(readFileSync(join(user, 'bundled.json'), 'utf8')) as { readonly inputs: object }
    expect(Object.keys(inputs)).toHaveLength(1)
    const said = execFileSync(process.execPath, [bundle], { cwd: user, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
    const { threads, records } = JSON.parse(said) as { readonly threads: number; readonly records: Readonly<Record<string, number>> }
    expect(threads).toBe(1)
    expect(Object.values(records).reduce((sum, count) => sum + count, 0)).toBeGreaterThan(1)
  })

  it('says what to do when a bundle has taken holdfast in, whose worker threads then have no file', async () => {
    const bundle = join(user, 'whole.mjs')
    const external = ['classic-level', 'pg', '@aws-sdk/client-s3', '@cloudpss/zstd']
    await build({ entryPoints: [join(user, 'server.js')], outfile: bundle, bundle: true, platform: 'node', format: 'esm', external, banner: { js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url)" }, logLevel: 'silent' })
    mkdirSync(join(user, 'elsewhere'))
    const { status, stderr } = spawnSync(process.execPath, [bundle], { cwd: join(user, 'elsewhere'), encoding: 'utf8' })
    expect(status).toBe(1)
    expect(stderr).toContain(`Cannot start the worker thread "holdfast-snapshot": its file "${join(user, 'snapshot-worker.js')}" is missing`)
    expect(stderr).toContain('Leave "holdfast" and "classic-level" out of the bundle')
  })

  it('has types and whole source maps beside every module, and no sources but the contracts and the documents', () => {
    const modules = files.filter((file) => file.endsWith('.js'))
    expect(modules.length).toBeGreaterThan(100)
    for (const file of modules) {
      expect(files, file).toContain(file.replace(/\.js$/, '.d.ts'))
      const map = JSON.parse(readFileSync(join(installed, `${file}.map`), 'utf8')) as { readonly sources: readonly string[]; readonly sourcesContent?: readonly unknown[] }
      expect(map.sourcesContent?.map((content) => typeof content), file).toEqual(map.sources.map(() => 'string'))
    }
    expect(files.filter((file) => /(?<!\.d)\.ts$|\.test\./.test(file) && !file.startsWith('src/contracts/'))).toEqual([])
    expect(files.filter((file) => /^dist\/test\/(?!conformance(?:\/|$))/.test(file))).toEqual([])
    expect(files).toEqual(expect.arrayContaining(['README.md', 'CONTRIBUTING.md', 'LICENSE', 'src/format/FORMAT.md', 'src/contracts/backupable.ts']))
  })

  it('runs as holdfast', () => {
    // As npm does when it installs a package.
    const bin = join(user, 'node_modules/.bin/holdfast')
    mkdirSync(dirname(bin))
    symlinkSync(join('..', 'holdfast', manifest.bin.holdfast), bin)
    chmodSync(bin, 0o755)
    const holdfast = (...words: readonly string[]): string => execFileSync(bin, words, { cwd: user, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
    expect(holdfast('--version')).toBe(`${manifest.version}\n`)
    holdfast('import', 'node_modules/holdfast/dist/src/catalog', '--store', 'level:store')
    expect(holdfast('backup', '--store', 'level:store', '--to', 'file:backups')).toMatch(/^Backed up level:store as /)
    expect(holdfast('verify', 'latest', '--from', 'file:backups', '--level', 'restore', '--trial-dir', '.')).toMatch(/^Good: /)
  })
})
