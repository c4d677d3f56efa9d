/** Tells that a part of another maker breaks its contract: nothing that Holdfast does can be right then. */
import { InternalError } from './errors.ts'

export interface Part {
  /** What it is called: "the destination". */
  readonly name: string
  /** Where it is, for people. */
  readonly url?: string | undefined
  /** Its suite in "holdfast/conformance". */
  readonly suite: string
}

/** An error of the code `internal` that names the part. `what` follows its name: "list() gave a number". */
export function brokenContract({ name, url, suite }: Part, what: string): InternalError {
  const place = url === undefined ? '' : ` ${JSON.stringify(url)}`
  return new InternalError(`The ${name}${place} breaks its contract: ${what}`, {
    hint: `Report this to the maker of the ${name}, who can test it with ${suite}() of "holdfast/conformance"`,
    details: url === undefined ? {} : { url },
  })
}
