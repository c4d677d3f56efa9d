import { relative, resolve } from 'node:path'
import { defineConfig } from 'vitest/config'

const root = import.meta.dirname

/**
 * Tests import sources by their `.ts` paths and run what `npm run build` made of them: the very files that are
 * published, which worker threads and child processes can load on every supported Node.
 */
const testTheBuild = {
  name: 'test-the-build',
  enforce: 'pre',
  resolveId(specifier, importer) {
    if (!importer || !specifier.startsWith('.') || !specifier.endsWith('.ts')) return null
    const path = relative(root, resolve(importer, '..', specifier))
    if (!/^(src|destinations)\//.test(path)) return null
    return { id: resolve(root, 'dist', path.replace(/\.ts$/, '.js')), external: true }
  },
}

export default defineConfig({
  plugins: [testTheBuild],
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/run/global-setup.ts'],
    setupFiles: ['test/support/run/end-with-runner.ts', 'test/support/run/try-a-share.ts'],
    // A test that hangs ends some day; on a machine that is slow none ends too early.
    testTimeout: 600_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 60_000 } },
    pool: 'forks',
    // Many tests wait, for disks, networks and other processes.
    maxWorkers: 3,
  },
})
