/** Stored backups are read through one door. */
import { expect, it } from 'vitest'
import { sourcesOf } from './sources.ts'

/** Calls that read a manifest or open a stored object. */
const READS = /\.manifest\(|\b(?:parse|check)Manifest\(|[dD]estination\w*(?:\[[^\]]*\])?\??\.open\(|\.open\([^()]*'payload(?:-ids)?'/

/** The form itself, what the catalog recorded, and the manifest within a plan that a caller gives back. Destinations are what the door reads from. */
const OTHERS: ReadonlySet<string> = new Set(['src/format/manifest.ts', 'src/catalog/event-codec.ts', 'src/restore/plan-restore.ts'])

it('the repository alone opens stored objects and reads manifests, in one place', () => {
  const readers = sourcesOf('src').filter(({ path, text }) => READS.test(text) && !OTHERS.has(path))
  expect(readers.map(({ path }) => path)).toEqual(['src/repository/stored-backup.ts'])
})

it.each(["destination.open(backupId, 'payload')", 'this.#destination.manifest(backupId)', 'parseManifest(bytes, backupId)', 'checkManifest(value, backupId)', 'destinations[0]?.open(id, object)', "at.open(backupId, 'payload-ids', {"])(
  '%s would be found',
  (call) => {
    expect(READS.test(call)).toBe(true)
  },
)
