/**
 * Restores `s/dir` of a backup into the LevelDB store at a path, over what is there, and kills itself before a given change of the store, counted from 0.
 * Arguments: the store's path, the destination's, that for trials, the backup's ID, the number.
 */
import { fsDestination } from '../../../destinations/fs/index.ts'
import { openLevelTrial } from '../../../src/stores/level/level-trial.ts'
import { restoreSubtree } from '../../../src/restore/subtree/restore-subtree.ts'
import { openLevelStore } from '../../../src/stores/level/index.ts'
import { altered } from '../../support/altered.ts'

const [path = '', backups = '', trials = '', backupId = '', fatal = ''] = process.argv.slice(2)
let changes = 0
const live = await openLevelStore(path)

function counted<Words extends unknown[], T>(change: (...words: Words) => Promise<T>): (...words: Words) => Promise<T> {
  return async (...words) => {
    if (changes++ === Number(fatal)) process.kill(process.pid, 'SIGKILL')
    return await change.apply(live, words)
  }
}

const store = altered(live, {
  createShare: counted(live.createShare.bind(live)),
  create: counted(live.create.bind(live)),
  link: counted(live.link.bind(live)),
  rename: counted(live.rename.bind(live)),
  unlink: counted(live.unlink.bind(live)),
  removeShare: counted(live.removeShare.bind(live)),
})
const openTrial = (): ReturnType<typeof openLevelTrial> => openLevelTrial(trials, { onWarning: () => undefined })
await restoreSubtree({ store, destination: fsDestination({ path: backups }), backupId, path: 's/dir', overwrite: true, openTrial })
await live.close()
