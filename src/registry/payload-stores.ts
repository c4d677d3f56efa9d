/** Payload stores by URL or path. A new kind is one line here. */
import { InvalidArgumentError } from '../errors/errors.ts'
import type { WritablePayloadStore } from '../contracts/payload-store.ts'
import type { OpenToSweepOptions } from '../payload-stores/directory/index.ts'
import { SWEEP_OPTIONS } from '../payload-stores/directory/open-to-sweep.ts'
import { BOOLEAN, STRING, checkArgument, checkOptions, optional } from '../util/check-options.ts'
import { findParameterFault, findPathFault, kindOf, listSchemes, parametersOfPath, pathOfUrl, schemeOf } from '../util/urls.ts'

export interface OpenPayloadStoreOptions {
  /** Whether to create a missing payload store. @default false */
  readonly create?: boolean | undefined
}

interface PayloadStoreKind {
  open(path: string, options: OpenPayloadStoreOptions): Promise<WritablePayloadStore>
  openToSweep(path: string, options: OpenToSweepOptions): Promise<WritablePayloadStore>
}

const KINDS: Readonly<Record<string, () => Promise<PayloadStoreKind>>> = {
  file: directories,
}

async function directories(): Promise<PayloadStoreKind> {
  const { openToSweep, PayloadDirectory } = await import('../payload-stores/directory/index.ts')
  return { open: async (path, options) => await PayloadDirectory.open(path, options), openToSweep }
}

/** Opens the payload store at a URL or a path: `file:PATH`, or the path alone. Rejects with `invalid_argument` and `entry_not_found`. */
export async function openPayloadStore(url: string, options: OpenPayloadStoreOptions = {}): Promise<WritablePayloadStore> {
  checkArgument('openPayloadStore', url, { name: 'url', kind: STRING })
  checkOptions('openPayloadStore', options, { create: optional(BOOLEAN) })
  const { kind, path } = parsePayloadStoreUrl(url)
  return await (await kind()).open(path, options)
}

/** Opens a payload store to sweep it for one store. Rejects with `hold_unavailable` when another store needs payloads there, or may. */
export async function openPayloadStoreToSweep(url: string, options: OpenToSweepOptions): Promise<WritablePayloadStore> {
  checkArgument('openPayloadStoreToSweep', url, { name: 'url', kind: STRING })
  checkOptions('openPayloadStoreToSweep', options, SWEEP_OPTIONS)
  const { kind, path } = parsePayloadStoreUrl(url)
  return await (await kind()).openToSweep(path, options)
}

function parsePayloadStoreUrl(url: string): { readonly kind: () => Promise<PayloadStoreKind>; readonly path: string } {
  const written = schemeOf(url) === undefined ? `file:${url}` : url
  const scheme = schemeOf(written) ?? ''
  const kind = kindOf(KINDS, scheme)
  if (kind === undefined) {
    throw refuse(
      `${JSON.stringify(scheme)} is not a kind of payload store; known are ${listSchemes(KINDS)}`,
      'Write the path of a directory; begin it with "./" if it contains a colon',
    )
  }
  const path = pathOfUrl(written)
  if (path === undefined) {
    const { sentence = 'it has no local path', hint = 'Write the path of a directory' } = findPathFault(written) ?? {}
    throw refuse(sentence, hint)
  }
  const fault = findParameterFault(parametersOfPath(written), { scheme, known: [] })
  if (fault !== undefined) throw refuse(fault.sentence, fault.hint)
  return { kind, path }
}

function refuse(sentence: string, hint: string): InvalidArgumentError {
  return new InvalidArgumentError(`Cannot use this payload store: ${sentence}`, { hint })
}
