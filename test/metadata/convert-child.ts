/** Converts a store into a LevelDB at the path it is given, says when the copy is written, and waits to be killed. */
import { ClassicLevel } from 'classic-level'
import { MemoryLevel } from 'memory-level'
import { LevelMetadataStore } from '../../src/stores/level/store/level-metadata-store.ts'

const source = await LevelMetadataStore.open(new MemoryLevel(), { kind: 'memory' })
const { root } = await source.createShare('share')
await Promise.all(Array.from({ length: 6000 }, (_, at) => source.create({ parent: root, name: `${at}` }, { type: 'file', size: at, content: { payloadId: `p${at}` } })))
const target = await LevelMetadataStore.open(new ClassicLevel(process.argv[2] ?? ''), { kind: 'level' })
await target.importView(await source.view(), {
  check: async () => {
    console.log('written')
    await new Promise((resolve) => setTimeout(resolve, 600_000))
  },
})
