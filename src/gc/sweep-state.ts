/**
 * Keeps the marks that sweeps leave for the next ones, on payloads that nothing referred to and nothing held.
 *
 * A mark says since when, by a clock that never steps, one version of a payload has been unneeded.
 * A mark alone deletes nothing; losing marks costs another wait.
 */
import { dirname } from 'node:path'
import { isSystemError, nodeFiles, removeIfThere } from '../util/files.ts'
import { makeDirectories } from '../util/make-directories.ts'
import { writeAside } from '../util/open-files.ts'
import { inAction } from '../util/system-errors.ts'

export interface Mark {
  readonly payloadId: string
  readonly version: string
  readonly bytes: number
  /** When the payload was first marked, by the steady clock. */
  readonly markedAtMs: number
}

export interface SweepProgress {
  /** The run of the steady clock that the marks are of. Marks of another run are void. */
  readonly epoch: string
  /** The payload after which marking was stopped; `undefined` when marking came to the end. */
  readonly after: string | undefined
}

/** The marks of one payload store, kept between sweeps. */
export interface SweepState {
  /** How far the marks go; `undefined` when there are none, or the file is not whole. */
  progress(): Promise<SweepProgress | undefined>
  /** The marks in ascending order of their IDs. */
  marks(): AsyncIterable<readonly Mark[]>
  /** Replaces all marks at once. `progress` is called after the last mark. */
  replace(marks: AsyncIterable<readonly Mark[]>, progress: () => SweepProgress): Promise<void>
}

const VERSION = 1
/** Characters gathered before a write. */
const WRITE_CHARACTERS: number = 256 * 1024
/** More than the last line can have: an ID of 255 characters, escaped, and the rest. */
const LAST_LINE_BYTES = 4096

/** Marks in a file (0600): a line of text for each, and a last line of JSON that says that all are there. */
export function sweepStateFile(path: string): SweepState {
  return {
    async progress() {
      const info = await nodeFiles.info(path)
      if (info?.type !== 'file') return undefined
      let last = ''
      for await (const line of linesOf(path, Math.max(0, info.bytes - LAST_LINE_BYTES))) last = line.at(-1) ?? last
      return parseProgress(last)
    },
    async *marks() {
      for await (const lines of linesOf(path)) {
        // Only the last line ends with a brace: marks end with a number. An ID may begin with a brace.
        const marks = lines.filter((line) => !line.endsWith('}')).map(parseMark)
        if (marks.length > 0) yield marks
      }
    },
    async replace(marks, progress) {
      await inAction(`keep the marks of a sweep in ${JSON.stringify(dirname(path))}`, async () => {
        await makeDirectories(dirname(path))
        const temporary = `${path}.tmp`
        await removeIfThere(nodeFiles, temporary)
        await writeAside({ temporary, path }, async (file) => {
          let lines = ''
          for await (const batch of marks) {
            for (const { payloadId, version, bytes, markedAtMs } of batch) lines += `${payloadId} ${version} ${bytes} ${markedAtMs}\n`
            if (lines.length < WRITE_CHARACTERS) continue
            await file.writeFile(lines, 'latin1')
            lines = ''
          }
          await file.writeFile(`${lines}${JSON.stringify({ version: VERSION, ...progress() })}\n`, 'latin1')
        })
      })
    },
  }
}

/** Parses a mark. A damaged one never comes of age. */
function parseMark(line: string): Mark {
  const [payloadId = '', version = '', bytes = '', markedAtMs = ''] = line.split(' ')
  return { payloadId, version, bytes: Number(bytes), markedAtMs: /^\d+(?:\.\d+)?$/.test(markedAtMs) ? Number(markedAtMs) : Number.POSITIVE_INFINITY }
}

function parseProgress(line: string): SweepProgress | undefined {
  try {
    const { version, epoch, after } = JSON.parse(line) as Record<string, unknown>
    if (version !== VERSION || typeof epoch !== 'string' || (after !== undefined && typeof after !== 'string')) return undefined
    return { epoch, after }
  } catch {
    return undefined
  }
}

/** The lines of a file, a chunk at a time; none where there is no file. */
async function* linesOf(path: string, startByte = 0): AsyncGenerator<readonly string[], void, undefined> {
  let rest = ''
  try {
    for await (const chunk of nodeFiles.read(path, { startByte })) {
      const lines = `${rest}${Buffer.from(chunk).toString('latin1')}`.split('\n')
      rest = lines.pop() ?? ''
      yield lines
    }
  } catch (error) {
    if (!isSystemError(error, 'ENOENT')) throw error
  }
}
