/** Finds the part of a snapshot that a key belongs to: a section, the store's own records, or a gap. */
import { compareKeys } from '../../../format/record-order.ts'
import type { StoreKind } from '../../../contracts/backupable.ts'
import type { Value } from '../../../format/records.ts'

export type { Value }

/** Keys from `gte` on and before `lt`, in the order of their bytes. A missing end is open. */
export interface KeyRange {
  readonly gte?: Value | undefined
  readonly lt?: Value | undefined
}

/** Records of one kind, as a range of keys. */
export interface Section extends KeyRange {
  /** Lower-case letters, digits and dashes. */
  readonly name: string
}

/** What a stream says of its store, and which of the database's records are in it. Plain data, which a worker can be sent. */
export interface StoreDescription {
  readonly sections: readonly Section[]
  readonly ownKeys: KeyRange | undefined
  readonly storeKind: StoreKind
  /** Kinds of stores whose streams have the same records. */
  readonly accepts: readonly StoreKind[]
  readonly storeId: string
  readonly schemaVersion: number
}

/** Spans that are not sections: the store's own records, and keys that belong to nothing. */
export const OWN_SPAN = -1
export const FOREIGN_SPAN = -2

/** The keys before `lt` that earlier spans do not have. */
export interface KeySpan {
  /** The index of the section, or `OWN_SPAN`, or `FOREIGN_SPAN`. */
  readonly section: number
  readonly name: string
  readonly lt: Value | undefined
}

/** The spans of all possible keys, in order. Throws `RangeError` when sections overlap or are out of order. */
export function keySpans(sections: readonly Section[], ownKeys: KeyRange | undefined): readonly KeySpan[] {
  const spans: KeySpan[] = []
  const ranges = sections.map(({ name, gte, lt }, section) => ({ section, name, gte, lt }))
  let end: Value | undefined = ''
  for (const { section, name, gte = '', lt } of ownKeys === undefined ? ranges : carve(ranges, ownKeys)) {
    if (end === undefined || compareKeys(gte, end) < 0 || (lt !== undefined && compareKeys(lt, gte) <= 0)) {
      throw new RangeError(`Sections must be ranges of keys in ascending order that do not overlap; "${name}" is not`)
    }
    if (compareKeys(gte, end) > 0) spans.push({ section: FOREIGN_SPAN, name: '', lt: gte })
    spans.push({ section, name, lt })
    end = lt
  }
  if (end !== undefined) spans.push({ section: FOREIGN_SPAN, name: '', lt: undefined })
  return spans
}

/** The ranges of data: all keys but the store's own. */
export function dataRanges(ownKeys: KeyRange | undefined): readonly KeyRange[] {
  if (ownKeys === undefined) return [{}]
  const before = ownKeys.gte === undefined ? [] : [{ lt: ownKeys.gte }]
  return ownKeys.lt === undefined ? before : [...before, { gte: ownKeys.lt }]
}

/** Finds the spans of ascending keys. */
export class SpanCursor {
  readonly #spans: readonly KeySpan[]
  #at = 0

  constructor(spans: readonly KeySpan[]) {
    this.#spans = spans
  }

  /** The span of a key, which is not less than the key asked for before. */
  of(key: Value): KeySpan {
    for (;;) {
      const span = this.#spans[this.#at]
      // The last span has no end.
      if (span === undefined) throw new RangeError('The spans do not cover all keys')
      if (isBefore(key, span)) return span
      this.#at++
    }
  }
}

/** Whether a key comes before the end of a span. */
export function isBefore(key: Value, { lt }: KeySpan): boolean {
  return lt === undefined || compareKeys(key, lt) < 0
}

interface NamedRange extends KeyRange {
  readonly section: number
  readonly name: string
}

/** Puts the range of own keys among the sections. Cuts the section around it in two. */
function carve(ranges: readonly NamedRange[], { gte: from = '', lt: to }: KeyRange): readonly NamedRange[] {
  const own: NamedRange = { section: OWN_SPAN, name: 'own keys', gte: from, lt: to }
  const around = ranges.flatMap((range) => {
    const { gte = '', lt } = range
    const startsWithin = compareKeys(from, gte) >= 0 && (lt === undefined || compareKeys(from, lt) < 0)
    const endsWithin = to !== undefined && (lt === undefined || compareKeys(to, lt) <= 0)
    if (!startsWithin || (to !== undefined && !endsWithin)) return [range]
    const parts: NamedRange[] = [{ ...range, gte, lt: from }]
    if (endsWithin) parts.push({ ...range, gte: to, lt })
    return parts.filter((part) => part.lt === undefined || compareKeys(part.gte ?? '', part.lt) < 0)
  })
  return [...around, own].toSorted((left, right) => compareKeys(left.gte ?? '', right.gte ?? ''))
}
