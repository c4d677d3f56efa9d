/**
 * A process that does one thing beside others, and freezes (SIGSTOP) or dies (SIGKILL) in the middle of it: `node actor.js ROLE ARGUMENT...`.
 * It prints how it ended: `done`, or the code of the error.
 */
import { fsDestination } from '../../destinations/fs/index.ts'
import { nodeFiles } from '../../src/util/files.ts'
import { restoreBackup } from '../../src/restore/restore-backup.ts'
import { openLevelStore } from '../../src/stores/level/index.ts'
import { interceptFiles } from '../support/faulty-files.ts'

const freeze = (): unknown => process.kill(process.pid, 'SIGSTOP')

const ROLES: Readonly<Record<string, (...args: string[]) => Promise<void>>> = {
  /** Publishes a backup and freezes just before a call, such as `rename`, comes to its directory or what is in it. */
  async publish(path, backupId, call) {
    let isDue = true
    const files = interceptFiles(nodeFiles, async (step, run) => {
      if (isDue && step.call === call && step.path.includes(backupId)) {
        isDue = false
        freeze()
      }
      return await run()
    })
    const upload = await fsDestination({ path, files }).put(backupId)
    try {
      await upload.write('payload', Buffer.from('from the frozen process'))
      await upload.write('payload-ids', Buffer.from('a\n'))
      await upload.publish(Buffer.from('{"by":"the frozen process"}'))
    } catch (error) {
      await upload.abort()
      throw error
    }
  },

  /** Holds a store open, freezes, and writes to it. */
  async hold(path) {
    const store = await openLevelStore(path, { create: false })
    freeze()
    await store.setSetting('after', 'the thaw')
    await store.close()
  },

  /** Restores a backup under a writer that never ends, and dies when a step begins. */
  async restore(path, from, backupId, at) {
    const store = await openLevelStore(path, { create: false })
    const write = async (): Promise<void> => {
      for (let tick = 0; ; tick++) {
        await store.setSetting('tick', `${tick}`).catch(() => undefined)
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    void write()
    await restoreBackup({ target: store, destination: fsDestination({ path: from }), backupId, onProgress: ({ step }) => step === at && process.kill(process.pid, 'SIGKILL') })
  },
}

const [role = '', ...args] = process.argv.slice(2)
const play = ROLES[role]
if (play === undefined) throw new TypeError(`There is no role "${role}"`)
const outcome = await play(...args).then(
  () => 'done',
  (error: { readonly code?: string }) => error.code ?? String(error),
)
process.stdout.write(`${outcome}\n`, () => process.exit())
