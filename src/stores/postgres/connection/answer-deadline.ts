/** How long the server is waited for: over a network that went silent, no answer ever comes, and nothing says so. */

/** How long the server may leave a statement unanswered, unless an option says otherwise. */
export const ANSWER_TIMEOUT_MS = 60_000

/** Waits for an answer, and rejects when none can be expected any more. */
export type Patience = <T>(answer: Promise<T>) => Promise<T>

/** Thrown when the server does not answer in time. Its connection is of no more use: it must be cut, not given back. */
export class NoAnswerError extends Error {
  /** The system's own code for it. */
  readonly code = 'ETIMEDOUT'

  constructor(timeoutMs: number) {
    super(`the server has not answered after ${timeoutMs} ms`)
  }
}

/** The answer; rejects with `NoAnswerError` when it does not come in time. Every statement of a store goes through here. */
export function answerWithin<T>(answer: Promise<T>, timeoutMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new NoAnswerError(timeoutMs)), timeoutMs)
    answer.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
