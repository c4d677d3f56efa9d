/** The promise of package.json: what can be imported, and what that loads. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ROOT, type SourceFile, sourcesOf } from './sources.ts'

const EXPORTS: Readonly<Record<string, readonly string[]>> = {
  holdfast: ['runBackup', 'openRepository', 'verifyBackup', 'restoreBackup', 'rollback', 'recover', 'deleteBackup', 'rebuildCatalog', 'openSnapshot', 'SnapshotWriter', 'PayloadIdSetBuilder', 'HoldfastError'],
  'holdfast/stores/level': ['openLevelStore', 'openLevelHome', 'levelBackupable', 'LevelMetadataStore'],
  'holdfast/stores/memory': ['openMemoryStore'],
  'holdfast/catalog/level': ['openLevelCatalog'],
  'holdfast/stores/postgres': ['PostgresMetadataStore', 'postgresBackupable'],
  'holdfast/destinations/fs': ['fsDestination'],
  'holdfast/destinations/registry': ['openDestination'],
  'holdfast/payload-stores/directory': ['PayloadDirectory', 'openToSweep', 'payloadIdOf'],
  'holdfast/registry': ['openStore', 'openHome', 'openDestination', 'openCatalog', 'openPayloadStore', 'openPayloadStoreToSweep', 'openTrial', 'catalogPathOf', 'placeOf', 'parseStoreUrl', 'withParts'],
  'holdfast/conformance': ['testBackupable', 'testCatalog', 'testDestination', 'testMetadataStore', 'testPayloadStore', 'testSwappable'],
}
const PRIVATE = ['holdfast/registry/stores', 'holdfast/payload-stores/directory/payload-users', 'holdfast/trees', 'holdfast/browse', 'holdfast/destinations/fs/upload', 'holdfast/destinations/s3/session', 'holdfast/stores/worker', 'holdfast/src/files', 'holdfast/dist/src/index.js']
const HEAVY = /node_modules\/(?:classic-level|memory-level|abstract-level|level|pg|pg-[a-z-]+|@aws-sdk|commander)\//

/** Runs a module in a process of its own, in the package, which can then import itself by name. */
function run(code: string): string {
  return execFileSync(process.execPath, ['--input-type=module', '--eval', code], { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

describe('package.json', () => {
  it.each(Object.entries(EXPORTS))('%s has what it promises, by name', (subpath, names) => {
    const found = JSON.parse(run(`console.log(JSON.stringify(Object.keys(await import('${subpath}'))))`)) as string[]
    expect(found).toEqual(expect.arrayContaining([...names]))
    expect(found).not.toContain('default')
  })

  it('holdfast has no internals of how holds are kept', () => {
    const found = JSON.parse(run(`console.log(JSON.stringify(Object.keys(await import('holdfast'))))`)) as string[]
    expect(found.filter((name) => /^(?:Holds|Leases|Held|Union|Stored|Sweep(?!AlreadyRunningError))|Cache$|(?<!convert)Store(?:File)?$/.test(name))).toEqual([])
    expect(found).toEqual(expect.arrayContaining(['openHolds', 'holdersOf', 'sweepPayloads']))
  })

  it.each(PRIVATE)('%s is private', (subpath) => {
    expect(() => run(`await import('${subpath}')`)).toThrow(/ERR_PACKAGE_PATH_NOT_EXPORTED|ERR_MODULE_NOT_FOUND/)
  })

  it.each(['holdfast', 'holdfast/registry', 'holdfast/payload-stores/directory', 'holdfast/destinations/fs', 'holdfast/destinations/registry', 'holdfast/conformance'])('%s loads no database, no binding and no SDK', (subpath) => {
    const hook = `export async function load(url, context, next) { process._rawDebug('loaded ' + url); return await next(url, context) }`
    const code = `
      import { register, createRequire } from 'node:module'
      register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hook)}))
      await import('${subpath}')
      console.log(JSON.stringify(Object.keys(createRequire(import.meta.url).cache)))`
    const { stdout, stderr } = runBoth(code)
    const loaded = [...stderr.matchAll(/^loaded (.*)$/gm)].map(([, url]) => url ?? '')
    expect(loaded.length).toBeGreaterThan(0)
    expect([...loaded, ...(JSON.parse(stdout) as string[])].filter((url) => HEAVY.test(url))).toEqual([])
  })

  it('is what is published: types, format and suites with the code', () => {
    const { files, exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { files: string[]; exports: Record<string, unknown> }
    expect(files).toEqual(expect.arrayContaining(['dist/src', 'dist/destinations', 'dist/test/conformance', 'src/contracts', 'src/**/*.md']))
    expect(Object.keys(exports)).toEqual(expect.arrayContaining(['.', './stores/*', './destinations/*', './conformance']))
  })
})

describe('what is exported', () => {
  const sources = new Map(sourcesOf('src', 'destinations', 'test/conformance').map((source) => [source.path, source]))
  const entries = [...sources.keys()].filter((path) => /^src\/index\.ts$|^src\/registry\/index\.ts$|^src\/(?:stores|payload-stores|catalog)\/[^/]+\/index\.ts$|^destinations\/(?:[a-z0-9]+|[^/]+\/index)\.ts$|^test\/conformance\/index\.ts$/.test(path))

  it.each(entries)('by %s has a docstring on every class and function', (path) => {
    const bare: string[] = []
    const look = (source: SourceFile, name: string): void => {
      const declared = new RegExp(String.raw`(?:(\*/)\n)?^export (?:abstract )?(?:async )?(?:class|function\*?) ${name}\b(?! *,)`, 'm').exec(source.text)
      if (declared !== null) {
        if (declared[1] === undefined) bare.push(`${source.path}: ${name}`)
        return
      }
      const again = [...source.text.matchAll(/^export (?:type )?\{([^}]*)\} from '([^']+)'/gm)].find(([, names = '']) => namesOf(names).includes(name))
      const target = again === undefined ? undefined : source.imports.find(({ target }) => target.endsWith((again[2] ?? '').replace(/^(?:\.\.?\/)+/, '')))
      const from = target && sources.get(target.target)
      if (from !== undefined) look(from, name)
    }
    const entry = sources.get(path) as SourceFile
    const whole = [...entry.text.matchAll(/^export \* from '(?:\.\.?\/)+([^']+)'/gm)].map(([, target = '']) => target)
    for (const target of entry.imports.map((found) => found.target).filter((found) => whole.some((end) => found.endsWith(end)))) {
      const source = sources.get(target) as SourceFile
      for (const [, name = ''] of source.text.matchAll(/^export (?:abstract )?(?:async )?(?:class|function\*?) (\w+)/gm)) look(source, name)
    }
    const reexported = [...entry.text.matchAll(/^export (?:type )?\{([^}]*)\}/gm)].flatMap(([, names = '']) => namesOf(names))
    const own = [...entry.text.matchAll(/^export (?:abstract )?(?:async )?(?:class|function\*?|const|interface|type) (\w+)/gm)].map(([, name = '']) => name)
    for (const name of [...reexported, ...own]) look(entry, name)
    expect(reexported.length + own.length).toBeGreaterThan(0)
    expect(bare).toEqual([])
  })
})

function namesOf(list: string): readonly string[] {
  return list.split(',').map((name) => name.trim().replace(/^type /, '').replace(/ as .*$/, '')).filter((name) => name !== '')
}

function runBoth(code: string): { readonly stdout: string; readonly stderr: string } {
  const script = `import { spawnSync } from 'node:child_process'; const r = spawnSync(process.execPath, ['--input-type=module', '--eval', ${JSON.stringify(code)}], { encoding: 'utf8' }); console.log(JSON.stringify({ stdout: r.stdout, stderr: r.stderr, status: r.status }))`
  const { stdout, stderr, status } = JSON.parse(run(script)) as { stdout: string; stderr: string; status: number }
  expect(status, stderr).toBe(0)
  return { stdout, stderr }
}
