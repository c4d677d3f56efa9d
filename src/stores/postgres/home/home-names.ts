/** The names of the schemas of a Postgres metadata store: the live one, those beside it, and the one with the records of all. */
import { isUlid } from '../../../util/ulid.ts'
import { InternalError, InvalidArgumentError } from '../../../errors/errors.ts'

/** Where an engine is: in service, filled by a restore, or kept from before one. */
export type EnginePlace = 'live' | 'restore' | 'old'

/** What Postgres takes of a name; the rest of a longer one it cuts off without a word. */
const MAX_NAME_BYTES = 63
const ULID_BYTES = 26
/** The longest name that is built of a schema's is `<schema>_restore_<ULID>`. */
const MAX_SCHEMA_BYTES: number = MAX_NAME_BYTES - '_restore_'.length - ULID_BYTES

/** Returns the name; throws `invalid_argument` when no store can be in a schema of that name. */
export function checkSchemaName(schema: string): string {
  if (schema === '' || schema.includes('\0')) throw refused(schema, 'a name has at least one character, and no NUL')
  const bytes = Buffer.byteLength(schema)
  if (bytes > MAX_SCHEMA_BYTES) {
    throw refused(schema, `it has ${bytes} bytes, and ${MAX_SCHEMA_BYTES} are the most, for Postgres takes ${MAX_NAME_BYTES} and restores add to it`)
  }
  if (schema.startsWith('pg_') || schema === 'information_schema') throw refused(schema, 'the name belongs to Postgres')
  // It is the database's own: extensions and the tables of others live in it, and a restore would take them along.
  if (schema === 'public') {
    throw refused(
      schema,
      'a restore renames the schema with all that is in it, and "public" is where extensions and others keep theirs',
      'Give the store a schema of its own, such as "meta"',
    )
  }
  return schema
}

/** The schema that keeps the records of the store whose live schema this is. */
export function controlSchema(schema: string): string {
  return `${schema}_holdfast`
}

/** The schema in which an engine of that place is. Throws `internal` when the engine's name is not a ULID. */
export function engineSchema(schema: string, engine: string, place: EnginePlace): string {
  if (!isUlid(engine)) throw new InternalError(`Cannot use ${JSON.stringify(engine)} as the name of an engine`)
  return place === 'live' ? schema : `${schema}_${place}_${engine}`
}

function refused(schema: string, why: string, hint?: string): InvalidArgumentError {
  return new InvalidArgumentError(`Cannot use ${JSON.stringify(schema.slice(0, 80))} as the schema of a store: ${why}`, { hint })
}
