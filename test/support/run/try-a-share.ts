/**
 * Tries a share of the tests that take the most time, others with each seed. The others are shown as skipped; `npm run test:full` tries all.
 *
 * These files took nine tenths of the time of all tests. Each of their tests stands alone; what they guard is also touched by quicker ones.
 */
import { beforeEach } from 'vitest'
import { isFull, isTried } from '../seed.ts'

const SLOW_FILES =
  /\/(?:stores\/postgres\/postgres-(?:backupable|home|metadata|references|restore|silence|sweep)[\w-]*|stores\/level\/level-backupable[\w-]*|restore\/restore-backup|metadata\/convert-store|destinations\/s3\/(?:publish|backups|faults|read|list)|crash\/[\w-]+|cli\/(?:kill|postgres|postgres-gc))\.test\.ts$/

beforeEach(({ task, skip }) => {
  if (!isFull && SLOW_FILES.test(task.file.filepath) && !isTried(`${task.suite?.name ?? ''} ${task.name}`)) skip('Not in the share of this run; `npm run test:full` tries it')
})
