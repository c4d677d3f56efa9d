import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { holdfastOnTerminal, writeTree } from './holdfast.ts'

/** A directory with a store of one share and a backup of it. */
let base: string

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'holdfast-progress-'))
  await writeTree(join(base, 'tree'), { file: 'x' })
  for (const [command, rest] of COMMANDS) if (command === 'import' || command === 'backup') await run(command, rest, { run: 0 })
})

afterAll(() => rm(base, { recursive: true, force: true }))

/** Goes to the beginning of the line and erases it. */
const CLEAR_LINE = '\r\u001b[K'

/** Each command that may take long, `@` standing for the directory and `#` for the number of the run. */
const COMMANDS: readonly (readonly [string, string])[] = [
  ['import', '@/tree --share # --store level:@/store --payloads @/payloads'],
  ['export', '@/out# --share 0 --store level:@/store --payloads @/payloads'],
  ['backup', '--store level:@/store --to file:@/backups'],
  ['verify', 'latest --from file:@/backups --level restore --trial-dir @'],
  ['restore', 'latest --from file:@/backups --store level:@/copy --yes'],
  ['convert', '--from-store level:@/store --to-store level:@/converted#'],
]

describe('progress', () => {
  it.each(COMMANDS)('of %s is drawn over itself on stderr, and removed at the end', async (command, rest) => {
    const { code, stdout, stderr } = await run(command, rest, { run: 5 })
    expect(code).toBe(0)
    expect(stderr).toContain(`${CLEAR_LINE}${command}`)
    expect(stderr.endsWith(CLEAR_LINE)).toBe(true)
    expect(stdout).not.toMatch(/[\r\u001b]/)
    expect(stdout).not.toBe('')
  })

  it.each(COMMANDS)('of %s is not drawn where stderr is not a terminal or a dumb one, nor with --quiet or --json', async (command, rest) => {
    const outcomes = [
      await run(command, rest, { run: 1, stderrIsTTY: false }),
      await run(command, `${rest} --quiet`, { run: 2 }),
      await run(command, `${rest} --json`, { run: 3 }),
      await run(command, rest, { run: 4, env: { TERM: 'dumb' } }),
    ]
    for (const { code, stdout, stderr } of outcomes) {
      expect(code).toBe(0)
      expect(stdout + stderr).not.toMatch(/[\r\u001b]/)
    }
  })
})

function run(command: string, rest: string, options: { readonly run: number; readonly stderrIsTTY?: boolean; readonly env?: Readonly<Record<string, string>> }): ReturnType<typeof holdfastOnTerminal> {
  const words = rest.split(' ').map((word) => word.replace('#', String(options.run)).replace('@', base))
  return holdfastOnTerminal([command, ...words], options)
}
