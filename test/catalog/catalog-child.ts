/**
 * A process that uses a catalog: `node catalog-child.js append PATH` appends events for ever and prints the index of each when it
 * is durable; `... hold PATH` starts a job, closes the catalog and stays.
 */
import { JobLog } from '../../src/catalog/job-log.ts'
import { openLevelCatalog } from '../../src/catalog/level/index.ts'
import { AT, JOB, started } from './catalog-events.ts'

const [, , mode, path = ''] = process.argv
const catalog = await openLevelCatalog(path)
if (mode === 'hold') {
  const { jobId } = await JobLog.start({ kind: 'backup' }, { catalog, clock: Date.now })
  await catalog.close()
  process.stdout.write(`${jobId}\n`)
  setInterval(() => undefined, 1000)
} else {
  await catalog.append(started())
  for (let bytes = 0; ; bytes++) {
    await catalog.append({ type: 'job-progressed', at: AT, jobId: JOB, phase: 'x'.repeat(500), bytes, records: bytes })
    process.stdout.write(`${bytes}\n`)
  }
}
