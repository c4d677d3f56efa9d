/** What is told to a caller in plain JavaScript: each argument and option of every public function, missing, of another type, and misspelt. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MemoryLevel } from 'memory-level'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openLevelCatalog } from '../../src/catalog/level/index.ts'
import { fsDestination } from '../../destinations/fs/index.ts'
import { s3Destination } from '../../destinations/s3/index.ts'
import { type Manifest, openHolds, openRepository } from '../../src/index.ts'
import { PayloadDirectory } from '../../src/payload-stores/directory/index.ts'
import { levelBackupable } from '../../src/stores/level/index.ts'
import { StoredBackup } from '../../src/repository/stored-backup.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'
import { postgresBackupable } from '../../src/stores/postgres/index.ts'
import { type Given, type PublicCall, publicCalls, type Sort } from './public-calls.ts'
import { ROOT } from './sources.ts'

const BACKUP_ID = '01HZZZZZZZZZZZZZZZZZZZZZZZ'
const directory = mkdtempSync(join(tmpdir(), 'holdfast-callers-'))
const path = join(directory, 'path')
const url = `file:${path}`
const destination = fsDestination({ path })
const pool = { connect: async () => Promise.reject(new Error('not reached')) }
const catalog = await openLevelCatalog(join(directory, 'catalog'))
const store = await openMemoryStore()
const payloads = await PayloadDirectory.open(join(directory, 'payloads'), { create: true })
const holds = openHolds({ catalog, destinations: [destination], directory: join(directory, 'holds') })
const db = new MemoryLevel()
const openTrial = async (): Promise<never> => Promise.reject(new Error('not reached'))
const source = { async *[Symbol.asyncIterator]() {} }
const sink = { write: async () => {}, finish: async () => {} }
const place = { destination, backupId: BACKUP_ID }
const schema = { connection: pool, schema: 'meta' }
const backup = { backupId: BACKUP_ID, storeKind: 'level' }
const user = { storeId: 'store', place: 'level:/store' }

const OF_SCHEMA = { schema: 'meta', payloadIds: 'SELECT id FROM files', schemaVersion: 1 }
/** What the calls give whose results have methods to be tried. */
const HANDLES: Readonly<Record<string, object>> = {
  'openRepository()': openRepository(destination),
  'openRepository().open()': new StoredBackup(destination, { manifest: { backupId: BACKUP_ID } as Manifest, manifestSha256: '' }),
  'openHolds()': holds,
  'levelBackupable()': levelBackupable(db, { payloadIds: () => [] }),
  'postgresBackupable()': postgresBackupable(pool, OF_SCHEMA),
  'openMemoryStore()': store,
  'levelCatalog()': catalog,
  'PayloadDirectory.open()': payloads,
  'fsDestination()': destination,
  's3Destination()': s3Destination({ bucket: 'bucket' }),
}

/** Arguments that are right, and have only what must be given. */
const CALLS: Readonly<Record<string, readonly unknown[]>> = {
  findHolders: [{ destinations: [destination] }],
  holdersOf: [holds, 'payload'],
  openHolds: [{ destinations: [destination], directory: path, catalog }],
  sweepPayloads: [{ payloads, stores: [store], holds, minAgeMs: 0 }],
  'new PayloadIdSetBuilder': [],
  openSnapshot: [source],
  'new SnapshotWriter': [sink, { storeKind: 'level', storeId: 'store', schemaVersion: 1, sections: ['entries'], createdAtMs: 0 }],
  runBackup: [{ store, destination }],
  openRepository: [destination],
  'openHolds().find': [],
  'openRepository().open().read': ['payload'],
  'openRepository().open().payload': [],
  'openRepository().open().checkPayload': [async () => undefined],
  'openRepository().open().records': [],
  'openRepository().open().checkSizes': [],
  'openRepository().open().checkPayloadIds': [],
  'openRepository().resolve': ['latest'],
  'openRepository().resolveAll': [['latest']],
  'openRepository().open': [BACKUP_ID],
  'openRepository().list': [],
  'openRepository().verify': [BACKUP_ID],
  'openRepository().delete': [[BACKUP_ID]],
  deleteBackup: [place],
  verifyBackup: [place],
  rebuildCatalog: [{ catalog, destinations: [destination] }],
  planRestore: [{ ...place, target: store }],
  restoreBackup: [{ ...place, target: store }],
  restoreInto: [{ ...place, target: store }],
  restoreSubtree: [{ ...place, store, path: 'share/file', openTrial }],
  rollback: [{ target: store }],
  recover: [store],
  convertStore: [{ from: store, to: store }],
  checkTree: [store],
  openDestination: [url],
  openCatalog: [path],
  openPayloadStore: [path],
  openPayloadStoreToSweep: [path, { user }],
  openHome: [`level:${path}`],
  openStore: [`level:${path}`],
  openTrial: [backup, { at: ['level:.'], onWarning: () => {} }],
  levelBackupable: [db, { payloadIds: () => [] }],
  openLevelHome: [path],
  openLevelStore: [path],
  'LevelMetadataStore.open': [db, { kind: 'memory' }],
  openMemoryStore: [],
  postgresBackupable: [pool, OF_SCHEMA],
  guardPostgresPayloads: [{ ...schema, use: 'need' }],
  'PostgresMetadataStore.open': [pool, { schema: 'meta' }],
  'levelBackupable().backup': [sink],
  'levelBackupable().restore': [source],
  'postgresBackupable().backup': [sink],
  'postgresBackupable().restore': [source],
  'openMemoryStore().backup': [sink],
  'openMemoryStore().restore': [source],
  'openMemoryStore().createShare': ['share'],
  'openMemoryStore().rename': [{ parent: 1, name: 'a' }, { parent: 1, name: 'b' }],
  'openMemoryStore().setContent': [1, { payloadId: 'payload' }, { size: 1 }],
  'openMemoryStore().importView': [await store.view()],
  'openMemoryStore().readDirectory': [1],
  openPostgresTrial: [pool],
  openPostgresHome: [schema],
  readPostgresStoreId: [schema],
  openPostgresStore: [schema],
  levelCatalog: [db],
  openLevelCatalog: [path],
  'levelCatalog().jobs': [],
  openToSweep: [path, { user }],
  'PayloadDirectory.open().list': [],
  'PayloadDirectory.open().exists': [['payload']],
  'PayloadDirectory.open().deleteUnchanged': [[]],
  'PayloadDirectory.open': [path],
  ...Object.fromEntries(['fsDestination()', 's3Destination()'].flatMap((of) => [
    ...['validate', 'list', 'cleanUp'].map((method) => [`${of}.${method}`, []] as const),
    ...['put', 'manifest', 'stat', 'delete'].map((method) => [`${of}.${method}`, [BACKUP_ID]] as const),
    [`${of}.open`, [BACKUP_ID, 'payload']] as const,
  ])),
  fsDestination: [{ path }],
  openFsDestination: [url],
  s3Destination: [{ bucket: 'bucket' }],
  openS3Destination: ['s3://bucket'],
}

/** What takes no options, and what only other functions call: how a home, a view or a set is made is not for callers. */
const NOT_CALLED_WITH_OPTIONS: ReadonlySet<string> = new Set([
  'isBackupable', 'releaseLease', 'warnOfLease', 'checkBackupId', 'isBackupId', 'newBackupId', 'checkPayloadId', 'decodePayloadIds',
  'emptyPayloadIdSet', 'new PayloadIdSet', 'PayloadIdSet.from', 'recordCount', 'encodeManifest', 'isNewerManifest', 'parseManifest', 'decodeRecords', 'jobIdOf',
  'describePlan', 'parsePath', 'showPath', 'parseCatalogUrl', 'findContentCheck', 'new Parts', 'withParts', 'catalogPathOf', 'parseStoreUrl', 'placeOf', 'checkTrial',
  'new PayloadDirectory', 'payloadIdOf', 'new LevelHome', 'new LevelMetadataStore', 'new PostgresHome', 'new PostgresMetadataStore', 'new Holds', 'new Leases', 'new SnapshotReader',
  'new StoredBackup', 'openHolds().unite', 'openMemoryStore().drainWrites', 'openMemoryStore().drain', 'openMemoryStore().openSide', 'openMemoryStore().swap',
])

/** A value of each sort. */
const VALUES: Readonly<Record<Sort, unknown>> = {
  string: 'a string of the caller', number: 7, boolean: true, array: [7], object: new Map(), 'empty object': {}, function: () => 7, 'async function': async () => 7,
}

/** What a clock must not give. */
const CLOCKS: readonly unknown[] = [NaN, Infinity, -1, 0.5, undefined, '7', 2 ** 48]

interface Mistake {
  readonly title: string
  readonly arguments: readonly unknown[]
  /** What the message must name. */
  readonly named: string
}

let tried = 0
const calls = publicCalls()

afterAll(async () => {
  await catalog.close()
  await store.close()
  rmSync(directory, { recursive: true, force: true })
  process.stdout.write(`tried ${tried} mistakes of callers in ${Object.keys(CALLS).length} functions\n`)
})

it('every public function is tried, or takes no options', () => {
  const names = calls.map(({ name }) => name)
  expect(names.filter((name) => !(name in CALLS) && !NOT_CALLED_WITH_OPTIONS.has(name))).toEqual([])
  expect([...Object.keys(CALLS), ...NOT_CALLED_WITH_OPTIONS].filter((name) => !names.includes(name))).toEqual([])
})

describe.each(calls.filter(({ name }) => name in CALLS))('$name()', ({ path: file, name, parameters }) => {
  const given = CALLS[name] ?? []
  let call: (...all: readonly unknown[]) => unknown

  beforeAll(async () => {
    const module = (await import(join(ROOT, file))) as Readonly<Record<string, unknown>>
    const handle = HANDLES[name.slice(0, name.lastIndexOf('.'))]
    if (handle !== undefined) {
      call = (...all) => (handle as Readonly<Record<string, typeof call>>)[methodOf(name)]?.(...all)
      return
    }
    const [first = '', method] = name.replace(/^new /, '').split('.')
    const target = module[first] as Readonly<Record<string, (...all: readonly unknown[]) => unknown>> & (new (...all: readonly unknown[]) => unknown)
    call = name.startsWith('new ') ? (...all) => new target(...all) : method === undefined ? (target as unknown as typeof call) : (...all) => target[method]?.(...all)
  })

  it('is tried with everything that must be given', () => {
    for (const [index, { options }] of parameters.entries()) {
      const must = options.filter(({ isOptional }) => !isOptional).map((option) => option.name)
      if (options.length > 0) expect(Object.keys((given[index] ?? {}) as object)).toEqual(expect.arrayContaining(must))
    }
  })

  it('refuses every mistake in the words of the caller', async () => {
    const wrong: string[] = []
    for (const mistake of mistakesOf({ path: file, name, parameters }, given)) {
      tried += 1
      const told = await tell(async () => call(...mistake.arguments))
      if (!isInCallersWords(told, mistake.named)) wrong.push(`${mistake.title}: ${told instanceof Error ? told.stack?.split('\n', 2).join('') : 'it was called'}`)
    }
    expect(wrong).toEqual([])
  })

  function isInCallersWords(error: unknown, named: string): boolean {
    if (!(error instanceof Error)) return false
    if (!new RegExp(`\\b${named}\\b`).test(error.message)) return false
    if ('code' in error) return /^(?:invalid_argument|destination_config_invalid|backup_unsupported)$/.test(String(error.code))
    return error instanceof TypeError && calledNames(name).some((called) => error.message.startsWith(`Cannot call ${called}(): `))
  }
})

function methodOf(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1)
}

/** What messages call a function: a method by its own name, and `verifyBackup` checks the options for `verify`. */
function calledNames(name: string): readonly string[] {
  if (!name.includes('()')) return [name.replace(/^new /, '')]
  return methodOf(name) === 'verify' ? ['verify', 'verifyBackup'] : [methodOf(name)]
}

async function tell(call: () => Promise<unknown>): Promise<unknown> {
  try {
    const result = await call()
    // What gives an iteration tells mistakes at its first step.
    if (typeof result === 'object' && result !== null && Symbol.asyncIterator in result) for await (const _ of result as AsyncIterable<unknown>) break
    return undefined
  } catch (error) {
    return error
  }
}

function mistakesOf({ parameters }: PublicCall, given: readonly unknown[]): readonly Mistake[] {
  return parameters.flatMap((parameter, index) => {
    const at = (value: unknown): readonly unknown[] => parameters.map((_, other) => (other === index ? value : given[other]))
    const isOptions = parameter.options.length > 0
    const whole = valuesFor(parameter, { isWhole: isOptions }).map(([what, value]) => ({ title: `refuses ${what} as argument ${index + 1}`, arguments: at(value), named: '' }))
    if (!isOptions) return whole
    const options = (given[index] ?? {}) as object
    const each = parameter.options.flatMap((option) =>
      valuesFor(option).map(([what, value]) => ({ title: `refuses ${what} as ${option.name}`, arguments: at({ ...options, [option.name]: value }), named: option.name })),
    )
    return [...whole, ...each, { title: 'refuses an option that it does not have', arguments: at({ ...options, mispelt: true }), named: 'mispelt' }]
  })
}

/** The values that are wrong for what is given. */
function valuesFor({ name, isOptional, accepts, options }: Given, { isWhole = false }: { readonly isWhole?: boolean } = {}): readonly (readonly [string, unknown])[] {
  const wrong = (Object.keys(VALUES) as Sort[]).filter((sort) => !accepts.has(sort) && !(sort === 'object' && isWhole) && !(sort === 'empty object' && isWhole && options.every((option) => option.isOptional)))
  const values = wrong.map((sort) => [`a ${sort}`, VALUES[sort]] as const)
  const missing = isOptional ? [] : [['nothing', undefined] as const]
  const times = name === 'clock' ? CLOCKS.map((time) => [`a clock that gives ${String(time)}`, () => time] as const) : []
  return [...missing, ['null', null], ['a promise', Promise.resolve()], ...values, ...times]
}
