/** The suite of destinations, and a whole backup, at stores that differ from S3 as known ones do. */
import { deepEqual, equal } from 'node:assert/strict'
import { afterAll, describe, test } from 'vitest'
import { runBackup } from '../../../src/backup/run-backup.ts'
import { restoreBackup } from '../../../src/restore/restore-backup.ts'
import { openMemoryStore } from '../../../src/stores/memory/index.ts'
import { type DestinationFixture, testDestination } from '../../conformance/destination.ts'
import { dumpStore } from '../../support/dump-store.ts'
import { fillStore } from '../../support/fill-store.ts'
import { S3_PROFILES, type S3Profile } from '../../support/s3/profiles.ts'
import { Bytes } from '../../support/s3/server-state.ts'
import { ownServer, PREFIX } from './setup.ts'

const passed = new Set<string>()

afterAll(() => console.log(`${passed.size} of ${S3_PROFILES.length} profiles of stores passed: ${[...passed].join(', ')}`))

test('there are ten profiles', () => {
  equal(new Set(S3_PROFILES.map(({ name }) => name)).size, 10)
})

async function fixtureFor({ behaviour }: S3Profile): Promise<DestinationFixture> {
  const own = await ownServer({ behaviour: { ...behaviour } })
  const add = (name: string, content: Uint8Array): void => {
    const data = new Bytes([Buffer.from(content)])
    own.bucket.add({ key: PREFIX + name, id: 'null', data, etag: `"${name}"`, lastModified: new Date(), headers: {}, isDeleteMarker: false })
  }
  return {
    destination: own.open(),
    reopen: () => own.open(),
    names: async () => [...own.keys(), ...[...own.bucket.uploads.values()].map(({ key }) => `${key.slice(PREFIX.length)}.tmp`)].toSorted(),
    plant: async (name, content) => add(name, content),
    damage: async (backupId, object, content) => {
      if (content === undefined) own.bucket.remove(`${PREFIX}${backupId}/${object}`, 'null')
      else add(`${backupId}/${object}`, content)
    },
    cleanup: async () => await own.server.close(),
  }
}

describe.each(S3_PROFILES.map((profile) => [profile.name, profile] as const))('%s', (name, profile) => {
  const { behaviour, warnings } = profile
  const isExclusive = !warnings.includes('conditional_writes_ignored') && !warnings.includes('conditional_multipart_ignored')
  testDestination({
    name: `s3 as ${name}`,
    runner: { describe, test },
    factory: async () => await fixtureFor(profile),
    supports: { exclusivePublish: isExclusive, visibleUploads: behaviour.listsNoUploads === undefined },
  })

  test('validate() warns of what the store lacks, each once, and leaves nothing', async () => {
    const own = await ownServer({ behaviour: { ...behaviour } })
    const destination = own.open()
    const lifecycle = behaviour.hasNoBucketSettings === true ? 'lifecycle_unknown' : 'no_abort_incomplete_rule'
    for (let round = 0; round < 2; round++) deepEqual((await destination.validate()).map(({ code }) => code), [...warnings, lifecycle])
    deepEqual([own.keys(), own.bucket.uploads.size], [[], 0])
  })

  test.each([true, false])('a whole backup is published and restored, validated first: %s', async (isValidated) => {
    const own = await ownServer({ behaviour: { ...behaviour } })
    const destination = own.open()
    const store = await openMemoryStore()
    await fillStore(store)
    if (isValidated) await destination.validate()
    const { manifest, warnings: told } = await runBackup({ store, destination })
    deepEqual(told.map((warning) => 'code' in warning && warning.code), isValidated ? [] : (profile.refused ?? []))
    deepEqual(destination.takeWarnings?.(), [])
    const target = await openMemoryStore()
    await restoreBackup({ target, destination: own.open(), backupId: manifest.backupId, allowStoreId: true })
    deepEqual(await dumpStore(target), await dumpStore(store))
    passed.add(name)
  })
})
