/** Stored backups are read through one door. */
import { describe, expect, it } from 'vitest'
import { sourcesOf } from './sources.ts'

/** What else is opened: stores and views by their classes, databases and their drivers, a gate, an index, a repository, and kinds in the registry. */
const OTHERS = /(?:\b[A-Z]\w*|this\.#(?:db|gate|driver)|\bdb|\btext|\bunions|\brepository|\bkind|\(await kind\(\)\)|parseCatalogUrl\(url\))\.open\(/g

/** Calls that read a manifest, parse one, or open a stored object, also by methods that were taken out of a destination. */
const READS: readonly RegExp[] = [
  /\.manifest\??\.?\(/,
  /\b(?:parse|check)Manifest\(/,
  /\.open\??\.?\(/,
  /\b(?:manifest|open)\??\.(?:call|apply|bind)\(/,
  /[\w)\]]\??\.?\[['"`](?:manifest|open)['"`]\]/,
  /\{[^{}]*\bopen\b[^{}]*\} = (?!await openBackupRecords\()/,
  /\bmanifest: \w+[^{}]*\} = [dD]estination/,
]

const OUTSIDE: Readonly<Record<string, string>> = {
  'src/format/manifest.ts': 'the form itself',
  'src/catalog/event-codec.ts': 'the manifest that the catalog recorded, not a stored one',
  'src/restore/plan-restore.ts': 'the manifest within a plan that a caller gives back',
  'destinations/s3/index.ts': 'a destination calls itself: it is what the door reads from',
}

/** Who parses JSON, and what it is. */
const PARSES: Readonly<Record<string, string>> = {
  'src/format/manifest.ts': 'a manifest, for all',
  'src/catalog/event-codec.ts': 'events of the catalog',
  'src/errors/error-transfer.ts': 'the details of an error from another thread',
  'src/gc/sweep-state.ts': 'the last line of a file of marks',
  'src/gc/holds/union-store.ts': 'the description of a union on local disk',
  'src/restore/subtree/staging.ts': 'the owner of a staging share',
  'src/stores/level/home/home-files.ts': 'the record of a home',
  'src/stores/level/store/records.ts': 'records of a LevelDB store',
  'src/stores/postgres/home/home-records.ts': 'the record of a home',
  'src/stores/postgres/snapshot/archive-reader.ts': 'entries of an archive, which come through the door',
  'src/stores/postgres/store/rows.ts': 'options of a share in a row',
}

const SOURCES = sourcesOf('src', 'destinations')

function reads(text: string): boolean {
  const left = text.replaceAll(OTHERS, '')
  return READS.some((pattern) => pattern.test(left))
}

describe('stored backups', () => {
  it('are opened, and their manifests read, by the repository alone', () => {
    const readers = SOURCES.filter(({ path, text }) => reads(text) && !(path in OUTSIDE))
    expect(readers.map(({ path }) => path)).toEqual(['src/repository/destination-calls.ts', 'src/repository/stored-backup.ts'])
  })

  it('are listed, measured and written there too, where the answers are checked', () => {
    const CALLS = /\b[dD]estination\??\.(?:list|stat|put|cleanUp|takeWarnings)\b/
    // The command line has destinations of Holdfast only.
    const callers = SOURCES.filter(({ path, text }) => CALLS.test(text) && path.startsWith('src/') && !path.startsWith('src/cli/'))
    expect(callers.map(({ path }) => path).filter((path) => !path.startsWith('src/contracts/'))).toEqual(['src/repository/destination-calls.ts'])
  })

  it('are parsed nowhere else: each file that parses JSON is known', () => {
    expect(SOURCES.filter(({ text }) => /\bJSON\b(?!\.stringify)/.test(withoutText(text))).map(({ path }) => path).toSorted()).toEqual(Object.keys(PARSES).toSorted())
  })

  it.each([
    "destination.open(backupId, 'payload')", 'this.#destination.manifest(backupId)', 'parseManifest(bytes, backupId)', 'checkManifest(value, backupId)',
    'destinations[0]?.open(id, object)', "at.open(backupId, 'payload-ids', {", 'to.open(id, object)', 'const { manifest } = to; manifest.call(to, id)', 'to.manifest.bind(to)',
    'const { open, url } = to', 'to.open?.(id, object)', "to['manifest'](id)", 'const { manifest: read } = destination',
  ])('%s would be found', (call) => {
    expect(reads(call)).toBe(true)
  })

  it.each(['await repository.open(id, options)', 'LevelCatalog.open(path, options)', 'const { manifest } = backup', 'await open(path, flags)'])('%s is none of it', (call) => {
    expect(reads(call)).toBe(false)
  })
})

/** Without comments and strings. */
function withoutText(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, '').replaceAll(/'[^'\n]*'/g, "''").replaceAll(/\$\{JSON\.stringify/g, '')
}
