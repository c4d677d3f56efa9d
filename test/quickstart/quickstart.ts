/**
 * The main job on this machine, start to end: a real tree is imported, backed up, verified, wrecked, restored, exported, and compared byte for byte
 * with the original, while payloads are collected that nothing needs; a part of it is lost and brought back; then backup and payloads go.
 * Run by `npm run quickstart`; each step is a `holdfast` command of its own process.
 */
import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, open, readdir, realpath, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { messageOf } from '../../src/errors/error-message.ts'
import { removeTree } from '../../src/metadata/remove-tree.ts'
import { findPath } from '../../src/metadata/tree-path.ts'
import { openLevelStore } from '../../src/stores/level/index.ts'
import { formatBytes, formatCount, formatDuration, formatRate } from '../../src/util/text.ts'
import { compareTrees, type TreeComparison } from '../../src/trees/compare-trees.ts'

const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
const PROJECT = fileURLToPath(new URL('../../../', import.meta.url))

const STORE = 'level:metadata'
const BACKUPS = 'file:backups'
const CATALOG = join('metadata', 'catalog')
const COLLECT = ['gc', '--store', STORE, '--payloads', 'payloads', '--from', BACKUPS, '--min-age', '0', '--apply'] as const
const RESTORE = ['--from', BACKUPS, '--store', STORE] as const

const NEXT = `  npx holdfast --help
  npx holdfast import ~/Documents --store level:./try/metadata --payloads ./try/payloads
  npx holdfast backup --store level:./try/metadata --to file:./try/backups
  npx holdfast list --from file:./try/backups
  npx holdfast ls latest Documents --from file:./try/backups
  npx holdfast verify latest --from file:./try/backups --level restore
  npx holdfast restore latest --from file:./try/backups --store level:./try/metadata
  npx holdfast restore latest --from file:./try/backups --store level:./try/metadata --path Documents/DIRECTORY --to-path Documents/again
  npx holdfast rollback --store level:./try/metadata`

// Ctrl-C reaches the running command too, which ends cleanly and with it this script.
process.on('SIGINT', () => undefined)
// A reader that went away must not keep this script from cleaning up.
process.stdout.on('error', () => undefined)

process.exitCode = await quickstart(resolve(process.argv[2] ?? join(PROJECT, 'node_modules')))

async function quickstart(tree: string): Promise<number> {
  const work = await mkdtemp(join(tmpdir(), 'holdfast-quickstart-'))
  try {
    // Import and export take the tree that a link leads to; the comparison would take the link.
    return await mainJob(await realpath(tree), work)
  } catch (error) {
    say(`\nquickstart failed: ${messageOf(error)}`)
    return 1
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

type Holdfast = (words: readonly string[], options?: { readonly mustFail?: boolean }) => Promise<number>

interface Job {
  readonly tree: string
  readonly work: string
  readonly holdfast: Holdfast
}

async function mainJob(tree: string, work: string): Promise<number> {
  const job: Job = { tree, work, holdfast: (words, options = {}) => runHoldfast(words, { cwd: work, ...options }) }
  say(`Working in ${work} (removed at the end); the tree is ${tree}`)
  const { times, first, second } = await backUp(job)
  await wreckAndCollect(job, first)
  const { restore, exporting, result } = await bringBack(job)
  await loseOne(job)
  await letGo(job, { first, second })

  title('Times and sizes')
  table([
    ['tree', `${formatCount(result.entries)} entries, ${formatBytes(result.bytes)}`],
    ['metadata store', formatBytes(times.storeBytes)],
    ['backup', `${formatBytes(times.backupBytes)}: metadata only, payloads stay where they are`],
    ['import', `${formatDuration(times.imported)}, ${formatRate(result.bytes, times.imported)}`],
    ['backup and read-back', formatDuration(times.backup)],
    ['trial restore', formatDuration(times.verify)],
    ['restore', formatDuration(restore)],
    ['export', `${formatDuration(exporting)}, ${formatRate(result.bytes, exporting)}`],
  ])
  say('(each time includes about a tenth of a second or two of starting Node)')
  title('Next, try')
  say(NEXT)
  return 0
}

interface BackedUp {
  /** Backup IDs. */
  readonly first: string
  readonly second: string
  readonly times: { readonly imported: number; readonly backup: number; readonly verify: number; readonly storeBytes: number; readonly backupBytes: number }
}

async function backUp({ tree, work, holdfast }: Job): Promise<BackedUp> {
  title('The first day: a store with nothing in it, backed up')
  await mkdir(join(work, 'nothing'))
  await holdfast(['import', 'nothing', '--store', STORE, '--payloads', 'payloads'])
  await holdfast(['backup', '--store', STORE, '--to', BACKUPS])

  title('Index a real tree in the store, a LevelDB, and keep its content as payloads')
  const imported = await holdfast(['import', tree, '--store', STORE, '--payloads', 'payloads', '--share', 'tree'])

  title('Back the metadata up, and read the stored bytes back')
  const backup = await holdfast(['backup', '--store', STORE, '--to', BACKUPS])
  await holdfast(['list', '--from', BACKUPS])
  const [first = '', second = ''] = (await readdir(join(work, 'backups'))).toSorted()

  title('Prove that it can be restored: a trial restore into a temporary store, compared')
  const verify = await holdfast(['verify', 'latest', '--from', BACKUPS, '--level', 'restore'])

  title('Look into it without restoring')
  await holdfast(['ls', 'latest', process.argv[2] === undefined ? 'tree/typescript' : 'tree', '--from', BACKUPS])
  const storeBytes = await bytesUnder(join(work, 'metadata'))
  const backupBytes = await bytesUnder(join(work, 'backups', second))
  return { first, second, times: { imported, backup, verify, storeBytes, backupBytes } }
}

async function wreckAndCollect({ work, holdfast }: Job, first: string): Promise<void> {
  title('Wreck the live store: garbage over every LevelDB file')
  await wreck(join(work, 'metadata'))
  say('And so the store is of no use any more:')
  await holdfast(['export', 'exported', '--store', STORE, '--payloads', 'payloads'], { mustFail: true })

  title('Collect the payloads that nothing needs, at the worst of times')
  const before = await payloadsIn(work)
  say('What the wrecked store needs cannot be told, so nothing is deleted:')
  await holdfast(COLLECT, { mustFail: true })
  say('Now somebody restores the wrong backup, that of the first day. The store serves again, and knows of no payload:')
  await holdfast(['restore', first, ...RESTORE, '--yes'])
  say('The collection runs for real. The backup holds every payload, though no store needs one (the wrecked one, kept for rollback, is given up):')
  await holdfast([...COLLECT, '--ignore-kept'])
  await expectPayloads(work, before)
}

async function bringBack({ tree, work, holdfast }: Job): Promise<{ readonly restore: number; readonly exporting: number; readonly result: TreeComparison }> {
  title('Restore the right one, and write the tree back')
  const restore = await holdfast(['restore', 'latest', ...RESTORE, '--yes'])
  const exporting = await holdfast(['export', 'exported', '--store', STORE, '--payloads', 'payloads', '--share', 'tree'])

  title('Compare the exported tree with the original, byte for byte')
  const result = await compared(tree, join(work, 'exported'))
  say(`Equal: ${formatCount(result.entries)} entries, ${formatBytes(result.bytes)} of content; types, modes, sizes, times, SHA-256 and link targets`)
  return { restore, exporting, result }
}

/** Loses one directory of the tree, or where it has none one file, and brings it back. */
async function loseOne({ tree, work, holdfast }: Job): Promise<void> {
  const entries = await readdir(tree, { withFileTypes: true })
  const lost = (entries.find(({ name }) => name === 'typescript') ?? entries.find((entry) => entry.isDirectory()) ?? entries[0])?.name
  if (lost === undefined) return
  title(`Lose one thing, "${lost}", and bring it back alone, while the store goes on`)
  const store = await openLevelStore(join(work, 'metadata'))
  try {
    await removeTree(store, { parent: (await findPath(store, ['tree'], 'in the store')).inode, name: lost })
  } finally {
    await store.close()
  }
  say(`Removed "tree/${lost}" from the store, as a server does for its users; payloads are collected again:`)
  await holdfast(COLLECT)
  await holdfast(['restore', 'latest', ...RESTORE, '--path', `tree/${lost}`, '--payloads', 'payloads'])
  await holdfast(['export', 'exported-again', '--store', STORE, '--payloads', 'payloads', '--share', 'tree'])
  const { entries: count, bytes } = await compared(join(tree, lost), join(work, 'exported-again', lost))
  say(`Equal: ${formatCount(count)} entries, ${formatBytes(bytes)} of content`)
}

async function letGo({ work, holdfast }: Job, { first, second }: Pick<BackedUp, 'first' | 'second'>): Promise<void> {
  title('Let the tree go for good: from the store, and its backup too; then its payloads go')
  await holdfast(['restore', first, ...RESTORE, '--yes'])
  await holdfast(['delete', second, '--from', BACKUPS, '--catalog', CATALOG, '--yes'])
  const before = await payloadsIn(work)
  await holdfast([...COLLECT, '--ignore-kept'])
  await expectPayloads(work, 0)
  say(`Payload files: ${formatCount(before)} before, none now`)
}

async function compared(first: string, second: string): Promise<TreeComparison> {
  const result = await compareTrees(first, second)
  for (const difference of result.differences.slice(0, 20)) say(`  differs: ${difference}`)
  if (result.differences.length > 0) throw new Error(`${formatCount(result.differences.length)} differences`)
  return result
}

async function payloadsIn(work: string): Promise<number> {
  let count = 0
  for await (const path of filesUnder(join(work, 'payloads'))) if (!path.startsWith(join(work, 'payloads', 'stores'))) count += 1
  return count
}

async function expectPayloads(work: string, expected: number): Promise<void> {
  const actual = await payloadsIn(work)
  if (actual !== expected) throw new Error(`There are ${formatCount(actual)} payload files, and there should be ${formatCount(expected)}`)
}

/** Runs one command in a process of its own; resolves with its time in milliseconds. Rejects when it does not end as it must. */
async function runHoldfast(words: readonly string[], options: { readonly cwd: string; readonly mustFail?: boolean }): Promise<number> {
  say(`$ holdfast ${words.join(' ')}`)
  const startedMs = performance.now()
  const child = spawn(process.execPath, [MAIN, ...words], { cwd: options.cwd, stdio: ['ignore', 'inherit', 'inherit'] })
  const code = await new Promise<number | null>((settle, fail) => {
    child.once('error', fail)
    child.once('exit', settle)
  })
  const elapsedMs = performance.now() - startedMs
  if (options.mustFail === true && code !== 0) say(`(exit code ${code}, as it must be)`)
  else if (options.mustFail === true || code !== 0) throw new Error(`"holdfast ${words[0]}" ended with exit code ${code}`)
  return elapsedMs
}

/** Overwrites the beginning and the middle of every file of the LevelDB engines with garbage. */
async function wreck(metadata: string): Promise<void> {
  const garbage = Buffer.from('this is no database any more. '.repeat(100))
  let files = 0
  for await (const path of filesUnder(join(metadata, 'engines'))) {
    const handle = await open(path, 'r+')
    try {
      const { size } = await handle.stat()
      await handle.write(garbage, 0, garbage.length, 0)
      await handle.write(garbage, 0, garbage.length, Math.floor(size / 2))
    } finally {
      await handle.close()
    }
    files += 1
  }
  say(`Damaged ${files} files under ${join(metadata, 'engines')}`)
}

async function* filesUnder(directory: string): AsyncIterable<string> {
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) yield* filesUnder(path)
    else if (entry.isFile()) yield path
  }
}

async function bytesUnder(directory: string): Promise<number> {
  let bytes = 0
  for await (const path of filesUnder(directory)) bytes += (await stat(path)).size
  return bytes
}

function title(text: string): void {
  say(`\n== ${text}`)
}

function table(rows: readonly (readonly [string, string])[]): void {
  for (const [name, value] of rows) say(`  ${name.padEnd(22)}${value}`)
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
