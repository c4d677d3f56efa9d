/**
 * The main job on this machine, start to end: a real tree is imported, backed up, verified, wrecked, restored, exported,
 * and compared byte for byte with the original. Run by `npm run quickstart`; each step is a `holdfast` command of its own process.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, open, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { formatBytes, formatCount, formatDuration, formatRate } from './text.ts'
import { compareTrees } from './tree/compare-trees.ts'

const MAIN = fileURLToPath(new URL('./main.js', import.meta.url))
const PROJECT = fileURLToPath(new URL('../../../', import.meta.url))

const NEXT = `  npx holdfast --help
  npx holdfast import ~/Documents --store level:./try/metadata --payloads ./try/payloads
  npx holdfast backup --store level:./try/metadata --to file:./try/backups
  npx holdfast list --from file:./try/backups
  npx holdfast ls latest Documents --from file:./try/backups
  npx holdfast verify latest --from file:./try/backups --level restore
  npx holdfast restore latest --from file:./try/backups --store level:./try/metadata
  npx holdfast rollback --store level:./try/metadata`

// Ctrl-C reaches the running command too, which ends cleanly and with it this script.
process.on('SIGINT', () => undefined)
// A reader that went away must not keep this script from cleaning up.
process.stdout.on('error', () => undefined)

process.exitCode = await quickstart(resolve(process.argv[2] ?? join(PROJECT, 'node_modules')))

async function quickstart(tree: string): Promise<number> {
  const work = await mkdtemp(join(tmpdir(), 'holdfast-quickstart-'))
  try {
    return await mainJob(tree, work)
  } catch (error) {
    say(`\nquickstart failed: ${error instanceof Error ? error.message : String(error)}`)
    return 1
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

async function mainJob(tree: string, work: string): Promise<number> {
  const [store, backups] = ['level:metadata', 'file:backups']
  const holdfast = (words: readonly string[], options: { readonly mustFail?: boolean } = {}): Promise<number> => runHoldfast(words, { cwd: work, ...options })
  say(`Working in ${work} (removed at the end); the tree is ${tree}`)

  title('Index a real tree in a LevelDB metadata store, and keep its content as payloads')
  const imported = await holdfast(['import', tree, '--store', store, '--payloads', 'payloads', '--share', 'tree'])

  title('Back the metadata up, and read the stored bytes back')
  const backup = await holdfast(['backup', '--store', store, '--to', backups])
  await holdfast(['list', '--from', backups])

  title('Prove that it can be restored: a trial restore into a temporary store, compared')
  const verify = await holdfast(['verify', 'latest', '--from', backups, '--level', 'restore'])

  title('Look into it without restoring')
  await holdfast(['ls', 'latest', process.argv[2] === undefined ? 'tree/typescript' : 'tree', '--from', backups])

  title('Wreck the live store: garbage over every LevelDB file')
  await wreck(join(work, 'metadata'))
  say('And so the store is of no use any more:')
  await holdfast(['export', 'exported', '--store', store, '--payloads', 'payloads'], { mustFail: true })

  title('Restore it, and write the tree back')
  const restore = await holdfast(['restore', 'latest', '--from', backups, '--store', store, '--yes'])
  const exporting = await holdfast(['export', 'exported', '--store', store, '--payloads', 'payloads'])

  title('Compare the exported tree with the original, byte for byte')
  const result = await compareTrees(tree, join(work, 'exported'))
  for (const difference of result.differences.slice(0, 20)) say(`  differs: ${difference}`)
  if (result.differences.length > 0) {
    say(`${formatCount(result.differences.length)} differences`)
    return 1
  }
  say(`Equal: ${formatCount(result.entries)} entries, ${formatBytes(result.bytes)} of content; types, modes, sizes, times, SHA-256 and link targets`)

  title('Times and sizes')
  const backupBytes = await bytesUnder(join(work, 'backups'))
  table([
    ['tree', `${formatCount(result.entries)} entries, ${formatBytes(result.bytes)}`],
    ['metadata store', formatBytes(await bytesUnder(join(work, 'metadata')))],
    ['backup', `${formatBytes(backupBytes)}: metadata only, payloads stay where they are`],
    ['import', `${formatDuration(imported)}, ${formatRate(result.bytes, imported)}`],
    ['backup and read-back', formatDuration(backup)],
    ['trial restore', formatDuration(verify)],
    ['restore', formatDuration(restore)],
    ['export', `${formatDuration(exporting)}, ${formatRate(result.bytes, exporting)}`],
  ])
  say('(each time includes about a tenth of a second or two of starting Node)')
  title('Next, try')
  say(NEXT)
  return 0
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
