/** The version of the package, read from its own package.json. */
import { readFileSync } from 'node:fs'

export function holdfastVersion(): string {
  const path = new URL('../../../package.json', import.meta.url)
  return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version
}
