/** Records the stores that use a payload directory: a small file for each, in its directory `stores`. */
import { createHash, randomUUID } from 'node:crypto'
import { join } from 'node:path'
import type { KnownUser, PayloadUser } from '../../contracts/payload-store.ts'
import { HoldUnavailableError } from '../../errors/errors.ts'
import { type Files, isSystemError, readSmallFile, syncIfPossible, writeByRename } from '../../util/files.ts'

const USERS_DIRECTORY = 'stores'
const DIGEST_LENGTH = 32
const MAX_PLACE_BYTES = 64 * 1024
/** No encoded ID has this character. */
const SEPARATOR = '@'

/** Records a user, durably. */
export async function addUser(files: Files, root: string, { storeId, place }: PayloadUser): Promise<void> {
  const directory = join(root, USERS_DIRECTORY)
  const path = join(directory, `${encodeURIComponent(storeId)}${SEPARATOR}${digestOf(place)}`)
  if ((await files.info(path)) === undefined) {
    await files.makeDirectory(directory).catch((error: unknown) => {
      if (!isSystemError(error, 'EEXIST')) throw error
    })
    await writeByRename(files, { path, temporary: join(directory, `${SEPARATOR}${randomUUID()}`) }, Buffer.from(place))
  }
  await syncIfPossible(files, directory)
  await syncIfPossible(files, root)
}

/** Reads all recorded users. Rejects with `hold_unavailable` when a record is damaged. */
export async function readUsers(files: Files, root: string): Promise<readonly KnownUser[]> {
  const directory = join(root, USERS_DIRECTORY)
  if ((await files.info(directory)) === undefined) return []
  const users: KnownUser[] = []
  for (const name of await files.list(directory)) {
    // A leftover of a killed process, which did not refer to any payload yet.
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
    hint: 'Find out which stores use the directory; then remove that file, and sweep for the only store with --register (register: true). Nothing was deleted',
    retryable: false,
  })
}

function digestOf(place: string): string {
  return createHash('sha256').update(place).digest('hex').slice(0, DIGEST_LENGTH)
}
