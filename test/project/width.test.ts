/** Prose fits on a screen: in pages and in the comments of sources, no line is wider than 140 columns. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { filesOf, ROOT, sourcesOf } from './sources.ts'

const COLUMNS = 140

it('pages are at most 140 columns wide, but for tables, code and headings', () => {
  const pages = filesOf('.', /\.md$/).map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }))
  expect(pages.length).toBeGreaterThan(20)
  expect(pages.flatMap(({ path, text }) => tooWide(path, withoutCode(text)).filter(({ line }) => !/^\s*\||^#|^ {4}/.test(line)))).toEqual([])
})

it('comments are at most 140 columns wide', () => {
  const sources = sourcesOf('src', 'destinations')
  expect(sources.flatMap(({ path, text }) => tooWide(path, text).filter(({ line }) => /^\s*(?:\/\/|\/?\*)/.test(line)))).toEqual([])
})

function tooWide(path: string, text: string): readonly { readonly path: string; readonly line: string }[] {
  return text.split('\n').filter((line) => line.length > COLUMNS).map((line) => ({ path, line }))
}

/** A page without its fenced code. */
function withoutCode(page: string): string {
  return page.replaceAll(/^ *```[^]*?^ *```$/gm, '')
}
