import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'vitest'
import { PayloadDirectory, payloadIdOf } from '../../src/payload-stores/directory/index.ts'
import { testPayloadStore } from '../conformance/index.ts'
import { PayloadMap } from '../gc/payload-map.ts'
import { tempDir } from '../support/temp-dir.ts'

const runner = { describe, test }
const bytesOf = (index: number): Uint8Array => Buffer.from(`payload ${index}`)

testPayloadStore({
  name: 'a directory',
  runner,
  factory: async () => {
    const path = join(await tempDir(), 'payloads')
    const payloads = await PayloadDirectory.open(path, { create: true })
    return {
      payloads,
      idOf: (index) => payloadIdOf(bytesOf(index)),
      put: async (index) => void (await payloads.put(payloadIdOf(bytesOf(index)), bytesOf(index))),
      breakDown: () => rename(path, `${path}-unmounted`),
      cleanup: async () => {},
    }
  },
})

testPayloadStore({
  name: "the tests' own, in memory",
  runner,
  factory: async () => {
    const payloads = new PayloadMap()
    const idOf = (index: number): string => `p${(index * 7919) % 10_007}`
    return {
      payloads,
      idOf,
      put: async (index) => payloads.put(idOf(index)),
      breakDown: async () => {
        payloads.list = () => {
          throw new Error('gone')
        }
      },
      cleanup: async () => {},
    }
  },
  supports: { ages: false },
})
