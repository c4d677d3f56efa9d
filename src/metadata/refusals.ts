/** What the operations of a metadata store refuse, in one place, so that every store refuses the same in the same words. */
import type { ByteRangeLock, Inode, InodeNumber, InodeType, Place } from '../contracts/metadata-store.ts'
import { InvalidArgumentError, MetadataError, RestoreDestinationNotEmptyError } from '../errors/errors.ts'

export function shareTaken(name: string): MetadataError {
  return new MetadataError('entry_exists', `Cannot create share ${JSON.stringify(name)}: the name is taken`)
}

export function noSuchShare(name: string): MetadataError {
  return new MetadataError('entry_not_found', `Cannot remove share ${JSON.stringify(name)}: there is none of this name`)
}

export function noSuchInode(inode: InodeNumber): MetadataError {
  return new MetadataError('entry_not_found', `Cannot find inode ${inode}: there is none of this number`)
}

export function noSuchEntry(place: Place): MetadataError {
  return new MetadataError('entry_not_found', `Cannot find ${quoted(place)}: there is no such entry`)
}

export function nameTaken(place: Place): MetadataError {
  return new MetadataError('entry_exists', `Cannot create ${quoted(place)}: the name is taken`)
}

export function noSuchUpload(uploadId: string): MetadataError {
  return new MetadataError('entry_not_found', `Cannot find upload ${JSON.stringify(uploadId)}: there is none of this ID`)
}

export function directoryNotEmpty(directory: InodeNumber): MetadataError {
  return new MetadataError('directory_not_empty', `Cannot remove directory ${directory}: it holds entries`)
}

export function withinItself(directory: InodeNumber, to: Place): InvalidArgumentError {
  return new InvalidArgumentError(`Cannot move directory ${directory} to ${quoted(to)}: that is within itself`)
}

export function lockConflict({ inode, owner, kind, start, end }: ByteRangeLock): MetadataError {
  const message = `Cannot lock inode ${inode}: ${JSON.stringify(owner)} holds bytes ${start} to ${end ?? 'the end'}`
  return new MetadataError('lock_conflict', message, { details: { owner, kind, start, end } })
}

/** The refusal of an import into a store that is not empty. */
export function holdsData(): RestoreDestinationNotEmptyError {
  return new RestoreDestinationNotEmptyError('Cannot import into a store that holds data', { hint: 'Import into a new, empty store' })
}

/** Throws unless an inode of this type can be used as a directory; `undefined` for one that is not there. */
export function requireDirectoryType(inode: InodeNumber, type: InodeType | undefined): void {
  if (type === undefined) throw noSuchInode(inode)
  if (type !== 'directory') throw new MetadataError('not_a_directory', `Cannot use inode ${inode} as a directory: it is a ${type}`)
}

/** Throws unless an inode can be used as a file. */
export function requireFileType({ inode, type }: Pick<Inode, 'inode' | 'type'>): void {
  if (type === 'directory') throw new MetadataError('is_a_directory', `Cannot use inode ${inode} as a file: it is a directory`)
  if (type !== 'file') throw new InvalidArgumentError(`Cannot use inode ${inode} as a file: it is a ${type}`)
}

/** Throws unless an entry of one type can replace one of another: a directory replaces a directory only, and nothing else does. */
export function requireReplaceable({ moved, replaced, to }: { readonly moved: InodeType; readonly replaced: InodeType; readonly to: Place }): void {
  const isDirectory = replaced === 'directory'
  if (isDirectory === (moved === 'directory')) return
  throw new MetadataError(isDirectory ? 'is_a_directory' : 'not_a_directory', `Cannot replace ${quoted(to)}: it is a ${replaced}`)
}

export function quoted({ parent, name }: Place): string {
  return `${JSON.stringify(name)} in directory ${parent}`
}
