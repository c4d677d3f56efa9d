/** Records that refer to very many payloads; loaded by its URL in the worker thread that scans a store. */
export const IDS_PER_RECORD = 50
const DIGEST_PARTS = 8
const GOLDEN_RATIO = 0x9e3779b1

/** The payload IDs of the record `NUMBER`: in no order, and no two records have one in common. */
export function payloadIds(key: string): readonly string[] {
  const first = Number(key) * IDS_PER_RECORD
  return Array.from({ length: IDS_PER_RECORD }, (_, at) => digestLike(first + at))
}

/** 64 hexadecimal digits; different for different numbers below 2^32. */
function digestLike(number: number): string {
  return (Math.imul(number, GOLDEN_RATIO) >>> 0).toString(16).padStart(8, '0').repeat(DIGEST_PARTS)
}
