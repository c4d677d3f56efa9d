/**
 * How fast and how big: ratios of what Holdfast does to the least that could be done, both measured in one run.
 *
 *     npm run bench                 all rows
 *     npm run bench -- NAME...      some of them
 *     npm run bench -- --json FILE  writes the rows as JSON too
 *     npm run bench -- --strict     exits with 1 when a target is missed
 *
 * HOLDFAST_BENCH_DIR is a directory on the disk to measure with, HOLDFAST_BENCH_ENTRIES the number of entries (1,000,000),
 * HOLDFAST_BENCH_ROUNDS how often each side is measured (3), HOLDFAST_BENCH_S3_MIB what is published to S3 (1024); with
 * HOLDFAST_BENCH_FULL the row "sweep" is of ten million payloads.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type BenchContext, type BenchResult, isMet } from './bench.ts'
import { ROWS } from './rows/index.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'string' }, strict: { type: 'boolean', default: false } },
})

const unknown = positionals.filter((name) => !ROWS.some((row) => row.name === name))
if (unknown.length > 0) {
  console.error(`No row is named ${unknown.join(', ')}; there are ${ROWS.map(({ name }) => name).join(', ')}`)
  process.exit(2)
}

const context: BenchContext = {
  directory: await mkdtemp(join(process.env['HOLDFAST_BENCH_DIR'] ?? tmpdir(), 'holdfast-bench-')),
  entries: Number(process.env['HOLDFAST_BENCH_ENTRIES'] ?? 1_000_000),
  rounds: Number(process.env['HOLDFAST_BENCH_ROUNDS'] ?? 3),
}
const machine = {
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: cpus().length,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  node: process.version,
  entries: context.entries,
  directory: context.directory,
}
console.log(Object.entries(machine).map(([name, value]) => `${name}: ${value}`).join('\n'))

const results: BenchResult[] = []
try {
  printRow(['', 'measured', 'reference', 'unit', 'ratio', 'target', 'met'])
  for (const row of ROWS) {
    if (positionals.length > 0 && !positionals.includes(row.name)) continue
    for (const result of await row.run(context)) {
      results.push(result)
      printResult(result)
    }
  }
} finally {
  await rm(context.directory, { recursive: true, force: true })
}

if (values.json !== undefined) {
  const rows = results.map((result) => ({ ...result, met: result.target === undefined ? null : isMet(result) }))
  await writeFile(values.json, `${JSON.stringify({ machine, rows }, null, 2)}\n`)
}
if (values.strict && !results.every(isMet)) process.exitCode = 1

function printResult(result: BenchResult): void {
  const { name, measured, reference, unit, ratio, target } = result
  const wanted = target === undefined ? 'shown' : 'atLeast' in target ? `>= ${target.atLeast}` : `<= ${target.atMost}`
  const met = target === undefined ? '' : isMet(result) ? 'yes' : 'NO'
  printRow([name, plain(measured), reference === undefined ? '' : plain(reference), unit, ratio.toFixed(2), wanted, met])
}

function printRow([name = '', ...cells]: readonly string[]): void {
  const widths = [12, 12, 12, 8, 8, 4]
  console.log(`${name.padEnd(72)}${cells.map((cell, index) => cell.padStart(widths[index] ?? 0)).join(' ')}`)
}

function plain(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3)
}
