import { describe, expect, it } from 'vitest'
import { readBody } from './server-body.ts'
import { type Signature, verifySignature } from './server-signature.ts'

// The examples of the documentation of S3: "Signature calculations for the authorization header: transferring a payload in multiple chunks".
const KEYS = new Map([['AKIAIOSFODNN7EXAMPLE', { secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' }]])
const CLOCK = { keys: KEYS, region: 'us-east-1', nowMs: Date.UTC(2013, 4, 24) }
const COMMON = {
  host: 's3.amazonaws.com',
  'x-amz-date': '20130524T000000Z',
  'x-amz-storage-class': 'REDUCED_REDUNDANCY',
  'content-encoding': 'aws-chunked',
  'x-amz-decoded-content-length': '66560',
}
const CHUNKS = [Buffer.alloc(65_536, 'a'), Buffer.alloc(1024, 'a'), Buffer.alloc(0)]

interface Example {
  readonly headers: Readonly<Record<string, string>>
  readonly signature: string
  readonly chunkSignatures: readonly string[]
  readonly end: string
}

const PLAIN: Example = {
  headers: { ...COMMON, 'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD', 'content-length': '66824' },
  signature: '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9',
  chunkSignatures: [
    'ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648',
    '0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497',
    'b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9',
  ],
  end: '\r\n',
}

const WITH_TRAILER: Example = {
  headers: { ...COMMON, 'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER', 'x-amz-trailer': 'x-amz-checksum-crc32c' },
  signature: '106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e',
  chunkSignatures: [
    'b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2',
    '1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7',
    '2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992',
  ],
  end: 'x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n',
}

function sign({ headers, signature }: Example): Signature {
  const names = Object.keys(headers).sort((a, b) => (a < b ? -1 : 1))
  const credential = 'AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request'
  const authorization = `AWS4-HMAC-SHA256 Credential=${credential},SignedHeaders=${names.join(';')},Signature=${signature}`
  return verifySignature({ method: 'PUT', url: '/examplebucket/chunkObject.txt', headers: { ...headers, authorization } }, CLOCK)
}

function frame({ chunkSignatures, end }: Example): Buffer {
  const chunks = CHUNKS.flatMap((chunk, index) => [
    Buffer.from(`${chunk.byteLength.toString(16)};chunk-signature=${chunkSignatures[index]}\r\n`),
    chunk,
    Buffer.from(chunk.byteLength > 0 ? '\r\n' : ''),
  ])
  return Buffer.concat([...chunks, Buffer.from(end)])
}

describe('readBody', () => {
  const read = (example: Example, sent: Buffer): ReturnType<typeof readBody> =>
    readBody([sent], example.headers, { signature: sign(example), behaviour: {} })

  it.each([PLAIN, WITH_TRAILER])('takes the published example of signed chunks, $headers.x-amz-content-sha256', (example) => {
    const { data, checksum } = read(example, frame(example))
    expect(data.toString()).toBe('a'.repeat(66_560))
    expect(checksum?.value).toBe(example === WITH_TRAILER ? 'sOO8/Q==' : undefined)
  })

  it.each([
    ['a flipped byte', (sent: Buffer) => sent.fill('b', 1000, 1001), 'SignatureDoesNotMatch'],
    ['a flipped byte of the last chunk', (sent: Buffer) => sent.fill('b', 66_000, 66_001), 'SignatureDoesNotMatch'],
    ['an end before the last chunk', (sent: Buffer) => sent.subarray(0, 66_000), 'IncompleteBody'],
    ['no trailer', (sent: Buffer) => sent.subarray(0, sent.indexOf('x-amz-checksum')), 'MalformedTrailerError'],
    ['another trailer', (sent: Buffer) => Buffer.from(sent.toString('latin1').replace('sOO8/Q==', 'AAAAAA=='), 'latin1'), 'SignatureDoesNotMatch'],
  ])('refuses %s', (_, damage, code) => {
    expect(() => read(WITH_TRAILER, damage(frame(WITH_TRAILER)))).toThrow(expect.objectContaining({ code }) as Error)
  })
})
