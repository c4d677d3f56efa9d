/** What can go wrong between a client and its server, and plans of when it does. */

/**
 * What happens to one request. A place `at` is a share, from 0 to 1, of the bytes that it is about; so many requests of all sizes are cut and
 * bent anywhere.
 */
export type Fault =
  /** The connection is cut when so much of the request's body has gone to the server, which therefore does nothing. */
  | { readonly kind: 'reset-request', readonly at: number }
  /** The server has done it all; the connection is cut when so much of its answer, head included, has come. */
  | { readonly kind: 'reset-response', readonly at: number }
  /** The server has done it all; nothing of its answer comes. */
  | { readonly kind: 'lose-response' }
  /** Another answer than the server's, which never hears of the request. */
  | { readonly kind: 'answer', readonly status: number, readonly code: string }
  /** No answer, until the client gives up; the server has done it, or never hears of it. */
  | { readonly kind: 'hang', readonly committed: boolean }
  /** The answer's body ends early and the connection with it; the length declared is that of the whole, or of what comes. */
  | { readonly kind: 'truncate', readonly at: number, readonly declares: 'whole' | 'rest' }
  /** One bit of the answer's body is flipped. */
  | { readonly kind: 'corrupt-response', readonly at: number }
  /** One bit of the request's body is flipped. */
  | { readonly kind: 'corrupt-request', readonly at: number }
  /** So many bytes of body per second, both ways. */
  | { readonly kind: 'slow', readonly bytesPerSecond: number }
  /** The connection is cut, and new ones are refused for so long. */
  | { readonly kind: 'refuse', readonly forMs: number }
  /** The server gets the request twice; the second answer is given. */
  | { readonly kind: 'repeat' }

export type FaultKind = Fault['kind']

/** All that `randomFault` can choose from. */
export const FAULT_KINDS: readonly FaultKind[] = [
  'reset-request',
  'reset-response',
  'lose-response',
  'answer',
  'hang',
  'truncate',
  'corrupt-response',
  'corrupt-request',
  'slow',
  'refuse',
  'repeat',
]

/** The answers that a busy or broken server gives. */
const ANSWERS = [
  { status: 500, code: 'InternalError' },
  { status: 503, code: 'SlowDown' },
  { status: 503, code: 'ServiceUnavailable' },
] as const

/** A request as a plan sees it: all of it has come, none of it has gone on. */
export interface ProxiedRequest {
  /** From 0, in the order in which they were complete. */
  readonly number: number
  readonly method: string
  /** With the query. */
  readonly url: string
  readonly bodyBytes: number
}

/** Decides what happens to a request, with random numbers in [0, 1) of the proxy's seed; undefined lets it pass. */
export type FaultPlan = (request: ProxiedRequest, random: () => number) => Fault | undefined

/** A fault of that kind, the rest of it by chance. */
export function randomFault(kind: FaultKind, random: () => number): Fault {
  switch (kind) {
    case 'answer':
      return { kind, ...(ANSWERS[Math.floor(random() * ANSWERS.length)] ?? ANSWERS[0]) }
    case 'hang':
      return { kind, committed: random() < 0.5 }
    case 'truncate':
      return { kind, at: random(), declares: random() < 0.5 ? 'whole' : 'rest' }
    case 'slow':
      return { kind, bytesPerSecond: Math.round(10 ** (3 + 3 * random())) }
    case 'refuse':
      return { kind, forMs: Math.round(50 * random()) }
    case 'lose-response':
    case 'repeat':
      return { kind }
    default:
      return { kind, at: random() }
  }
}

/** Faults of some kinds for a share of the requests, and no more than `most` in all. */
export function randomPlan({
  share,
  kinds = FAULT_KINDS,
  most = Infinity,
}: { readonly share: number, readonly kinds?: readonly FaultKind[] | undefined, readonly most?: number | undefined }): FaultPlan {
  let left = most
  return (_, random) => {
    const hits = random() < share
    const kind = kinds[Math.floor(random() * kinds.length)]
    if (!hits || left <= 0 || kind === undefined) return undefined
    left--
    return randomFault(kind, random)
  }
}

/** One fault, for the request of that number. */
export function faultAt(number: number, fault: Fault): FaultPlan {
  return (request) => (request.number === number ? fault : undefined)
}
