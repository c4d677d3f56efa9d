/**
 * A proxy between an S3 client and its server that does to requests and answers what networks and busy servers do.
 *
 * It speaks plain HTTP. The Host header goes on as it came: signatures made for the proxy's address hold at the server.
 */
import { once } from 'node:events'
import { Agent, createServer, type IncomingMessage, request as sendRequest, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { randomFrom } from '../seed.ts'
import type { Fault, FaultPlan, ProxiedRequest } from './faults.ts'

/** What was done to a request. */
export interface ProxyRecord extends ProxiedRequest {
  readonly fault: Fault | undefined
  /** What the server answered; undefined where it was not asked, or was cut off. */
  status?: number | undefined
}

export interface FaultProxyOptions {
  /** @default everything passes */
  readonly plan?: FaultPlan | undefined
  /** Of the random numbers that plans are given. @default 1 */
  readonly seed?: number | undefined
}

export interface FaultProxy {
  /** What the client is to be given in place of the server's. */
  readonly endpoint: string
  /** Holds for requests that come after it was changed. */
  plan: FaultPlan
  /** Starts over: numbers from 0, another seed, an empty record, new connections taken. Connections that hang are cut. */
  restart(options: FaultProxyOptions): Promise<void>
  readonly records: readonly ProxyRecord[]
  /** Cuts all connections and stops listening. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Starts a proxy on the loopback interface to a server's endpoint, `http://host:port`. */
export async function startFaultProxy(target: string, options: FaultProxyOptions = {}): Promise<FaultProxy> {
  const proxy = new HttpProxy(new URL(target))
  await proxy.restart(options)
  return proxy
}

/** A request or an answer, all of it. */
interface Message {
  readonly status: number
  readonly rawHeaders: readonly string[]
  readonly body: Buffer
}

const PASS: FaultPlan = () => undefined
const TICK_MS = 20
/** Of one connection, not of the message. */
const CONNECTION_HEADERS = ['connection', 'keep-alive', 'transfer-encoding', 'expect']
const FRAMING_HEADERS = [...CONNECTION_HEADERS, 'content-length']

class HttpProxy implements FaultProxy {
  readonly records: ProxyRecord[] = []
  plan: FaultPlan = PASS
  readonly #target: URL
  readonly #agent = new Agent({ keepAlive: false })
  readonly #server = createServer({ keepAliveTimeout: 60_000 })
  readonly #hanging = new Set<Socket>()
  #random: () => number = randomFrom(1)
  #port = 0
  #refusing: Promise<void> | undefined
  #isClosed = false

  constructor(target: URL) {
    this.#target = target
    this.#server.on('request', (request, response) => void this.#serve(request, response))
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  async restart({ plan = PASS, seed = 1 }: FaultProxyOptions): Promise<void> {
    await this.#refusing
    if (!this.#server.listening) await this.#listen()
    for (const socket of this.#hanging) cut(socket)
    this.#hanging.clear()
    this.plan = plan
    this.#random = randomFrom(seed)
    this.records.length = 0
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#refusing
    this.#agent.destroy()
    const closed = this.#server.listening ? once(this.#server, 'close') : undefined
    if (closed !== undefined) this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #listen(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
  }

  async #serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    outgoing.on('error', () => outgoing.destroy())
    try {
      const body = await readAll(incoming)
      const request: ProxiedRequest = { number: this.records.length, method: incoming.method ?? '', url: incoming.url ?? '', bodyBytes: body.byteLength }
      const fault = this.plan(request, this.#random)
      const record: ProxyRecord = { ...request, fault }
      this.records.push(record)
      await this.#pass({ incoming, body, outgoing, record })
    } catch (error) {
      // Client or server has gone, which is what cut connections are for; anything else is a mistake of the tests'.
      if (!isNetworkError(error)) throw error
      cut(incoming.socket)
    }
  }

  async #pass({ incoming, body, outgoing, record }: { incoming: IncomingMessage, body: Buffer, outgoing: ServerResponse, record: ProxyRecord }): Promise<void> {
    const { fault } = record
    const ask = async (sent: Buffer): Promise<Message> => {
      const answer = await this.#ask(incoming, sent)
      record.status = answer.status
      return answer
    }
    switch (fault?.kind) {
      case 'answer':
        return answerWith(outgoing, fault)
      case 'refuse':
        return this.#refuse(incoming.socket, fault.forMs)
      case 'reset-request':
        await this.#ask(incoming, body, Math.floor(fault.at * body.byteLength))
        return cut(incoming.socket)
      case 'hang':
        if (fault.committed) await ask(body)
        return void this.#hanging.add(incoming.socket)
      case 'lose-response':
        await ask(body)
        return cut(incoming.socket)
      case 'repeat':
        await ask(body)
        return write(outgoing, await ask(body))
      case 'corrupt-request':
        return write(outgoing, await ask(flipped(body, fault.at)))
      case 'slow':
        await delay((body.byteLength / fault.bytesPerSecond) * 1000, undefined, { ref: false })
        return await writeSlowly(outgoing, await ask(body), fault.bytesPerSecond)
      default:
        return writeAnswer({ incoming, outgoing }, await ask(body), fault)
    }
  }

  /** Sends a request on, all of it or so many bytes of its body before the connection is cut. */
  #ask(incoming: IncomingMessage, body: Buffer, cutAfter?: number): Promise<Message> {
    const headers = without(FRAMING_HEADERS, incoming.rawHeaders)
    const { hostname, port } = this.#target
    return new Promise((resolve, reject) => {
      const framed = [...headers, 'Content-Length', String(body.byteLength)]
      const outgoing = sendRequest({ hostname, port, method: incoming.method, path: incoming.url, agent: this.#agent, headers: framed })
      outgoing.on('error', reject)
      outgoing.on('response', (answer) => {
        readAll(answer).then((body) => resolve({ status: answer.statusCode ?? 0, rawHeaders: answer.rawHeaders, body }), reject)
      })
            const cutOff = (): void => {
        outgoing.destroy()
        resolve({ status: 0, rawHeaders: [], body })
      }
      if (cutAfter === undefined) outgoing.end(body)
      // A request without a body would be whole with its head.
      else if (body.byteLength === 0) cutOff()
      else outgoing.write(body.subarray(0, cutAfter), cutOff)
    })
  }

  #refuse(socket: Socket, forMs: number): void {
    const server = this.#server
    if (this.#refusing === undefined && server.listening) {
      const reopened = async (): Promise<void> => {
        await delay(forMs)
        // The connections that are open hold its closing up, and it listens again all the same.
        if (!this.#isClosed) await this.#listen()
        this.#refusing = undefined
      }
      server.close()
      this.#refusing = reopened()
    }
    cut(socket)
  }
}

function writeAnswer({ incoming, outgoing }: { incoming: IncomingMessage, outgoing: ServerResponse }, answer: Message, fault: Fault | undefined): void {
  const hasBody = incoming.method !== 'HEAD' && answer.body.byteLength > 0
  if (fault?.kind === 'corrupt-response' && hasBody) write(outgoing, { ...answer, body: flipped(answer.body, fault.at) })
  else if (fault?.kind === 'truncate' && hasBody) {
    const body = answer.body.subarray(0, Math.floor(fault.at * answer.body.byteLength))
    incoming.socket.end(Buffer.concat([head(answer, fault.declares === 'whole' ? answer.body.byteLength : body.byteLength), body]))
  } else if (fault?.kind === 'reset-response') {
    const whole = Buffer.concat([head(answer, answer.body.byteLength), answer.body])
    incoming.socket.write(whole.subarray(0, Math.floor(fault.at * whole.byteLength)), () => cut(incoming.socket))
  } else write(outgoing, answer)
}

function write(outgoing: ServerResponse, { status, rawHeaders, body }: Message): void {
  // A HEAD's length is that of the body it does not have.
  const headers = outgoing.req.method === 'HEAD' ? without(CONNECTION_HEADERS, rawHeaders) : framed(rawHeaders, body.byteLength, status)
  outgoing.writeHead(status, headers)
  outgoing.end(body)
}

async function writeSlowly(outgoing: ServerResponse, { status, rawHeaders, body }: Message, bytesPerSecond: number): Promise<void> {
  if (outgoing.req.method === 'HEAD') return write(outgoing, { status, rawHeaders, body })
  outgoing.writeHead(status, framed(rawHeaders, body.byteLength, status))
  const step = Math.max(1, Math.round((bytesPerSecond * TICK_MS) / 1000))
  for (let offset = 0; offset < body.byteLength && !outgoing.destroyed; offset += step) {
    outgoing.write(body.subarray(offset, offset + step))
    await delay(TICK_MS, undefined, { ref: false })
  }
  outgoing.end()
}

function answerWith(outgoing: ServerResponse, { status, code }: { readonly status: number, readonly code: string }): void {
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>Please try again</Message></Error>`
  outgoing.writeHead(status, { 'content-type': 'application/xml', 'content-length': String(body.length) })
  outgoing.end(body)
}

function head({ status, rawHeaders }: Message, length: number): Buffer {
  const headers = framed(rawHeaders, length, status)
  const lines = headers.flatMap((name, index) => (index % 2 === 0 ? [`${name}: ${headers[index + 1]}\r\n`] : []))
  return Buffer.from(`HTTP/1.1 ${status} Answer\r\n${lines.join('')}\r\n`, 'latin1')
}

function framed(rawHeaders: readonly string[], length: number, status: number): string[] {
  return [...without(FRAMING_HEADERS, rawHeaders), ...(status === 204 || status === 304 ? [] : ['Content-Length', String(length)])]
}

/** Header names and values in turns, without those of some names. */
function without(dropped: readonly string[], rawHeaders: readonly string[]): string[] {
  return rawHeaders.filter((_, index) => !dropped.includes(rawHeaders[index - (index % 2)]?.toLowerCase() ?? ''))
}

function flipped(body: Buffer, at: number): Buffer {
  const copy = Buffer.from(body)
  const bit = Math.floor(at * copy.byteLength * 8)
  const index = bit >> 3
  if (index < copy.byteLength) copy[index] = (copy[index] ?? 0) ^ (1 << (bit & 7))
  return copy
}

function cut(socket: Socket): void {
  if (!socket.destroyed) socket.resetAndDestroy()
}

async function readAll(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of message) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

function isNetworkError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && /^(ECONN|EPIPE|HPE_|ERR_STREAM_)/.test(error.code)
}
