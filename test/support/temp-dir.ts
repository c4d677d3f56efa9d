/** Temporary directories that go when the test does. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

/** Makes an empty directory that is removed when the running test has finished. */
export async function tempDir(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'holdfast-test-'))
  onTestFinished(() => rm(path, { recursive: true, force: true, maxRetries: 3 }))
  return path
}
