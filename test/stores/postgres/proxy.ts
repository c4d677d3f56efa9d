/** A way to the tests' server that can be cut, or fall silent. */
import { type AddressInfo, type Socket, connect, createServer } from 'node:net'
import type { PoolConfig } from 'pg'
import { onTestFinished } from 'vitest'
import { serverUrl } from './server.ts'

export interface Proxy {
  readonly host: string
  readonly port: number
  /** Resets all connections. */
  readonly cut: () => void
  /** Swallows whatever either side sends from now on, as a network does that drops packets: neither side is told. Connections are still taken. */
  readonly silence: () => void
}

export async function proxyToServer(): Promise<Proxy> {
  const { host, port } = connectionTo(await serverUrl())
  const sockets = new Set<Socket>()
  let isSilent = false
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ port: port ?? 0, host: host ?? '', allowHalfOpen: true })
    for (const [from, to] of [[near, far], [far, near]] as const) {
      sockets.add(from)
      from.on('error', () => undefined)
      from.on('data', (chunk: Buffer) => {
        if (isSilent || to.write(chunk)) return
        from.pause()
        to.once('drain', () => from.resume())
      })
      from.on('end', () => void (isSilent || to.end()))
      from.on('close', () => void (isSilent || to.destroy()))
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const cut = (): void => {
    for (const socket of sockets) socket.resetAndDestroy()
  }
  onTestFinished(() => {
    cut()
    server.close()
  })
  const silence = (): void => {
    isSilent = true
    for (const socket of sockets) socket.resume()
  }
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port, cut, silence }
}

/** What a URL says, as options of a pool. */
export function connectionTo(url: string): PoolConfig {
  const { hostname, port, username, password, pathname } = new URL(url)
  return { host: hostname, port: Number(port), user: username, password: decodeURIComponent(password), database: pathname.slice(1) }
}
