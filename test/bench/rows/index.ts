/** All rows, in the order they run. */
import type { BenchRow } from '../bench.ts'
import { backupRow } from './backup.ts'
import { copyRow } from './copy.ts'
import { foregroundRow } from './foreground.ts'
import { memoryRow } from './memory.ts'
import { openingRow } from './opening.ts'
import { payloadIdsRow } from './payload-ids.ts'
import { postgresForegroundRow } from './postgres-foreground.ts'
import { postgresMemoryRow } from './postgres-memory.ts'
import { postgresRow } from './postgres.ts'
import { recipeRow } from './recipe.ts'
import { restoreRow } from './restore.ts'
import { s3Row } from './s3.ts'
import { scaleRow } from './scale.ts'
import { sweepRow } from './sweep.ts'
import { verifyRow } from './verify.ts'

export const ROWS: readonly BenchRow[] = [
  backupRow,
  recipeRow,
  restoreRow,
  foregroundRow,
  openingRow,
  memoryRow,
  scaleRow,
  verifyRow,
  payloadIdsRow,
  sweepRow,
  copyRow,
  s3Row,
  postgresRow,
  postgresForegroundRow,
  postgresMemoryRow,
]
