/** Arrows go one way: which room may import which. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { importsOf, ROOT, type SourceFile, sourcesOf } from './sources.ts'

const SOURCES = sourcesOf('src', 'destinations')

/**
 * The rooms from the ground up. A room imports itself and the rooms named, which all stand before it here, so rooms make no circle. The first
 * pattern that a path matches is its room.
 */
const LAYERS: readonly (readonly [name: string, pattern: RegExp, below: readonly string[]])[] = [
  ['errors', /^src\/errors\//, []],
  ['util', /^src\/util\//, ['errors']],
  ['payload-ids', /^src\/payload-ids\//, ['errors', 'util']],
  ['contracts', /^src\/contracts\//, ['errors', 'util', 'payload-ids']],
  ['format', /^src\/format\//, ['errors', 'util', 'contracts']],
  ['payload-stores', /^src\/payload-stores\//, ['errors', 'util', 'contracts']],
  ['metadata', /^src\/metadata\//, ['errors', 'util', 'payload-ids', 'contracts']],
  ['catalog', /^src\/catalog\//, ['errors', 'util', 'contracts', 'format']],
  ['repository', /^src\/repository\//, ['errors', 'util', 'payload-ids', 'contracts', 'format', 'payload-stores', 'catalog']],
  ['gc', /^src\/gc\//, ['errors', 'util', 'payload-ids', 'contracts', 'format', 'payload-stores', 'catalog', 'repository']],
  ['restore', /^src\/restore\//, ['errors', 'util', 'payload-ids', 'contracts', 'format', 'payload-stores', 'metadata', 'catalog', 'repository', 'gc']],
  ['backup', /^src\/backup\//, ['errors', 'util', 'payload-ids', 'contracts', 'format', 'payload-stores', 'catalog', 'repository', 'gc']],
  ['stores', /^src\/stores\//, ['errors', 'util', 'payload-ids', 'contracts', 'format', 'metadata', 'restore']],
  ['destinations', /^destinations\//, ['errors', 'util', 'contracts']],
  ['trees', /^src\/trees\//, ['errors', 'util', 'contracts', 'payload-stores', 'metadata', 'restore']],
  ['browse', /^src\/browse\//, ['errors', 'util', 'contracts', 'format', 'metadata', 'repository', 'stores']],
  ['face', /^src\/index\.ts$/, ['errors', 'util', 'payload-ids', 'contracts', 'format', 'payload-stores', 'metadata', 'catalog', 'repository', 'gc', 'restore', 'backup']],
  ['registry', /^src\/registry\//, ['errors', 'util', 'contracts', 'format', 'payload-stores', 'catalog', 'gc', 'restore', 'stores', 'destinations']],
  ['cli', /^src\/cli\//, ['util', 'face', 'trees', 'browse', 'registry']],
]

/** Packages that are a store's, a destination's or the command line's alone. */
const DRIVERS: Readonly<Record<string, RegExp>> = {
  'abstract-level': /^src\/(?:stores|catalog)\/level\//,
  'classic-level': /^src\/(?:stores|catalog)\/level\//,
  'memory-level': /^src\/stores\/memory\//,
  pg: /^src\/stores\/postgres\//,
  '@aws-sdk/client-s3': /^destinations\/s3\//,
  '@aws-sdk/lib-storage': /^destinations\/s3\//,
  commander: /^src\/cli\//,
}

function layerOf(path: string): (typeof LAYERS)[number] {
  const layer = LAYERS.find(([, pattern]) => pattern.test(path))
  if (layer === undefined) throw new Error(`${path} is in no layer`)
  return layer
}

function ownImports(source: SourceFile): readonly string[] {
  return source.imports.filter(({ isOwn }) => isOwn).map(({ target }) => target)
}

/** A circle of arrows, or `undefined`. */
function circleIn(arrows: readonly (readonly [from: string, targets: readonly string[]])[]): string | undefined {
  const edges = new Map<string, Set<string>>()
  for (const [from, targets] of arrows) edges.set(from, new Set([...(edges.get(from) ?? []), ...targets]))
  const done = new Set<string>()
  const visit = (name: string, way: readonly string[]): string | undefined => {
    if (way.includes(name)) return [...way.slice(way.indexOf(name)), name].join(' -> ')
    if (done.has(name)) return undefined
    for (const target of edges.get(name) ?? []) {
      const circle = visit(target, [...way, name])
      if (circle !== undefined) return circle
    }
    done.add(name)
    return undefined
  }
  return [...edges.keys()].map((name) => visit(name, [])).find((circle) => circle !== undefined)
}

describe('layers', () => {
  it.each([
    "import { a } from '../util/a.ts'", 'import { a } from "../util/a.ts"', "import type {\n  A,\n} from '../util/a.ts'", "import '../util/a.ts'", 'import "../util/a.ts"',
    "export * from '../util/a.ts'", 'export { a } from "../util/a.ts"', "const a = await import('../util/a.ts')", 'let a: import("../util/a.ts").A', 'await import(\n  `../util/a.ts`)',
  ])('%s is an import', (text) => {
    expect(importsOf(`${text}\n`, 'src/errors/b.ts')).toEqual([{ target: 'src/util/a.ts', isOwn: true }])
  })

  it('each room names only rooms that stand before it', () => {
    const names = LAYERS.map(([name]) => name)
    expect(LAYERS.flatMap(([name, , below], index) => below.filter((other) => !names.slice(0, index).includes(other)).map((other) => `${name} names ${other}`))).toEqual([])
  })

  it('each file imports its own layer and those below only', () => {
    const wrong: string[] = []
    for (const source of SOURCES) {
      const [name, , below] = layerOf(source.path)
      for (const target of ownImports(source)) {
        const layer = layerOf(target)[0]
        if (layer !== name && !below.includes(layer)) wrong.push(`${source.path} (${name}) imports ${target} (${layer})`)
      }
    }
    expect(wrong).toEqual([])
  })

  it('sets of payload IDs are used through the front door of their room', () => {
    const wrong = SOURCES.flatMap((source) =>
      ownImports(source)
        .filter((target) => target.startsWith('src/payload-ids/') && !source.path.startsWith('src/payload-ids/') && !/\/(?:index|payload-id-set)\.ts$/.test(target))
        .map((target) => `${source.path} imports ${target}`),
    )
    expect(wrong).toEqual([])
  })

  it('nothing imports the command line, and it imports the library by its doors', () => {
    const isCommandLine = (path: string): boolean => path.startsWith('src/cli/')
    const isDoor = (path: string): boolean => /^src\/(?:index\.ts|(?:registry|trees|browse)\/index\.ts|util\/[^/]+\.ts)$/.test(path)
    const wrong = SOURCES.flatMap(({ path, imports }) =>
      imports
        .filter(({ target, isOwn }) => isOwn && (isCommandLine(path) ? !isCommandLine(target) && !isDoor(target) : isCommandLine(target)))
        .map(({ target }) => `${path} imports ${target}`),
    )
    expect(wrong).toEqual([])
  })

  it('no store imports a sibling, but for what stores have in common', () => {
    const wrong: string[] = []
    // Memory and LevelDB are one implementation over one database.
    const familyOf = (path: string): string | undefined => /^src\/stores\/([^/]+)\//.exec(path)?.[1]?.replace(/^memory$/, 'level')
    for (const source of SOURCES) {
      const family = familyOf(source.path)
      if (family === undefined) continue
      for (const target of ownImports(source)) {
        const other = familyOf(target)
        if (other !== undefined && other !== family && other !== 'worker') wrong.push(`${source.path} imports ${target}`)
      }
    }
    expect(wrong).toEqual([])
  })

  it('no destination imports a sibling, but for the registry, lazily', () => {
    const familyOf = (path: string): string => path.replace(/^destinations\/([a-z0-9]+)[/.].*$/, '$1')
    const wrong = SOURCES.filter(({ path }) => path.startsWith('destinations/')).flatMap((source) =>
      source.imports
        .filter(({ target, isOwn }) => isOwn && target.startsWith('destinations/') && familyOf(target) !== familyOf(source.path))
        .filter(({ target }) => source.path !== 'destinations/registry.ts' || !source.text.includes(`import('./${target.slice('destinations/'.length)}')`))
        .map(({ target }) => `${source.path} imports ${target}`),
    )
    expect(wrong).toEqual([])
  })

  it('drivers are named in their own folders only', () => {
    const wrong = SOURCES.flatMap((source) =>
      source.imports
        .filter(({ target, isOwn }) => !isOwn && DRIVERS[target] !== undefined && !DRIVERS[target].test(source.path))
        .map(({ target }) => `${source.path} imports ${target}`),
    )
    expect(wrong).toEqual([])
  })

  it('the format has no files, no network and no clock', () => {
    const format = SOURCES.filter(({ path }) => path.startsWith('src/format/'))
    expect(format.length).toBeGreaterThan(5)
    for (const { path, text, imports } of format) {
      expect(imports.map(({ target }) => target).filter((target) => /^node:(?:fs|net|http|child_process|os)/.test(target)), path).toEqual([])
      expect(text, path).not.toMatch(/Date\.now|new Date\(\)|performance\.now|setTimeout|Math\.random/)
    }
  })

  it('files make no circle, type imports included', () => {
    expect(circleIn(SOURCES.map((source) => [source.path, ownImports(source)]))).toBeUndefined()
  })

  const folders = new Set(SOURCES.flatMap(({ path }) => path.split('/').map((_, at, parts) => parts.slice(0, at + 1).join('/')).slice(0, -1)))

  it.each([...folders])('the files and folders in %s make no circle', (folder) => {
    const childOf = (path: string): string | undefined => (path.startsWith(`${folder}/`) ? path.slice(folder.length + 1).split('/')[0] : undefined)
    const inside = SOURCES.flatMap((source) => {
      const from = childOf(source.path)
      return from === undefined ? [] : [[from, ownImports(source).flatMap((target) => childOf(target) ?? []).filter((to) => to !== from)] as const]
    })
    expect(circleIn(inside)).toBeUndefined()
  })

  it('a circle is found', () => {
    expect(circleIn([['a', ['b']], ['b', ['c']], ['c', []]])).toBeUndefined()
    expect(circleIn([['a', ['b']], ['c', ['a']], ['b', []], ['b', ['c']]])).toBe('a -> b -> c -> a')
  })
})

describe('the README of a room', () => {
  const pageOf = (folder: string): string => readFileSync(join(ROOT, folder, 'README.md'), 'utf8').replaceAll(/\s+/g, ' ')
  const listed = (names: readonly string[]): string => (names.length === 0 ? 'nothing' : names.map((name) => `\`${name === 'face' ? 'index.ts' : name}\``).join(', '))
  const folders = new Set(SOURCES.flatMap(({ path }) => path.split('/').map((_, at, parts) => parts.slice(0, at).join('/'))))
  const isWithinRoom = (folder: string): boolean => folder.split('/').length > (folder.startsWith('src/') ? 2 : 1)

  it.each(LAYERS.filter(([name]) => name !== 'face').map(([name, , below]) => ({ name, below })))('$name says what it may import and what may import it', ({ name, below }) => {
    const above = LAYERS.filter(([, , names]) => names.includes(name)).map(([other]) => other)
    expect(pageOf(name === 'destinations' ? name : `src/${name}`)).toContain(`May import: ${listed(below)}. May be imported by: ${listed(above)}.`)
  })

  it.each([...folders].filter((folder) => folder !== ''))('%s has one', (folder) => {
    expect(existsSync(join(ROOT, folder, 'README.md'))).toBe(true)
  })

  it.each([...folders].filter(isWithinRoom))('%s says what imports it', (folder) => {
    const [room] = layerOf(`${folder}/`)
    const importers = SOURCES.filter((source) => !source.path.startsWith(`${folder}/`) && ownImports(source).some((target) => target.startsWith(`${folder}/`)))
    const depth = folder.replace(/^src\//, '').split('/').length
    const names = importers.map(({ path }) => (layerOf(path)[0] === room ? path.replace(/^src\//, '').split('/').slice(0, depth).join('/') : layerOf(path)[0]))
    expect(pageOf(folder)).toContain(`Imported by: ${listed([...new Set(names)].toSorted())}.`)
  })
})

describe('sources', () => {
  it('have at most 400 lines, no default export, and nothing left to do', () => {
    for (const { path, text, lines } of SOURCES) {
      expect(lines, path).toBeLessThanOrEqual(400)
      expect(text, path).not.toMatch(/^export default/m)
      expect(text, path).not.toMatch(/\b(?:TODO|FIXME|XXX|HACK)\b/)
    }
  })

  it('say what they are for', () => {
    expect(SOURCES.filter(({ path, text }) => !/\/index\.ts$|^src\/cli\/commands\//.test(path) && !text.includes('/**')).map(({ path }) => path)).toEqual([])
  })
})
