/** Encodes and parses the two small files of a home: the pointer to the live engine, and the journal of a restore. */
import { isUlid } from '../../../util/ulid.ts'
import { isStoreId } from '../../../metadata/validate.ts'
import type { RestoreJournal } from '../../../contracts/swappable.ts'

/** Names within the directory of a home. */
export const POINTER_FILE = 'holdfast.json'
export const JOURNAL_FILE = 'restore.json'
export const ENGINES_DIRECTORY = 'engines'
export const LOCK_DIRECTORY = 'holdfast.lock'
/** Where the command line keeps the store's catalog. It is not the home's, and may exist before the store. */
export const CATALOG_DIRECTORY = 'catalog'

/** The engine in the home's own directory: a plain LevelDB that was adopted. */
export const ADOPTED_ENGINE = '.'

/** The most bytes of either file. */
export const MAX_HOME_FILE_BYTES: number = 4 * 1024

const FORMAT = 1

/** What a home serves. Before there is a store, ID and engine are missing. */
export interface HomePointer {
  readonly storeId?: string | undefined
  readonly engine?: string | undefined
  readonly previous?: string | undefined
}

/** Whether a text can name an engine: a ULID, or the adopted one. */
export function isEngineName(text: unknown): text is string {
  return typeof text === 'string' && (text === ADOPTED_ENGINE || isUlid(text))
}

export function encodePointer({ storeId, engine, previous }: HomePointer): Uint8Array {
  return encode({ format: FORMAT, storeId, engine, previous })
}

/** Parses a pointer. Throws with the reason when it breaks a rule. */
export function parsePointer(bytes: Uint8Array): HomePointer {
  const { storeId, engine, previous } = parse(bytes, ['storeId', 'engine', 'previous'])
  if (storeId !== undefined && !isStoreId(storeId)) throw new Error('"storeId" is not a store ID')
  if (engine !== undefined && !isEngineName(engine)) throw new Error('"engine" is not the name of an engine')
  if (previous !== undefined && !isEngineName(previous)) throw new Error('"previous" is not the name of an engine')
  if ((engine === undefined) !== (storeId === undefined)) throw new Error('"engine" and "storeId" go together')
  if (previous !== undefined && (engine === undefined || previous === engine)) throw new Error('"previous" is not another engine')
  return { storeId, engine, previous }
}

export function encodeJournal({ restoreId, backupId, from, to, startedAtMs }: RestoreJournal): Uint8Array {
  return encode({ format: FORMAT, restoreId, backupId, from, to, startedAtMs })
}

/** Parses a journal. Throws with the reason when it breaks a rule. */
export function parseJournal(bytes: Uint8Array): RestoreJournal {
  const { restoreId, backupId, from, to, startedAtMs } = parse(bytes, ['restoreId', 'backupId', 'from', 'to', 'startedAtMs'])
  if (typeof restoreId !== 'string' || !isUlid(restoreId)) throw new Error('"restoreId" is not a ULID')
  if (backupId !== undefined && (typeof backupId !== 'string' || !isUlid(backupId))) throw new Error('"backupId" is not a ULID')
  if (from !== undefined && !isEngineName(from)) throw new Error('"from" is not the name of an engine')
  if (!isEngineName(to) || to === from) throw new Error('"to" is not the name of another engine')
  if (typeof startedAtMs !== 'number' || !Number.isSafeInteger(startedAtMs)) throw new Error('"startedAtMs" is not a time')
  return { restoreId, backupId, from, to, startedAtMs }
}

function encode(record: Readonly<Record<string, unknown>>): Uint8Array {
  return Buffer.from(`${JSON.stringify(record, null, 2)}\n`)
}

function parse(bytes: Uint8Array, keys: readonly string[]): Readonly<Record<string, unknown>> {
  const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('it is not a JSON object')
  const record = value as Readonly<Record<string, unknown>>
  if (record['format'] !== FORMAT) throw new Error(`its format is ${JSON.stringify(record['format'])}, not ${FORMAT}`)
  const unknown = Object.keys(record).find((key) => key !== 'format' && !keys.includes(key))
  if (unknown !== undefined) throw new Error(`it has the unknown field ${JSON.stringify(unknown)}`)
  return record
}
