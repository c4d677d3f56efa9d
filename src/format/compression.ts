/** The zstd codec of frames: from `node:zlib` (Node 22.15 and newer), else from an optional dependency. */
import zlib from 'node:zlib'
import { BackupUnsupportedError } from '../errors/errors.ts'

export interface Zstd {
  compress(raw: Uint8Array): Uint8Array
  /** Decompresses a frame to at most `rawBytes`. Throws for anything that is not a whole frame. */
  decompress(stored: Uint8Array, rawBytes: number): Uint8Array
}

interface NodeZstd {
  zstdCompressSync(raw: Uint8Array, options: { readonly params: Readonly<Record<number, number>> }): Buffer
  zstdDecompressSync(stored: Uint8Array, options: { readonly maxOutputLength: number }): Buffer
  readonly constants: { readonly ZSTD_c_compressionLevel: number }
}

/** The fastest level. It compresses records about as well as the others. */
const LEVEL = 1

/** Finds the codec; `undefined` if neither Node nor an installed package has it. */
export async function findZstd(): Promise<Zstd | undefined> {
  if ('zstdCompressSync' in zlib && 'zstdDecompressSync' in zlib) return ofNode(zlib as unknown as NodeZstd)
  try {
    // Use WebAssembly: the addon has one context for all threads of the process.
    const { compress, decompress } = await import('@cloudpss/zstd/wasm')
    return { compress: (raw) => compress(raw, LEVEL), decompress: (stored) => decompress(stored) }
  } catch {
    return undefined
  }
}

/** Loads the codec. Rejects with `backup_unsupported` if there is none. */
export async function loadZstd(verb: 'read' | 'write'): Promise<Zstd> {
  const zstd = await findZstd()
  if (zstd !== undefined) return zstd
  throw new BackupUnsupportedError(`Cannot ${verb} zstd frames: Node ${process.versions.node} does not have zstd, and the package "@cloudpss/zstd" is not installed`, {
    hint: 'Use Node 22.15 or newer, install "@cloudpss/zstd", or back up without compression',
  })
}

function ofNode(codec: NodeZstd): Zstd {
  const params = { [codec.constants.ZSTD_c_compressionLevel]: LEVEL }
  return {
    compress: (raw) => codec.zstdCompressSync(raw, { params }),
    decompress: (stored, rawBytes) => codec.zstdDecompressSync(stored, { maxOutputLength: rawBytes }),
  }
}
