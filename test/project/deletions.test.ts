/** One function deletes payloads. */
import { expect, it } from 'vitest'
import { sourcesOf } from './sources.ts'

const SOURCES = sourcesOf('src', 'destinations')

it('payloads are deleted by the sweep alone, in one place', () => {
  const calls = SOURCES.flatMap(({ path, text }) => [...text.matchAll(/\.deleteUnchanged\(/g)].map(() => path))
  expect(calls).toEqual(['src/gc/sweep/sweep-payloads.ts'])
})

it('a payload directory removes files only there, and what was being written', () => {
  const [directory] = SOURCES.filter(({ path }) => path === 'src/payload-stores/directory/payload-directory.ts')
  const removals = [...(directory?.text.matchAll(/^.*(?:removeIfThere|removeFile|removeTree|unlink|rm)\(.*$/gm) ?? [])].map(([line]) => line.trim())
  expect(removals).toEqual([
    'await removeIfThere(this.#files, this.#pathOf(payloadId))',
    'await removeIfThere(this.#files, temporary)',
  ])
})
