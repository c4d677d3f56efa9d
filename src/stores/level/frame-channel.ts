/** The frames of a scan on their way from the thread that reads to the thread that makes the stream, by credit. */
import type { MessagePort } from 'node:worker_threads'
import type { WorkerPort } from '../common/worker-port.ts'
import type { ScannedFrame } from './scan.ts'

/** Frames that may be on their way at once. */
const FRAMES_IN_FLIGHT = 4

type Message =
  /** When the view was opened, milliseconds since 1970. Comes first. */
  | { readonly type: 'start'; readonly openedAtMs: number }
  | { readonly type: 'frame'; readonly frame: ScannedFrame }
  | { readonly type: 'end' }

/** The reading thread's end. */
export class FrameSender {
  readonly #port: WorkerPort
  readonly #channel: MessagePort
  #credits = FRAMES_IN_FLIGHT

  constructor(port: WorkerPort, channel: MessagePort, openedAtMs: number) {
    this.#port = port
    this.#channel = channel
    channel.on('message', () => {
      this.#credits++
      port.wake()
    })
    // What keeps the thread alive is its work.
    channel.unref()
    this.#post({ type: 'start', openedAtMs })
  }

  /** Sends a frame, whose memory is given away; waits while too many are on their way. */
  async send(frame: ScannedFrame): Promise<void> {
    await this.#port.until(() => this.#credits > 0)
    this.#credits--
    this.#post({ type: 'frame', frame }, [frame.frame.buffer as ArrayBuffer])
  }

  end(): void {
    this.#post({ type: 'end' })
  }

  #post(message: Message, transfer: readonly ArrayBuffer[] = []): void {
    this.#channel.postMessage(message, transfer)
  }
}

/** The writing thread's end. */
export class FrameReceiver {
  readonly #port: WorkerPort
  readonly #channel: MessagePort
  readonly #inbox: Message[] = []

  constructor(port: WorkerPort, channel: MessagePort) {
    this.#port = port
    this.#channel = channel
    channel.on('message', (message: Message) => {
      this.#inbox.push(message)
      port.wake()
    })
    channel.unref()
  }

  /** When the view was opened. */
  async openedAtMs(): Promise<number> {
    const message = await this.#next()
    if (message.type !== 'start') throw new TypeError('The first message says when the view was opened')
    return message.openedAtMs
  }

  /** The frames, each acknowledged when the next is asked for. */
  async *frames(): AsyncGenerator<ScannedFrame, void, undefined> {
    for (;;) {
      const message = await this.#next()
      if (message.type !== 'frame') return
      yield received(message.frame)
      this.#channel.postMessage('credit')
    }
  }

  async #next(): Promise<Message> {
    await this.#port.until(() => this.#inbox.length > 0)
    return this.#inbox.shift() as Message
  }
}

/** Buffers arrive as plain arrays of bytes. */
function received({ section, records, frame, payloadIds }: ScannedFrame): ScannedFrame {
  return { section, records, frame: asBuffer(frame), payloadIds: payloadIds.map((list) => ({ ...list, bytes: asBuffer(list.bytes) })) }
}

function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength)
}
