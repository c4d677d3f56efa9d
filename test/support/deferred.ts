/** A promise that a test settles when it wants to. */
export interface Deferred {
  readonly promise: Promise<void>
  readonly resolve: () => void
}

export function deferred(): Deferred {
  const holder: { resolve?: () => void } = {}
  const promise = new Promise<void>((resolve) => {
    holder.resolve = resolve
  })
  return { promise, resolve: () => holder.resolve?.() }
}
