/**
 * Writes golden files that are not there yet:
 *
 *     npx tsc && node dist/test/support/make-goldens.js --add
 *
 * Without --add it only says what it would do. A golden file that is there is never written again: it stands for
 * backups that people have.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isSystemError } from '../../src/util/files.ts'
import { makeGoldenStore } from './golden-store.ts'
import { makeGoldens } from './goldens.ts'

const root = fileURLToPath(new URL('../../../fixtures/', import.meta.url))
const add = process.argv.includes('--add')
let differing = 0

// Its frames are as large as the release that wrote them made them, and its header has the time: it is made once.
const store = (await existing(join(root, 'v1-named-metadata-store/payload'))) === undefined ? await makeGoldenStore() : []

for (const [name, content] of [...(await makeGoldens()), ...store]) {
  const path = join(root, name)
  const found = await existing(path)
  if (found === undefined) {
    console.log(`${add ? 'added' : 'missing'}  ${name}`)
    if (add) await addFile(path, content)
    // Compressed bytes are those of the codec that made them.
  } else if (!found.equals(content) && !name.includes('zstd')) {
    differing++
    console.error(`differs, left as it is  ${name}`)
  }
}
process.exitCode = differing > 0 ? 1 : 0

async function existing(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  }
}

async function addFile(path: string, content: Buffer): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, content, { flag: 'wx' })
}
