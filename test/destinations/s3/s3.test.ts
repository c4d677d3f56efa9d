import { afterAll, beforeAll, describe, test } from 'vitest'
import { testDestination } from '../../conformance/destination.ts'
import { type RunningS3, s3Servers } from '../../support/s3/servers.ts'
import { s3Fixture } from './setup.ts'

for (const { name, missing, start } of s3Servers()) {
  describe.skipIf(missing !== undefined)(missing === undefined ? name : `${name} ${missing}`, () => {
    let server: RunningS3
    beforeAll(async () => {
      server = await start()
    })
    afterAll(() => server.stop())

    testDestination({ name: `s3 at ${name}`, runner: { describe, test }, factory: () => s3Fixture(server) })
  })
}
