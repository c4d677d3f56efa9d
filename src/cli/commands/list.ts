import type { Command } from 'commander'
import { dirname } from 'node:path'
import { isUlid } from '../../util/ulid.ts'
import type { Destination } from '../../contracts/destination.ts'
import { isHoldfastError, type HoldfastError } from '../../errors/errors.ts'
import type { Manifest } from '../../contracts/manifest.ts'
import { parseManifest } from '../../format/manifest.ts'
import { withExamples, withSource } from '../command-options.ts'
import { withParts } from '../../registry/index.ts'
import { EXIT, exitCodeFor } from '../exit-codes.ts'
import { Output, type OutputOptions } from '../output.ts'
import { AlreadyReported, errorDocument } from '../report-error.ts'
import type { Terminal } from '../terminal.ts'
import { formatBytes, formatCount, formatLabels, formatTable, formatTime, printable } from '../../util/text.ts'

/** A destination may be far away: waiting for one manifest after another would take minutes for thousands. */
const MANIFESTS_AT_ONCE = 16

export function registerList(program: Command, terminal: Terminal): void {
  const command = withSource(program.command('list').description('list the backups of a destination, oldest first'))
  withExamples(command, [
    ['list --from file:/backups', 'what there is'],
    ['list --from file:/backups --json', 'the manifests, for scripts: { "backups": [...], "damaged": [...] }'],
  ], 'A backup whose manifest cannot be read is shown as damaged, and the exit code is 3.')
  command.action((options: OutputOptions & { from: string }) => list(options, terminal))
}

async function list(options: OutputOptions & { from: string }, terminal: Terminal): Promise<void> {
  const output = new Output(terminal, options)
  const { signal } = terminal
  const backups: Manifest[] = []
  const damaged: { backupId: string; error: HoldfastError }[] = []
  let hint: string | undefined
  await withParts(terminal, async (parts) => {
    const destination = await parts.destination(options.from)
    hint = hintFor(destination.url)
    for await (const backupIds of batches(destination.list({ signal }))) {
      const manifests = await Promise.all(backupIds.map((backupId) => readManifest(destination, { backupId, signal })))
      for (const [index, manifest] of manifests.entries()) {
        if (isHoldfastError(manifest)) damaged.push({ backupId: backupIds[index] ?? '', error: manifest })
        else if (manifest !== undefined) backups.push(manifest)
      }
    }
  })
  const document = { backups, damaged: damaged.map(({ backupId, error }) => ({ backupId, error: errorDocument(error) })) }
  await output.result(document, () => listing(backups, damaged))
  if (hint !== undefined && backups.length + damaged.length === 0) await output.note(hint)
  const [first] = damaged
  if (first !== undefined) throw output.json ? new AlreadyReported(first.error) : first.error
}

/** What to say when there are no backups at the directory of one. */
function hintFor(url: string): string | undefined {
  const [path = '', query] = url.replace(/\/+$/, '').split('?')
  if (!isUlid(path.slice(path.lastIndexOf('/') + 1))) return undefined
  const parent = `${dirname(path)}${query === undefined ? '' : `?${query}`}`
  return `This has the name of a single backup; list the directory it is in: holdfast list --from ${printable(parent)}`
}

async function* batches(backupIds: AsyncIterable<string>): AsyncGenerator<readonly string[], void, undefined> {
  let batch: string[] = []
  for await (const backupId of backupIds) {
    batch.push(backupId)
    if (batch.length < MANIFESTS_AT_ONCE) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}

async function readManifest(destination: Destination, options: { readonly backupId: string; readonly signal: AbortSignal }): Promise<Manifest | HoldfastError | undefined> {
  const { backupId, signal } = options
  try {
    return parseManifest(await destination.manifest(backupId, { signal }), backupId)
  } catch (error) {
    if (!isHoldfastError(error)) throw error
    // Deleted while the list was read.
    if (error.code === 'manifest_missing') return undefined
    if (exitCodeFor(error.code) === EXIT.corrupt) return error
    throw error
  }
}

function listing(backups: readonly Manifest[], damaged: readonly { readonly backupId: string; readonly error: HoldfastError }[]): string[] {
  if (backups.length + damaged.length === 0) return ['There are no backups yet.']
  const rows = [...backups.map((manifest) => rowOf(manifest)), ...damaged.map(({ backupId, error }) => [backupId, `damaged: ${error.code}`])]
  rows.sort(([a = ''], [b = '']) => (a < b ? -1 : 1))
  return formatTable(['BACKUP', 'CREATED', 'STORE', 'KIND', 'RECORDS>', 'PAYLOADS>', 'SIZE>', 'LABELS'], rows)
}

function rowOf(manifest: Manifest): string[] {
  const records = Object.values(manifest.records).reduce((sum, count) => sum + count, 0)
  return [
    manifest.backupId,
    formatTime(manifest.createdAt),
    printable(manifest.storeId),
    printable(manifest.storeKind),
    formatCount(records),
    formatCount(manifest.payloadIds.count),
    formatBytes(manifest.payload.bytes + manifest.payloadIds.bytes),
    formatLabels(manifest.labels),
  ]
}
