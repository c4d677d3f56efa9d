/** Ends a worker of vitest when its runner has gone, with or without a word. */
process.once('disconnect', () => process.exit(1))
