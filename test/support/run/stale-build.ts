/** Whether `dist` was built from the sources as they are: tests run the build, so they would test something else. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The folders that are built. Test files themselves are not run from `dist`. */
const BUILT = ['src', 'destinations', 'test'] as const
const MAP_END = '.js.map'

/** A sentence that says how the build differs from the sources, with the first file that does; `undefined` when it does not. */
export function staleBuild(root: string): string | undefined {
  const sources = BUILT.flatMap((folder) => filesBelow(root, folder, '.ts')).filter((path) => !path.endsWith('.d.ts'))
  const built = new Set(BUILT.flatMap((folder) => filesBelow(join(root, 'dist'), folder, MAP_END)).map((path) => path.replace(MAP_END, '.ts')))
  const changed = sources.find((path) => !path.endsWith('.test.ts') && sourceOf(root, path) !== readFileSync(join(root, path), 'utf8'))
  const removed = [...built].find((path) => !existsSync(join(root, path)))
  const differing = changed ?? removed
  if (differing === undefined) return undefined
  return `The build is stale: ${differing} ${changed === undefined ? 'is no longer there' : 'is not what dist was built from'}. Run npm run build first.`
}

/** The source that a module of `dist` was built from, which its source map holds. */
function sourceOf(root: string, path: string): string | undefined {
  const map = join(root, 'dist', path.replace(/\.ts$/, MAP_END))
  if (!existsSync(map)) return undefined
  const { sourcesContent } = JSON.parse(readFileSync(map, 'utf8')) as { readonly sourcesContent?: readonly string[] }
  return sourcesContent?.[0]
}

function filesBelow(root: string, folder: string, end: string): readonly string[] {
  if (!existsSync(join(root, folder))) return []
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith(end)).map((name) => join(folder, name)).toSorted()
}
