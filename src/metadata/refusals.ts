/** The refusals of a metadata store: every store refuses the same in the same words. */
import type { ByteRangeLock, Inode, InodeNumber, InodeType, Place } from '../contracts/metadata-store.ts'
import { InvalidArgumentError, MetadataError, RestoreDestinationNotEmptyError } from '../errors/errors.ts'

/** The hint where no store is; `namedBy` is what named its place. */
export function noStoreHint(namedBy: string): string {
  return `Check the ${namedBy}, or make a store there, with "holdfast import", a restore, or create: true in a program`
}

/** The hint where the engine of a store has another ID than was asked for, by a caller or by what the home records. */
export const OTHER_ID_HINT =
  'If you named the ID ("storeId"), name that of the store, or none; if not, parts of two stores are mixed: put them back from one copy, or restore a backup there'

export function shareTaken(name: string): MetadataError {
  return new MetadataError('entry_exists', `Cannot create share ${JSON.stringify(name)}: the name is taken`, {
    hint: 'Choose another name, or remove that share first',
  })
}

export function noSuchShare(name: string): MetadataError {
  return new MetadataError('entry_not_found', `Cannot remove share ${JSON.stringify(name)}: it does not exist`)
}

export function noSuchInode(inode: InodeNumber): MetadataError {
  return new MetadataError('entry_not_found', `Cannot find inode ${inode}: it does not exist`)
}

export function noSuchEntry(place: Place): MetadataError {
  return new MetadataError('entry_not_found', `Cannot find ${quoted(place)}: the entry does not exist`)
}

export function nameTaken(place: Place): MetadataError {
  return new MetadataError('entry_exists', `Cannot create ${quoted(place)}: the name is taken`)
}

export function noSuchUpload(uploadId: string): MetadataError {
  return new MetadataError('entry_not_found', `Cannot find upload ${JSON.stringify(uploadId)}: it does not exist`)
}

export function directoryNotEmpty(directory: InodeNumber): MetadataError {
  return new MetadataError('directory_not_empty', `Cannot remove directory ${directory}: it is not empty`)
}

export function withinItself(directory: InodeNumber, to: Place): InvalidArgumentError {
  return new InvalidArgumentError(`Cannot move directory ${directory} to ${quoted(to)}: the target is within the directory itself`)
}

export function lockConflict({ inode, owner, kind, start, end }: ByteRangeLock): MetadataError {
  const message = `Cannot lock inode ${inode}: ${JSON.stringify(owner)} holds bytes ${start} to ${end ?? 'the end'}`
  return new MetadataError('lock_conflict', message, { details: { owner, kind, start, end } })
}

/** The refusal of an import into a store that is not empty. */
export function holdsData(): RestoreDestinationNotEmptyError {
  return new RestoreDestinationNotEmptyError('Cannot import into the store: it is not empty', { hint: 'Import into a new, empty store' })
}

/** Throws unless an inode of this type is a directory. `undefined` stands for a missing inode. */
export function requireDirectoryType(inode: InodeNumber, type: InodeType | undefined): void {
  if (type === undefined) throw noSuchInode(inode)
  if (type !== 'directory') throw new MetadataError('not_a_directory', `Cannot use inode ${inode} as a directory: it is a ${type}`)
}

/** Throws unless an inode is a file. */
export function requireFileType({ inode, type }: Pick<Inode, 'inode' | 'type'>): void {
  if (type === 'directory') throw new MetadataError('is_a_directory', `Cannot use inode ${inode} as a file: it is a directory`)
  if (type !== 'file') throw new InvalidArgumentError(`Cannot use inode ${inode} as a file: it is a ${type}`)
}

/** Throws unless an entry of one type can replace one of another: either both are directories, or neither is. */
export function requireReplaceable({ moved, replaced, to }: { readonly moved: InodeType; readonly replaced: InodeType; readonly to: Place }): void {
  const isDirectory = replaced === 'directory'
  if (isDirectory === (moved === 'directory')) return
  throw new MetadataError(isDirectory ? 'is_a_directory' : 'not_a_directory', `Cannot replace ${quoted(to)}: it is a ${replaced}`)
}

export function quoted({ parent, name }: Place): string {
  return `${JSON.stringify(name)} in directory ${parent}`
}
