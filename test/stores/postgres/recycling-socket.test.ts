import { once } from 'node:events'
import { type AddressInfo, type Socket, createServer } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { RecyclingSocket } from '../../../src/stores/postgres/connection/recycling-socket.ts'
import { randomFrom, seed } from '../../support/seed.ts'

/** More than both ends keep of what was not read. */
const TOTAL_BYTES: number = 32 * 1024 * 1024

test(`RecyclingSocket gives copies to listeners for data, and its memory to its taker (seed ${seed})`, async () => {
  const random = randomFrom(seed)
  const sent = Buffer.from(Float64Array.from({ length: 100_000 }, () => random()).buffer)
  const { socket, peer } = await connected()
  const heard: Buffer[] = []
  socket.on('data', (chunk: Buffer) => void heard.push(chunk))
  peer.write(sent)
  await until(() => bytesOf(heard) === sent.byteLength)
  expect(Buffer.concat(heard).equals(sent)).toBe(true)
  const [taken, memory]: [Buffer[], Set<ArrayBufferLike>] = [[], new Set()]
  socket.taker = (chunk) => {
    taken.push(Buffer.from(chunk))
    memory.add(chunk.buffer)
  }
  peer.write(sent)
  await until(() => bytesOf(taken) === sent.byteLength)
  expect(Buffer.concat(taken).equals(sent)).toBe(true)
  expect(memory.size).toBe(1)
  expect(bytesOf(heard)).toBe(sent.byteLength)
})

test.each([
  ['the listeners for data', (socket: RecyclingSocket, take: (chunk: Buffer) => void) => void socket.on('data', take)],
  ['its taker', (socket: RecyclingSocket, take: (chunk: Buffer) => void) => void ((socket.taker = take), socket.resume())],
])('RecyclingSocket reads nothing for %s while it is paused, and all of it afterwards', async (_, listen) => {
  const { socket, peer } = await connected()
  let bytes = 0
  listen(socket, (chunk) => {
    bytes += chunk.byteLength
    socket.pause()
  })
  peer.write(Buffer.alloc(TOTAL_BYTES))
  await until(() => bytes > 0)
  const before = bytes
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(bytes).toBe(before)
  const resuming = setInterval(() => socket.resume(), 0)
  await until(() => bytes === TOTAL_BYTES)
  clearInterval(resuming)
})

async function connected(): Promise<{ socket: RecyclingSocket; peer: Socket }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = new RecyclingSocket()
  socket.connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [peer] = (await once(server, 'connection')) as [Socket]
  onTestFinished(() => {
    socket.destroy()
    peer.destroy()
    server.close()
  })
  return { socket, peer }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1))
}

function bytesOf(chunks: readonly Buffer[]): number {
  return chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0)
}
