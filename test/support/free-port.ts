/** A port of this machine that nothing listens on now. */
import { type AddressInfo, createServer } from 'node:net'

export async function freePort(): Promise<number> {
  const listener = createServer()
  await new Promise<void>((settle) => listener.listen(0, '127.0.0.1', settle))
  const { port } = listener.address() as AddressInfo
  await new Promise((settle) => listener.close(settle))
  return port
}
