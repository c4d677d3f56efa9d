/** Opens a store, says so, and keeps it until it is killed. */
import { openLevelStore } from '../../../src/stores/level/index.ts'

const [, , path = ''] = process.argv
await openLevelStore(path)
process.stdout.write('open\n')
setInterval(() => {}, 1_000_000)
