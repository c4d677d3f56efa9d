import type { Command } from 'commander'
import { withExamples, withRecord, withSource, ID_HELP } from '../command-options.ts'
import { type RecordOptions, withParts } from '../../registry/index.ts'
import { Output, type OutputOptions } from '../output.ts'
import type { Terminal } from '../terminal.ts'
import { formatCount, formatTable, formatTime, printable } from '../../util/text.ts'
import { type BackupEntry, listBackupPath, listBackupShares } from '../../browse/index.ts'

type LsOptions = OutputOptions & RecordOptions & { readonly from: string }

export function registerLs(program: Command, terminal: Terminal): void {
  const command = withRecord(withSource(program.command('ls').description('list the files in a backup without restoring it')))
    .argument('<id>', ID_HELP)
    .argument('[path]', 'share/directory/name; without it, the shares are listed')
  withExamples(
    command,
    [
      ['ls latest --from file:/backups', 'the shares'],
      ['ls latest photos/2026 --from file:/backups', 'a directory'],
    ],
    'The backup is read from its beginning, once or more; memory holds one directory.',
  )
  command.action((id: string, path: string | undefined, options: LsOptions) => ls(id, path, options, terminal))
}

async function ls(backup: string, path: string | undefined, options: LsOptions, terminal: Terminal): Promise<void> {
  const output = new Output(terminal, options)
  const { signal } = terminal
  const [share, ...names] = (path ?? '').split('/').filter((name) => name !== '')
  await withParts(terminal, async (parts) => {
    const place = { destination: await parts.destination(options.from), catalog: await parts.recordOf(options), signal }
    if (share === undefined) {
      const { backupId, shares } = await listBackupShares({ ...place, backup })
      const rows = shares.map(({ name, createdAtMs }) => [printable(name), formatTime(createdAtMs)])
      return await output.result({ backupId, shares }, () => (rows.length === 0 ? ['The backup holds no shares.'] : formatTable(['SHARE', 'CREATED'], rows)))
    }
    const { backupId, entries } = await listBackupPath({ ...place, backup, path: [share, ...names] })
    await output.result({ backupId, path: [share, ...names].join('/'), entries: entries.map(documentOf) }, () => listing(entries))
  })
}

function documentOf(entry: BackupEntry): Record<string, unknown> {
  const xattrs = Object.fromEntries([...entry.xattrs].map(([name, value]) => [name, Buffer.from(value).toString('base64')]))
  const { name, inode, type, ...attributes } = entry
  return { name, inode, type, ...attributes, xattrs }
}

function listing(entries: readonly BackupEntry[]): string[] {
  const rows = entries.map((entry) => [
    `${TYPE_LETTERS[entry.type]}${formatMode(entry.mode)}`,
    String(entry.links),
    `${entry.uid}:${entry.gid}`,
    formatCount(entry.size),
    formatTime(Number(entry.modifiedAtNs / 1_000_000n)),
    `${printable(entry.name)}${entry.symlinkTarget === undefined ? '' : ` -> ${printable(entry.symlinkTarget)}`}`,
  ])
  return formatTable(['MODE', 'LINKS>', 'OWNER>', 'SIZE>', 'MODIFIED', 'NAME'], rows)
}

const TYPE_LETTERS: Readonly<Record<BackupEntry['type'], string>> = {
  file: '-',
  directory: 'd',
  symlink: 'l',
  fifo: 'p',
  socket: 's',
  'block-device': 'b',
  'character-device': 'c',
}

/** Permission bits as `ls -l` writes them. */
export function formatMode(mode: number): string {
  const triple = (shift: number, special: number, letter: string): string => {
    const bits = (mode >> shift) & 7
    const execute = (bits & 1) !== 0
    const last = (mode & special) === 0 ? (execute ? 'x' : '-') : execute ? letter : letter.toUpperCase()
    return `${bits & 4 ? 'r' : '-'}${bits & 2 ? 'w' : '-'}${last}`
  }
  return `${triple(6, 0o4000, 's')}${triple(3, 0o2000, 's')}${triple(0, 0o1000, 't')}`
}
