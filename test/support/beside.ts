/** Options to be spread into a call, with what a test needs beside them: that is inherited, and a spread leaves it out. */
export function beside<Options extends object, Others extends object>(options: Options, others: Others): Options & Others {
  return Object.assign(Object.create(others) as Others, options)
}
