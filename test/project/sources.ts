/** The project's own files, as its tests look at them. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

/** Also for what was built into dist. */
export const ROOT: string = join(import.meta.dirname, '../..').replace(/\/dist$/, '')

export interface SourceFile {
  /** From the root, with forward slashes. */
  readonly path: string
  readonly text: string
  readonly lines: number
  readonly imports: readonly Import[]
}

export interface Import {
  /** Path from the root for a file of the project; otherwise the name of a package or a module of Node. */
  readonly target: string
  readonly isOwn: boolean
}

/** Statements, and `import()` of modules and of types, with any quotes. */
const IMPORT = /(?:^(?:import|export)\s+(?:[^'"]*?\sfrom\s+)?|\bimport\(\s*)(?:'([^'\n]+)'|"([^"\n]+)"|`([^`\n]+)`)/gm

/** The files below a directory of the root that git tracks or would track, as paths from the root. */
export function filesOf(directory: string, pattern: RegExp): readonly string[] {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '--', directory], { cwd: ROOT, encoding: 'utf8' })
  return [...new Set(listed.split('\n'))].filter((path) => pattern.test(path) && existsSync(join(ROOT, path))).toSorted()
}

/** All sources under some directories of the root. */
export function sourcesOf(...directories: readonly string[]): readonly SourceFile[] {
  return directories.flatMap((directory) =>
    readdirSync(join(ROOT, directory), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => sourceOf(`${directory}/${name}`)),
  )
}

function sourceOf(path: string): SourceFile {
  const text = readFileSync(join(ROOT, path), 'utf8')
  return { path, text, lines: text.split('\n').length - 1, imports: importsOf(text, path) }
}

/** What a source at a path from the root imports, types included. */
export function importsOf(text: string, path: string): readonly Import[] {
  return [...text.matchAll(IMPORT)].map(([, single, double, template]): Import => {
    const name = single ?? double ?? template ?? ''
    const isOwn = name.startsWith('.')
    return { target: isOwn ? relative(ROOT, join(ROOT, dirname(path), name)) : name, isOwn }
  })
}
