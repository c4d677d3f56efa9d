/** The stores that refer to the payloads of a payload directory: a small file for each, in its directory `stores`. */
import { createHash, randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { HoldUnavailableError } from '../../errors/errors.ts'
import { type Files, isSystemError, readSmallFile, writeByRename } from '../../util/files.ts'

/** A store that refers to payloads. Copies of a store have its ID, so that it takes both to know one again. */
export interface PayloadUser {
  readonly storeId: string
  /** As `placeOf` says it. */
  readonly place: string
}

export interface KnownUser {
  readonly storeId: string
  /** `undefined` for a store of which only the ID was noted: it may be anywhere. */
  readonly place: string | undefined
  /** The file that says so. */
  readonly path: string
}

const USERS_DIRECTORY = 'stores'
const DIGEST_LENGTH = 32
const MAX_PLACE_BYTES = 64 * 1024
/** No encoded ID has this character. */
const SEPARATOR = '@'

/** Notes a user; durable when it resolves. */
export async function addUser(files: Files, root: string, { storeId, place }: PayloadUser): Promise<void> {
  const directory = join(root, USERS_DIRECTORY)
  const path = join(directory, `${encodeURIComponent(storeId)}${SEPARATOR}${digestOf(place)}`)
  if ((await files.info(path)) === undefined) {
    await files.makeDirectory(directory).catch((error: unknown) => {
      if (!isSystemError(error, 'EEXIST')) throw error
    })
    await writeByRename(files, { path, temporary: join(directory, `${SEPARATOR}${randomUUID()}`) }, Buffer.from(place))
  }
  await files.syncDirectory(directory)
  await files.syncDirectory(root)
}

/** All users that were noted. Rejects with `hold_unavailable` when a note is damaged. */
export async function readUsers(files: Files, root: string): Promise<readonly KnownUser[]> {
  const directory = join(root, USERS_DIRECTORY)
  if ((await files.info(directory)) === undefined) return []
  const users: KnownUser[] = []
  for (const name of await files.list(directory)) {
    // What begins so was being written when its process was killed, before anything was referred to.
    if (name.startsWith(SEPARATOR)) continue
    const [id = '', digest] = name.split(SEPARATOR)
    const path = join(directory, name)
    users.push({ storeId: decodeURIComponent(id), place: digest === undefined ? undefined : await readPlace(files, path, digest), path })
  }
  return users
}

async function readPlace(files: Files, path: string, digest: string): Promise<string> {
  const place = (await readSmallFile(files, path, MAX_PLACE_BYTES))?.toString() ?? ''
  if (digestOf(place) === digest) return place
  throw new HoldUnavailableError(`Cannot tell which store needs payloads: ${JSON.stringify(path)} is damaged`, {
    hint: 'Nothing was deleted. Find out which stores refer to payloads of the directory; then remove that file, and run "gc" for the one store with --register',
    retryable: false,
  })
}

function digestOf(place: string): string {
  return createHash('sha256').update(place).digest('hex').slice(0, DIGEST_LENGTH)
}
