/** What other rooms may use of this one, besides `payload-id-set.ts`. */
export { BLOCK_IDS, BlockEncoder } from './block-encoder.ts'
export { compareAfterKey, keyAt } from './id-key.ts'
export { type IdList, idsOf, isPayloadId, LINE_FEED, listOf, MAX_ID_LENGTH, packedLines, packIds, pickedFrom } from './id-list.ts'
export { type IdLists, type MergedList, mergeRuns } from './merge.ts'
export { checkPayloadId, decodePayloadIdBatches, decodePayloadIdLists, PayloadIdSet, PayloadIdSetBuilder } from './payload-id-set.ts'
