/** The examples of the help do what they say when they are typed. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { escapeIdentifier } from 'pg'
import { expect, it, onTestFinished, vi } from 'vitest'
import { openLevelStore } from '../../src/stores/level/index.ts'
import { serverUrl, testPool } from '../stores/postgres/server.ts'
import { startS3Server } from '../support/s3/server.ts'
import { holdfastJson, holdfastOnTerminal, writeTree } from './holdfast.ts'

const SCHEMA = `help_${Math.random().toString(36).slice(2, 10)}`

it('every example of the help of every command succeeds as it is, on a machine as the examples have it', async () => {
  const base = await mkdtemp(join(tmpdir(), 'holdfast-help-'))
  const s3 = await startS3Server({ buckets: ['my-bucket'], region: 'eu-central-1' })
  const pool = await testPool()
  onTestFinished(async () => {
    vi.unstubAllEnvs()
    await s3.close()
    const { rows } = await pool.query<{ readonly name: string }>('SELECT nspname AS name FROM pg_namespace WHERE starts_with(nspname, $1)', [SCHEMA])
    for (const { name } of rows) await pool.query(`DROP SCHEMA ${escapeIdentifier(name)} CASCADE`)
    await rm(base, { recursive: true, force: true })
  })
  vi.stubEnv('XDG_STATE_HOME', join(base, 'state'))
  vi.stubEnv('AWS_ACCESS_KEY_ID', s3.accessKeyId)
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', s3.secretAccessKey)
  const postgres = new URL(await serverUrl())
  const database = postgres.href
  postgres.searchParams.set('schema', SCHEMA)

  const photos = { 'a.jpg': 'a', 'old/b.jpg': 'b', '2026/c.jpg': 'c' }
  await writeTree(join(base, 'photos'), photos)
  await writeTree(join(base, 'srv/files'), { file: photos['a.jpg'] })
  await mkdir(join(base, 'mnt'))
  const [store, from] = [`level:${base}/srv/metadata`, `file:${base}/backups`]
  await holdfastJson(['import', join(base, 'photos'), '--store', store, '--payloads', join(base, 'srv/payloads')])
  for (const _ of [1, 2, 3]) await holdfastJson(['backup', '--store', store, '--to', from])

  /** The words of an example, with the places and the IDs of this machine. */
  async function wordsOf(example: string): Promise<readonly string[]> {
    const { backups } = await holdfastJson<{ readonly backups: readonly { readonly backupId: string }[] }>(['list', '--from', from])
    const [oldest = '', second = ''] = backups.map(({ backupId }) => backupId)
    return (example.match(/'[^']*'|[^ ]+/g) ?? []).map((word) =>
      word
        .replaceAll("'", '')
        .replace(/^((?:level|file):)?(?=\/(?:srv|backups|mnt)\b)/, `$1${base}`)
        .replace(/^((?:level|file):)?\.\//, `$1${base}/`)
        .replace('postgres://server@localhost/files?schema=meta', postgres.href)
        .replace('postgres://server@localhost/spare', database)
        .replace(/^s3:.*/, `$&&endpoint=${encodeURIComponent(s3.endpoint)}`)
        .replace(/^01JD3?$/, oldest)
        .replace(/^01JD4$/, second),
    )
  }

  const { stdout: overview } = await holdfastOnTerminal(['--help'])
  const listed = overview.split('\nCommands:\n')[1]?.split('\n\n')[0] ?? ''
  const commands = [...listed.matchAll(/^ {2}([a-z]+)/gm)].map(([, name = '']) => (name === 'catalog' ? [name, 'rebuild'] : [name]))
  expect(commands.length).toBeGreaterThan(15)
  const helps = await Promise.all(commands.map(async (names) => (await holdfastOnTerminal([...names, '--help'])).stdout))
  const examples = [overview, ...helps].flatMap((help) => [...help.matchAll(/^ {2}holdfast (.*)$/gm)].map(([, example = '']) => example))
  expect(examples.length).toBeGreaterThan(40)
  // A sweep misses what was deleted without the store, and what is at a destination that it is not given.
  const isLast = (example: string): number => Number(/^delete|s3:/.test(example))
  for (const example of examples.toSorted((left, right) => isLast(left) - isLast(right))) {
    expect(example.replaceAll(/'[^']*'/g, ''), 'needs quotes in some shell').not.toMatch(/[?*&$<>|;()[\]{}"`\\]/)
    // A new store is new, a lost directory is lost.
    for (const made of ['copy', 'mnt/metadata']) if (example.endsWith(made) || example.includes(`${made} `)) await rm(join(base, made), { recursive: true, force: true })
    if (example.endsWith('--path photos/2026')) {
      await using live = await openLevelStore(join(base, 'srv/metadata'))
      const { root } = (await live.share('photos')) ?? {}
      if (root !== undefined) await live.rename({ parent: root, name: '2026' }, { parent: root, name: '2025' })
    }
    const { code, stdout, stderr } = await holdfastOnTerminal(await wordsOf(example), { answer: 'y\n', stderrIsTTY: false })
    expect(code, `${example}\n${stdout}${stderr}`).toBe(0)
  }
})
