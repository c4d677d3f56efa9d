/** The payload IDs of the bench's entries, for the worker thread. */
import { payloadIdOfValue } from './entries.ts'

export function payloadIds(_key: string, value: string): readonly string[] {
  return [payloadIdOfValue(value)]
}
