/** Listing objects. */
import { ListObjectsV2Command, type ListObjectsV2CommandInput, paginateListObjectsV2, PutObjectCommand } from '@aws-sdk/client-s3'
import { beforeAll, describe, expect, it } from 'vitest'
import type { ProtocolContext } from './protocol-context.ts'

const NAMES = ['a', 'b/1', 'b/2', 'b/3', 'c', 'd/1', 'd/e/2', 'f g+h', 'ü', '\u{1F642}', '\uFB01']
/** More than a page holds. */
const MANY = 1003

export function testLists(context: ProtocolContext): void {
  const list = async (input: Partial<ListObjectsV2CommandInput>) => await context.client.send(new ListObjectsV2Command({ Bucket: context.bucket, ...input }))
  const put = async (key: string): Promise<unknown> => await context.client.send(new PutObjectCommand({ Bucket: context.bucket, Key: key, Body: key }))
  const inOrder = (names: readonly string[]): string[] => names.map((name) => `list/${name}`).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))

  describe('lists', () => {
    beforeAll(async () => {
      for (const name of NAMES) await put(`list/${name}`)
    })

    it('gives the keys under a prefix by the bytes of UTF-8, with size, ETag and time', async () => {
      const { Contents = [], KeyCount, IsTruncated } = await list({ Prefix: 'list/' })
      expect(Contents.map(({ Key }) => Key)).toEqual(inOrder(NAMES))
      expect([KeyCount, IsTruncated]).toEqual([NAMES.length, false])
      expect(Contents.find(({ Key }) => Key === 'list/a')).toMatchObject({ Size: 6, ETag: expect.stringMatching(/^"[0-9a-f]{32}"$/) as unknown })
      expect(Contents.every(({ LastModified }) => LastModified instanceof Date)).toBe(true)
    })

    it('gives nothing under a prefix without keys', async () => {
      await expect(list({ Prefix: 'nothing/here/' })).resolves.toMatchObject({ KeyCount: 0, IsTruncated: false })
    })

    it.each([1, 2, 3, 5, 100])('gives all of them in pages of %d', async (MaxKeys) => {
      const keys: (string | undefined)[] = []
      for await (const { Contents = [] } of paginateListObjectsV2({ client: context.client, pageSize: MaxKeys }, { Bucket: context.bucket, Prefix: 'list/' })) {
        expect(Contents.length).toBeLessThanOrEqual(MaxKeys)
        keys.push(...Contents.map(({ Key }) => Key))
      }
      expect(keys).toEqual(inOrder(NAMES))
    })

    it.each([1, 2, 100])('gives what keys have in common, in pages of %d', async (pageSize) => {
      const keys: (string | undefined)[] = []
      const prefixes: (string | undefined)[] = []
      const pages = paginateListObjectsV2({ client: context.client, pageSize }, { Bucket: context.bucket, Prefix: 'list/', Delimiter: '/' })
      for await (const { Contents = [], CommonPrefixes = [] } of pages) {
        keys.push(...Contents.map(({ Key }) => Key))
        prefixes.push(...CommonPrefixes.map(({ Prefix }) => Prefix))
      }
      expect(keys).toEqual(inOrder(NAMES.filter((name) => !name.includes('/'))))
      expect(prefixes).toEqual(['list/b/', 'list/d/'])
    })

    it('starts after a key, there or not', async () => {
      for (const StartAfter of ['list/b/2', 'list/b/2x']) {
        const { Contents = [] } = await list({ Prefix: 'list/', StartAfter })
        expect(Contents[0]?.Key).toBe('list/b/3')
      }
    })

    it.skipIf(!context.supports.urlEncoding)('encodes keys when asked to', async () => {
      const { Contents = [], EncodingType } = await list({ Prefix: 'list/', EncodingType: 'url' })
      expect(EncodingType).toBe('url')
      expect(Contents.map(({ Key = '' }) => decodeURIComponent(Key.replaceAll('+', ' ')))).toEqual(inOrder(NAMES))
    })

    it('gives no more than 1,000 keys a page', async () => {
      const names = Array.from({ length: MANY }, (_, index) => `many-keys/${String(index).padStart(5, '0')}`)
      for (let start = 0; start < MANY; start += 50) await Promise.all(names.slice(start, start + 50).map(put))
      const first = await list({ Prefix: 'many-keys/' })
      expect([first.KeyCount, first.IsTruncated]).toEqual([1000, true])
      const second = await list({ Prefix: 'many-keys/', ContinuationToken: first.NextContinuationToken })
      expect([second.KeyCount, second.IsTruncated]).toEqual([MANY - 1000, false])
      expect([...(first.Contents ?? []), ...(second.Contents ?? [])].map(({ Key }) => Key)).toEqual(names)
    })
  })
}
