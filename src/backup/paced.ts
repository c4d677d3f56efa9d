/** Reading on the event loop of a server without holding it up. */
import { setImmediate as nextTurn } from 'node:timers/promises'

/**
 * The bytes of a source in pieces of at most `pieceBytes`, with a turn of the event loop between them: whoever works on them
 * holds up the loop no longer than one piece takes. Rejects with the signal's reason.
 */
export async function* paced(
  source: AsyncIterable<Uint8Array>,
  { pieceBytes, signal }: { readonly pieceBytes: number; readonly signal?: AbortSignal | undefined },
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of source) {
    for (let start = 0; start < chunk.byteLength; start += pieceBytes) {
      signal?.throwIfAborted()
      yield chunk.byteLength <= pieceBytes ? chunk : chunk.subarray(start, start + pieceBytes)
      await nextTurn()
    }
  }
}
