/**
 * What sweeps leave to those after them: marks on payloads that nothing referred to and nothing held.
 *
 * A mark deletes nothing: it says since when, by a clock that never steps, a payload of one version has been of no use. Losing marks
 * costs another wait.
 */
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { isSystemError, nodeFiles, removeIfThere } from '../../util/files.ts'

export interface Mark {
  readonly payloadId: string
  readonly version: string
  readonly bytes: number
  /** When it was first marked, by the steady clock. */
  readonly markedAtMs: number
}

export interface SweepProgress {
  /** Which run of the steady clock the marks are of; those of another are worthless. */
  readonly epoch: string
  /** Where the marking was stopped; `undefined` when it came to the end. */
  readonly after: string | undefined
}

/** Marks of one payload store, kept between sweeps. */
export interface SweepState {
  /** `undefined` when there is none, or none that is whole. */
  progress(): Promise<SweepProgress | undefined>
  /** In ascending order of their IDs. */
  marks(): AsyncIterable<readonly Mark[]>
  /** Replaces everything at once, when the marks have come to their end and `progress` says how far they go. */
  replace(marks: AsyncIterable<readonly Mark[]>, progress: () => SweepProgress): Promise<void>
}

const VERSION = 1
const PRIVATE_DIRECTORY = 0o700
/** Gathered before it is written. */
const WRITE_CHARACTERS: number = 256 * 1024
/** More than a last line has: an ID of 255 characters, escaped, and the rest. */
const LAST_LINE_BYTES = 4096

/** Marks in a file of 0600: a line of text for each, and a last line that says that all are there. */
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
        // By its end, for IDs may begin as it does, and marks end with a number.
        const marks = lines.filter((line) => !line.endsWith('}')).map(parseMark)
        if (marks.length > 0) yield marks
      }
    },
    async replace(marks, progress) {
      await mkdir(dirname(path), { recursive: true, mode: PRIVATE_DIRECTORY })
      const temporary = `${path}.tmp`
      await removeIfThere(nodeFiles, temporary)
      const file = await nodeFiles.create(temporary)
      try {
        let lines = ''
        for await (const batch of marks) {
          for (const mark of batch) lines += formatMark(mark)
          if (lines.length < WRITE_CHARACTERS) continue
          await file.write(Buffer.from(lines, 'latin1'))
          lines = ''
        }
        await file.write(Buffer.from(`${lines}${JSON.stringify({ version: VERSION, ...progress() })}\n`, 'latin1'))
      } finally {
        await file.close()
      }
      await nodeFiles.rename(temporary, path)
    },
  }
}

function formatMark({ payloadId, version, bytes, markedAtMs }: Mark): string {
  return `${payloadId} ${version} ${bytes} ${markedAtMs}\n`
}

/** A mark that is damaged never comes of age. */
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

/** The lines of a file, those of a chunk at a time; none where there is no file. */
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
