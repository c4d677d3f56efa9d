import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { describe, expect, it } from 'vitest'
import { tempDir } from '../support/temp-dir.ts'
import { holdfast, holdfastJson, writeTree } from './holdfast.ts'

describe('holdfast check', () => {
  it('says that a store fits together, and what does not, with exit code 3', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { 'a/b': 'x', c: 'y' })
    await holdfastJson(['import', 'tree', '--store', 'level:store'], { cwd: dir })
    expect(await holdfastJson(['check', '--store', 'level:store'], { cwd: dir })).toEqual({ problems: [] })

    const [engine = ''] = await readdir(join(dir, 'store/engines'))
    const db = new ClassicLevel(join(dir, 'store/engines', engine), { createIfMissing: false })
    await db.open()
    for await (const [key, value] of db.iterator()) if (key === 'counters/used-bytes') await db.put(key, `${Number(value) + 5}`)
    await db.close()
    const checked = await holdfast(['check', '--store', 'level:store'], { cwd: dir })
    expect(checked).toMatchObject({ code: 3, stdout: expect.stringMatching(/^used bytes: recorded as 7, but sizes add up to 2\n$/) as unknown, stderr: expect.stringMatching(/^error: store_inconsistent: [^\n]*1 problem found\nhint: /) as unknown })
    const json = await holdfast(['check', '--store', 'level:store', '--json'], { cwd: dir })
    expect(json).toMatchObject({ code: 3, stderr: '' })
    expect(JSON.parse(json.stdout)).toEqual({ problems: ['used bytes: recorded as 7, but sizes add up to 2'] })
  })

  it('makes no store where there is none', async () => {
    const dir = await tempDir()
    expect(await holdfast(['check', '--store', 'level:store'], { cwd: dir })).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error: store_unavailable: /) as unknown })
  })
})
