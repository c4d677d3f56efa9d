/**
 * Power loss, simulated: a file system over a real directory that knows what a crash of the machine may take back.
 *
 * The model, which is at least as hostile as ext4, XFS and Btrfs with volatile disk caches:
 * - The bytes of a file are durable as of its last `sync` (or `syncFile`). What was written since may be there or not, sector by
 *   sector (512 bytes) in any order, as it was written, as zeros or as garbage; the file may be shorter than it was written to be. Bytes
 *   that are durable are never harmed by later appends. `flush` promises nothing.
 * - The names in a directory are durable as of its last `syncDirectory`. Of the changes since (create, remove, rename), half of the crashes keep a prefix
 *   in the order of time over all directories, as a metadata journal does; the other half keep any subset, so that changes in
 *   different directories, and of different names in one, come in any order.
 * - A rename within a directory happens or does not. A rename between directories is two changes, either of which may be lost alone.
 * - A directory or file whose name is lost is lost with all in it; syncing a file does not make its name durable.
 * - What others write into the directory (a database's own files) is not durable until it is synced through these files, except below a
 *   `trusted` path: that is taken as it is at the crash.
 */
import { lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import { type Files, nodeFiles, type WritableFile } from '../../src/util/files.ts'
import { randomFrom } from './seed.ts'

interface FileNode {
  readonly kind: 'file'
  durable: Buffer
  current: Buffer
  /** Tells whether the real file changed. */
  version: string
}

interface DirectoryNode {
  readonly kind: 'directory'
  durable: Map<string, Node>
  current: Map<string, Node>
  pending: Change[]
}

type Node = FileNode | DirectoryNode

/** Names that change together; `undefined` is a removal. */
interface Change {
  readonly sequence: number
  readonly names: readonly (readonly [string, Node | undefined])[]
}

/** What a crash left: the content of files, by path relative to the root; directories are `undefined`. */
export type CrashState = ReadonlyMap<string, Buffer | undefined>

export interface CrashOptions {
  /** Whether a path, relative to the root, keeps what it has at the crash. @default none */
  readonly trusted?: ((path: string) => boolean) | undefined
}

const SECTOR_BYTES = 512

export class CrashFiles {
  /** The files to run a scenario with; all paths must be below the root. */
  readonly files: Files
  readonly #root: string
  readonly #tree: DirectoryNode
  readonly #trusted: (path: string) => boolean
  #sequence = 0

  /** What is in the directory now is durable. */
  constructor(root: string, options: CrashOptions = {}) {
    this.#root = resolve(root)
    this.#trusted = options.trusted ?? (() => false)
    this.#tree = emptyDirectory()
    this.#observe()
    settle(this.#tree)
    this.files = this.#wrap()
  }

  /** One of the states a power loss right now may leave. The same seed gives the same state. */
  crash(seed: number): CrashState {
    this.#observe()
    const random = randomFrom(seed)
    const journaled = random() < 0.5
    const cut = random() * (this.#sequence + 1)
    const keepRate = [0.2, 0.5, 0.8][Math.floor(random() * 3)] ?? 0.5
    const isKept = (change: Change): boolean => (journaled ? change.sequence < cut : random() < keepRate)
    const state = new Map<string, Buffer | undefined>()
    const visit = (directory: DirectoryNode, path: string): void => {
      for (const [name, node] of survivors(directory, (name) => this.#trusted(name === undefined ? path : join(path, name)), isKept)) {
        const child = join(path, name)
        if (node.kind === 'file') state.set(child, this.#trusted(child) ? node.current : survivingBytes(node, random))
        else {
          state.set(child, undefined)
          visit(node, child)
        }
      }
    }
    visit(this.#tree, '')
    return state
  }

  #wrap(): Files {
    const observed = async <T>(run: () => Promise<T>): Promise<T> => {
      this.#observe()
      try {
        return await run()
      } finally {
        this.#observe()
      }
    }
    return {
      ...nodeFiles,
      create: (path) => observed(() => nodeFiles.create(path)).then((file) => this.#writable(file, this.#file(path))),
      makeDirectory: (path) => observed(() => nodeFiles.makeDirectory(path)),
      removeFile: (path) => observed(() => nodeFiles.removeFile(path)),
      removeDirectory: (path) => observed(() => nodeFiles.removeDirectory(path)),
      rename: async (from, to) => {
        this.#observe()
        await nodeFiles.rename(from, to)
        this.#rename(from, to)
      },
      syncFile: async (path) => {
        this.#observe()
        const file = this.#file(path)
        file.durable = file.current
      },
      syncDirectory: async (path) => {
        this.#observe()
        const directory = this.#find(path)
        if (directory?.kind !== 'directory') return await nodeFiles.syncDirectory(path)
        directory.durable = new Map(directory.current)
        directory.pending = []
      },
    }
  }

  #writable(file: WritableFile, node: FileNode): WritableFile {
    return {
      write: (chunk) => file.write(chunk),
      flush: () => Promise.resolve(),
      sync: async () => {
        this.#observe()
        node.durable = node.current
      },
      close: () => file.close(),
    }
  }

  #rename(from: string, to: string): void {
    const [source, target] = [this.#directory(dirname(from)), this.#directory(dirname(to))]
    const node = source.current.get(basename(from))
    if (node === undefined) throw new Error(`Cannot find "${from}" in the model`)
    source.current.delete(basename(from))
    target.current.set(basename(to), node)
    const removal = [basename(from), undefined] as const
    const addition = [basename(to), node] as const
    if (source === target) source.pending.push({ sequence: this.#sequence++, names: [removal, addition] })
    else {
      target.pending.push({ sequence: this.#sequence++, names: [addition] })
      source.pending.push({ sequence: this.#sequence++, names: [removal] })
    }
  }

  /** Brings the model up to what is really there. */
  #observe(): void {
    const visit = (directory: DirectoryNode, path: string): void => {
      const entries = new Map(readdirSync(path, { withFileTypes: true }).map((entry) => [entry.name, entry]))
      for (const name of directory.current.keys()) {
        if (!entries.has(name)) this.#change(directory, name, undefined)
      }
      for (const [name, entry] of entries) {
        const kind = entry.isDirectory() ? 'directory' : 'file'
        let node = directory.current.get(name)
        if (node?.kind !== kind) {
          node = kind === 'directory' ? emptyDirectory() : { kind, durable: Buffer.alloc(0), current: Buffer.alloc(0), version: '' }
          this.#change(directory, name, node)
        }
        const child = join(path, name)
        if (node.kind === 'directory') visit(node, child)
        else refresh(node, child)
      }
    }
    visit(this.#tree, this.#root)
  }

  #change(directory: DirectoryNode, name: string, node: Node | undefined): void {
    if (node === undefined) directory.current.delete(name)
    else directory.current.set(name, node)
    directory.pending.push({ sequence: this.#sequence++, names: [[name, node]] })
  }

  #find(path: string): Node | undefined {
    let node: Node | undefined = this.#tree
    const names = relative(this.#root, resolve(path)).split(sep)
    if (names[0] === '..') throw new Error(`"${path}" is not below "${this.#root}"`)
    for (const name of names) {
      if (name === '') continue
      node = node?.kind === 'directory' ? node.current.get(name) : undefined
    }
    return node
  }

  #file(path: string): FileNode {
    const node = this.#find(path)
    if (node?.kind !== 'file') throw new Error(`Cannot find the file "${path}" in the model`)
    return node
  }

  #directory(path: string): DirectoryNode {
    const node = this.#find(path)
    if (node?.kind !== 'directory') throw new Error(`Cannot find the directory "${path}" in the model`)
    return node
  }
}

/** Writes a state into an empty directory. */
export function materialise(state: CrashState, directory: string): void {
  for (const [path, content] of state) {
    if (content === undefined) mkdirSync(join(directory, path), { mode: 0o700 })
    else writeFileSync(join(directory, path), content, { mode: 0o600 })
  }
}

function emptyDirectory(): DirectoryNode {
  return { kind: 'directory', durable: new Map(), current: new Map(), pending: [] }
}

/** Takes everything as durable. */
function settle(node: Node): void {
  if (node.kind === 'file') {
    node.durable = node.current
    return
  }
  node.durable = new Map(node.current)
  node.pending = []
  for (const child of node.current.values()) settle(child)
}

function refresh(node: FileNode, path: string): void {
  const stats = lstatSync(path, { throwIfNoEntry: false })
  // A database's own thread has removed it meanwhile.
  if (stats === undefined) return
  const version = `${stats.ino} ${stats.size} ${stats.mtimeMs} ${stats.ctimeMs}`
  if (version === node.version) return
  node.version = version
  node.current = readFileSync(path)
}

/** The names a directory has after the crash. */
function survivors(directory: DirectoryNode, isTrusted: (name?: string) => boolean, isKept: (change: Change) => boolean): Map<string, Node> {
  if (isTrusted()) return directory.current
  const names = new Map(directory.durable)
  for (const change of directory.pending) {
    if (!isKept(change)) continue
    for (const [name, node] of change.names) {
      if (node === undefined) names.delete(name)
      else names.set(name, node)
    }
  }
  for (const name of new Set([...names.keys(), ...directory.current.keys()])) {
    if (!isTrusted(name)) continue
    const node = directory.current.get(name)
    if (node === undefined) names.delete(name)
    else names.set(name, node)
  }
  return names
}

/** The bytes a file has after the crash. */
function survivingBytes({ durable, current }: FileNode, random: () => number): Buffer {
  if (durable.equals(current)) return current
  const choice = random()
  if (choice < 0.2) return durable
  if (choice < 0.4) return current
  // Appended bytes leave the durable ones before them alone; a file that was rewritten has none that are safe.
  const safeBytes = current.subarray(0, durable.byteLength).equals(durable) ? durable.byteLength : 0
  const length = choice < 0.7 ? current.byteLength : safeBytes + Math.floor(random() * (current.byteLength - safeBytes + 1))
  const bytes = Buffer.from(current.subarray(0, length))
  for (let start = safeBytes; start < length; start = (Math.floor(start / SECTOR_BYTES) + 1) * SECTOR_BYTES) {
    const sector = bytes.subarray(start, (Math.floor(start / SECTOR_BYTES) + 1) * SECTOR_BYTES)
    const fate = random()
    if (fate < 0.3) sector.fill(0)
    else if (fate < 0.6) for (let index = 0; index < sector.byteLength; index++) sector[index] = Math.floor(random() * 256)
  }
  return bytes
}
