/** The codecs of frames. zstd comes from `node:zlib`, which has it from Node 22.15 on. */
import zlib from 'node:zlib'
import type { Compression } from '../contracts/manifest.ts'
import { BackupUnsupportedError } from '../errors/errors.ts'

interface Zstd {
  zstdCompressSync(raw: Uint8Array): Buffer
  zstdDecompressSync(stored: Uint8Array, options: { readonly maxOutputLength: number }): Buffer
}

/** Whether the running Node can read and write zstd frames. */
export function hasZstd(): boolean {
  return 'zstdCompressSync' in zlib && 'zstdDecompressSync' in zlib
}

/** The function that compresses frames; `undefined` for none. Throws `backup_unsupported` when this Node lacks the codec. */
export function compressor(compression: Compression): ((raw: Uint8Array) => Uint8Array) | undefined {
  if (compression === 'none') return undefined
  const codec = zstd('write')
  return (raw) => codec.zstdCompressSync(raw)
}

/** Decompresses one frame to at most its declared size. Throws `backup_unsupported` when this Node lacks the codec, else what zlib throws. */
export function decompress(stored: Uint8Array, rawBytes: number): Uint8Array {
  // zlib takes no limit of 0; an empty frame is caught by its length, compared by the caller.
  return zstd('read').zstdDecompressSync(stored, { maxOutputLength: Math.max(1, rawBytes) })
}

function zstd(verb: string): Zstd {
  if (hasZstd()) return zlib as unknown as Zstd
  throw new BackupUnsupportedError(`Cannot ${verb} zstd frames: Node ${process.versions.node} has no zstd`, {
    hint: 'Use Node 22.15 or newer, or back up without compression',
  })
}
