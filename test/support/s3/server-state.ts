/** What the tests' S3 server keeps: buckets, the versions of their objects, uploads not yet completed. */
import { randomBytes } from 'node:crypto'
import type { Checksum, ChecksumAlgorithm } from './server-checksums.ts'

/** Bytes as they came: in chunks. */
export class Bytes {
  readonly chunks: readonly Buffer[]
  readonly size: number

  constructor(chunks: readonly Buffer[]) {
    this.chunks = chunks
    this.size = chunks.reduce((size, { byteLength }) => size + byteLength, 0)
  }

  /** The bytes from `start` up to, not including, `end`. */
  *slice(start: number, end: number): Generator<Buffer> {
    let offset = 0
    for (const chunk of this.chunks) {
      if (offset >= end) return
      const part = chunk.subarray(Math.max(0, start - offset), Math.min(chunk.byteLength, end - offset))
      if (offset + chunk.byteLength > start && part.byteLength > 0) yield part
      offset += chunk.byteLength
    }
  }

  toString(): string {
    return Buffer.concat(this.chunks).toString()
  }
}

export interface Retention {
  readonly mode: 'GOVERNANCE' | 'COMPLIANCE'
  readonly until: Date
}

export interface Version {
  readonly key: string
  /** `null` in a bucket without versions. */
  readonly id: string
  readonly data: Bytes
  /** With its quotes. */
  readonly etag: string
  readonly lastModified: Date
  /** Those given back by GET and HEAD: `x-amz-meta-*`, `content-type` and the like. */
  readonly headers: Readonly<Record<string, string>>
  readonly checksum?: Checksum | undefined
  readonly isDeleteMarker: boolean
  retention?: Retention | undefined
  legalHold?: boolean | undefined
}

export interface Part {
  readonly number: number
  readonly data: Bytes
  readonly etag: string
  readonly lastModified: Date
  readonly checksum?: Checksum | undefined
}

export interface Upload {
  readonly id: string
  readonly key: string
  readonly initiated: Date
  readonly headers: Readonly<Record<string, string>>
  readonly algorithm?: ChecksumAlgorithm | undefined
  readonly checksumType?: Checksum['type'] | undefined
  readonly retention?: Retention | undefined
  readonly legalHold?: boolean | undefined
  readonly parts: Map<number, Part>
}

export interface BucketOptions {
  /** @default the server's */
  readonly region?: string | undefined
  /** Enables Object Lock, and versions with it, as AWS does. @default false */
  readonly objectLock?: boolean | undefined
  /** @default false */
  readonly versioned?: boolean | undefined
  /** The lifecycle configuration, in XML, as PutBucketLifecycleConfiguration takes it. @default none */
  readonly lifecycle?: string | undefined
}

/** A bucket. */
export class S3Bucket {
  readonly name: string
  readonly region: string
  readonly created: Date = new Date()
  readonly uploads: Map<string, Upload> = new Map()
  /** What was answered to completions, by upload: for stores that repeat it. */
  readonly completed: Map<string, string> = new Map()
  objectLock: boolean
  /** The retention that objects get which ask for none. */
  defaultRetention: { readonly mode: Retention['mode'], readonly days: number } | undefined
  versioned: boolean
  lifecycle: string | undefined
  /** Oldest first. */
  readonly #versions = new Map<string, Version[]>()
  readonly #changes: { readonly atMs: number, readonly key: string, readonly before: Version | undefined }[] = []
  #sorted: readonly string[] | undefined

  constructor(name: string, options: BucketOptions & { readonly region: string }) {
    this.name = name
    this.region = options.region
    this.objectLock = options.objectLock ?? false
    this.versioned = options.versioned ?? this.objectLock
    this.lifecycle = options.lifecycle
  }

  /** The newest version of an object, unless it is a delete marker; as it was so long ago. */
  current(key: string, lagMs = 0): Version | undefined {
    if (lagMs <= 0) return this.#now(key)
    const since = Date.now() - lagMs
    const change = this.#changes.find((change) => change.key === key && change.atMs > since)
    return change === undefined ? this.#now(key) : change.before
  }

  /** The newest version of each object that is there, sorted by the bytes of the key; as it was so long ago. */
  list(lagMs = 0): Version[] {
    const recent = lagMs <= 0 ? [] : this.#changes.filter(({ atMs }) => atMs > Date.now() - lagMs)
    const keys = recent.length === 0 ? this.#keys() : sortKeys(new Set([...this.#keys(), ...recent.map(({ key }) => key)]))
    return keys.flatMap((key) => this.current(key, lagMs) ?? [])
  }

  /** All versions of all objects, sorted by key, newest first. */
  versions(): Version[] {
    return this.#keys().flatMap((key) => (this.#versions.get(key) ?? []).toReversed())
  }

  /** The version of that id, a delete marker too. */
  version(key: string, id: string): Version | undefined {
    return this.#versions.get(key)?.find((version) => version.id === id)
  }

  /** A new id for a version. */
  newVersionId(): string {
    return this.versioned ? randomBytes(16).toString('base64url') : 'null'
  }

  /** Adds a version; without versions, it takes the place of the one before. */
  add(version: Version): void {
    this.#changed(version.key)
    const versions = this.#versions.get(version.key)
    if (versions === undefined) {
      this.#versions.set(version.key, [version])
      this.#sorted = undefined
    } else if (this.versioned) versions.push(version)
    else versions.splice(0, versions.length, version)
  }

  /** Removes a version for good. */
  remove(key: string, id: string): void {
    this.#changed(key)
    const left = (this.#versions.get(key) ?? []).filter((version) => version.id !== id)
    if (left.length > 0) this.#versions.set(key, left)
    else {
      this.#versions.delete(key)
      this.#sorted = undefined
    }
  }

  #now(key: string): Version | undefined {
    const newest = this.#versions.get(key)?.at(-1)
    return newest?.isDeleteMarker === true ? undefined : newest
  }

  #changed(key: string): void {
    this.#changes.push({ atMs: Date.now(), key, before: this.#now(key) })
    if (this.#changes.length > 10_000) this.#changes.splice(0, 5_000)
  }

  #keys(): readonly string[] {
    this.#sorted ??= sortKeys(this.#versions.keys())
    return this.#sorted
  }
}

/** Whether `a` comes before `b` in a listing: by the bytes of UTF-8, not by the units of JavaScript. */
export function isBefore(a: string, b: string): boolean {
  return Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0
}

function sortKeys(keys: Iterable<string>): string[] {
  return Array.from(keys, (key) => [Buffer.from(key).toString('latin1'), key] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, key]) => key)
}
