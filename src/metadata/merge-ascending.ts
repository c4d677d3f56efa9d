/** Merges ascending texts of several sources, each text once. The first step opens all sources. */
export async function* mergeAscending(sources: readonly AsyncIterable<string>[]): AsyncGenerator<string, void, undefined> {
  const iterators = sources.map((source) => source[Symbol.asyncIterator]())
  try {
    const heads = await Promise.all(iterators.map((iterator) => iterator.next()))
    for (;;) {
      let least: string | undefined
      for (const { done, value } of heads) if (done !== true && (least === undefined || value < least)) least = value
      if (least === undefined) return
      yield least
      for (const [index, { done, value }] of heads.entries()) if (done !== true && value === least) heads[index] = await (iterators[index] as AsyncIterator<string>).next()
    }
  } finally {
    await Promise.all(iterators.map(async (iterator) => await iterator.return?.()))
  }
}
