/** A pooler before the tests' server, as pgbouncer is one: it gives each statement, transaction or client a session of the server. */
import { randomInt } from 'node:crypto'
import { type AddressInfo, type Socket, createServer } from 'node:net'
import { Client, type PoolConfig } from 'pg'
import { onTestFinished } from 'vitest'
import { serverUrl } from './server.ts'
import { connectionTo } from './proxy.ts'

const CODE_BYTES = 1
const LENGTH_BYTES = 4
/** Messages of a client that the server answers with ReadyForQuery. */
const ANSWERED: ReadonlySet<string> = new Set(['Q', 'S', 'F'])

export type PoolMode = 'statement' | 'transaction' | 'session'

/** A session of the server that one client after the other is given. */
interface Session {
  readonly stream: Socket
  isOver: boolean
  take: (message: Buffer) => void
}

/** How to connect to it, as options of a pool. */
export async function poolerToServer(mode: PoolMode): Promise<PoolConfig> {
  const { user = '', password, database = '' } = connectionTo(await serverUrl())
  const idle: Session[] = []
  const all = new Set<Socket>()
  const server = createServer((client) => {
    all.add(client)
    serve(client, { mode, idle, all }).catch(() => client.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    for (const socket of all) socket.destroy()
    server.close()
  })
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port, user, password: password as string, database }
}

interface Sessions {
  readonly mode: PoolMode
  readonly idle: Session[]
  readonly all: Set<Socket>
}

async function serve(client: Socket, sessions: Sessions): Promise<void> {
  let session: Session | undefined
  let unanswered = 0
  let isWelcome = false
  client.on('error', () => undefined)
  client.on('close', () => {
    if (session === undefined) return
    // In a transaction, or kept for this client.
    session.isOver = true
    session.stream.destroy()
  })
  const take = (message: Buffer): void => {
    const [code, state] = [message[0] ?? 0, message[5] ?? 0].map((byte) => String.fromCharCode(byte))
    if (sessions.mode === 'statement' && code === 'Z' && state !== 'I') return void client.end(refusal())
    client.write(message)
    if (code !== 'Z') return
    unanswered--
    if (sessions.mode === 'session' || unanswered > 0 || state !== 'I') return
    if (session !== undefined) sessions.idle.push(session)
    session = undefined
  }
  for await (const message of messagesOf(client, () => isWelcome)) {
    if (!isWelcome) {
      isWelcome = true
      client.write(welcome())
      continue
    }
    const code = String.fromCharCode(message[0] ?? 0)
    if (code === 'X') break
    session ??= await sessionOf(sessions)
    session.take = take
    if (ANSWERED.has(code)) unanswered++
    session.stream.write(message)
  }
  client.end()
}

/** The one that was given back last. */
async function sessionOf({ idle, all }: Sessions): Promise<Session> {
  for (let session = idle.pop(); session !== undefined; session = idle.pop()) if (!session.isOver) return session
  const login = new Client(connectionTo(await serverUrl()))
  login.on('error', () => undefined)
  await login.connect()
  const { stream } = (login as unknown as { readonly connection: { readonly stream: Socket } }).connection
  stream.removeAllListeners('data')
  all.add(stream)
  const session: Session = { stream, isOver: false, take: () => undefined }
  stream.on('close', () => void (session.isOver = true))
  void (async () => {
    for await (const message of messagesOf(stream, () => true)) session.take(message)
  })().catch(() => undefined)
  return session
}

/** Whole messages; the first of a client has no code. */
async function* messagesOf(socket: Socket, hasCode: () => boolean): AsyncGenerator<Buffer, void, undefined> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    rest = rest.byteLength === 0 ? chunk : Buffer.concat([rest, chunk])
    for (;;) {
      const before = hasCode() ? CODE_BYTES : 0
      if (rest.byteLength < before + LENGTH_BYTES) break
      const length = before + rest.readInt32BE(before)
      if (rest.byteLength < length) break
      yield rest.subarray(0, length)
      rest = rest.subarray(length)
    }
  }
}

/** What pgbouncer says of a transaction in its mode "statement" before it cuts the client. */
function refusal(): Buffer {
  const fields = Buffer.from('SFATAL\0C08P01\0Mtransaction blocks not allowed in statement pooling mode\0\0')
  const head = Buffer.from('E\0\0\0\0', 'latin1')
  head.writeInt32BE(fields.byteLength + LENGTH_BYTES, CODE_BYTES)
  return Buffer.concat([head, fields])
}

/** That the client is let in, with a process and a key that the pooler has made up, and may ask. */
function welcome(): Buffer {
  const [letIn, key, ready] = [Buffer.alloc(9), Buffer.alloc(13), Buffer.from('Z\0\0\0\x05I', 'latin1')]
  letIn.write('R')
  letIn.writeInt32BE(8, 1)
  key.write('K')
  key.writeInt32BE(12, 1)
  key.writeInt32BE(randomInt(1 << 30, 2 ** 31 - 1), 5)
  return Buffer.concat([letIn, key, ready])
}
