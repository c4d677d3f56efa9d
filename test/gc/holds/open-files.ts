/** Which files of a directory this process has open; none where the system does not tell. */
import { existsSync, readdirSync, readlinkSync } from 'node:fs'

const DESCRIPTORS = '/proc/self/fd'

export function openFilesIn(directory: string): readonly string[] {
  return existsSync(DESCRIPTORS) ? readdirSync(DESCRIPTORS).map(pathOf).filter((path) => path.startsWith(directory)) : []
}

/** "" for the descriptor that the list was read by. */
function pathOf(descriptor: string): string {
  try {
    return readlinkSync(`${DESCRIPTORS}/${descriptor}`)
  } catch {
    return ''
  }
}
