/**
 * Tries a share of the tests that take the most time, others with each seed. The others are shown as skipped; `npm run test:full` tries all.
 *
 * These files took nine tenths of the time of all tests. Each of their tests stands alone; what they guard is also touched by quicker ones.
 */
import { relative, resolve } from 'node:path'
import { beforeEach } from 'vitest'
import { isFull, isTried } from '../seed.ts'

const TESTS = resolve(import.meta.dirname, '../..')

/** Folders and files below `test/`, by the beginning of their path. */
const SLOW_FILES = [
  'backup/level-backup.',
  'backup/run-backup.',
  'cli/bad-input',
  'cli/commands',
  'cli/convert',
  'cli/evidence',
  'cli/gc.',
  'cli/help',
  'cli/interrupt',
  'cli/kill',
  'cli/postgres',
  'cli/progress',
  'cli/refusals',
  'cli/restore-path',
  'cli/surroundings',
  'crash/',
  'destinations/s3/backups',
  'destinations/s3/faults',
  'destinations/s3/list',
  'destinations/s3/profiles',
  'destinations/s3/publish',
  'destinations/s3/read',
  'destinations/s3/s3.',
  'destinations/s3/stores',
  'destinations/s3/validate',
  'format/golden-store',
  'gc/backup-and-restore',
  'gc/mutations',
  'metadata/convert-store',
  'metadata/live-view',
  'payload-ids/payload-id-set.',
  'payload-stores/conformance.',
  'payload-stores/payload-directory',
  'registry/postgres-catalog',
  'restore/damaged-backup',
  'restore/plan-restore',
  'restore/recover',
  'restore/restore-backup',
  'restore/subtree/',
  'stores/level/failed-writes',
  'stores/level/full-disk',
  'stores/level/level-backupable',
  'stores/level/level-backupable-conformance',
  'stores/level/level-home',
  'stores/level/level-metadata-backup',
  'stores/level/level-metadata-store-conformance',
  'stores/level/level-references',
  'stores/level/level-tree-rules',
  'stores/level/level-trial.',
  'stores/level/planted',
  'stores/postgres/archive-content',
  'stores/postgres/pace',
  'stores/postgres/postgres-backupable',
  'stores/postgres/postgres-beside',
  'stores/postgres/postgres-goldens',
  'stores/postgres/postgres-home',
  'stores/postgres/postgres-metadata',
  'stores/postgres/postgres-outside',
  'stores/postgres/postgres-references',
  'stores/postgres/postgres-restore',
  'stores/postgres/postgres-sessions',
  'stores/postgres/postgres-silence',
  'stores/postgres/postgres-swappable',
  'stores/postgres/postgres-sweep',
  'stores/postgres/postgres-tree-rules',
  'stores/postgres/postgres-trial',
  'stores/postgres/restore-target',
  'stores/postgres/schema-view',
]

beforeEach(({ task, skip }) => {
  const file = relative(TESTS, task.file.filepath)
  const isSlow = SLOW_FILES.some((beginning) => file.startsWith(beginning))
  if (!isFull && isSlow && !isTried(`${task.suite?.name ?? ''} ${task.name}`)) skip('Not in the share of this run; `npm run test:full` tries it')
})
