import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, onTestFinished, test, vi } from 'vitest'
import { s3Destination } from '../../../destinations/s3/index.ts'
import { proxyFor } from '../../../destinations/s3/proxy.ts'
import { isHoldfastError } from '../../../src/errors/errors.ts'
import { startS3Server } from '../../support/s3/server.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { BUCKET, bytesOf, openAt, ownServer, publish } from './setup.ts'

function stub(variables: Readonly<Record<string, string>>): void {
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY']) for (const each of [name, name.toLowerCase()]) vi.stubEnv(each, variables[each] ?? '')
  onTestFinished(() => void vi.unstubAllEnvs())
}

/** A proxy that only knows CONNECT, and what was asked of it. */
async function startProxy(password?: string): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = []
  const proxy = createServer((_, response) => response.writeHead(405).end())
  proxy.on('connect', (request, socket) => {
    asked.push(request.url ?? '')
    const expected = password === undefined ? undefined : `Basic ${Buffer.from(`user:${password}`).toString('base64')}`
    if (expected !== request.headers['proxy-authorization']) {
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n')
      return
    }
    const [host, port] = (request.url ?? '').split(':')
    const target = connect(Number(port), host, () => socket.write('HTTP/1.1 200 Connection established\r\n\r\n'))
    for (const each of [socket, target]) each.on('error', () => undefined)
    socket.pipe(target).pipe(socket)
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  onTestFinished(() => {
    proxy.close()
    proxy.closeAllConnections()
  })
  return { url: `127.0.0.1:${(proxy.address() as AddressInfo).port}`, asked }
}

describe('proxyFor()', () => {
  test('takes the variable of the scheme, in small letters first, and none for hosts of NO_PROXY', () => {
    stub({ HTTPS_PROXY: 'http://a:1', http_proxy: 'b:2', HTTP_PROXY: 'http://c:3', NO_PROXY: 'localhost, .example.com,10.0.0.1:9000' })
    equal(proxyFor('https', 's3.amazonaws.com')?.host, 'a:1')
    equal(proxyFor('http', 'notexample.com')?.host, 'b:2')
    for (const host of ['localhost', 'example.com', 's3.example.com', '10.0.0.1']) equal(proxyFor('https', host), undefined)
    stub({ HTTPS_PROXY: 'http://a:1', NO_PROXY: '*' })
    equal(proxyFor('https', 's3.amazonaws.com'), undefined)
    stub({})
    equal(proxyFor('https', 's3.amazonaws.com'), undefined)
  })
})

describe('s3Destination() through a proxy of the environment', () => {
  test('reaches a store by HTTP, with the password of the proxy', async () => {
    const own = await ownServer()
    const proxy = await startProxy('p:w')
    stub({ HTTP_PROXY: `http://user:p%3Aw@${proxy.url}` })
    await publish(own.open(), bytesOf(100))
    ok(proxy.asked.length > 0)
    deepEqual(new Set(proxy.asked), new Set([own.server.endpoint.slice('http://'.length)]))
  })

  test('reaches a store by TLS', async () => {
    const path = await tempDir()
    const [key, cert] = [join(path, 'key.pem'), join(path, 'cert.pem')]
    await promisify(execFile)('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, '-days', '1', '-subj', '/CN=127.0.0.1'])
    const server = await startS3Server({ buckets: [BUCKET], tls: { key: await readFile(key, 'utf8'), cert: await readFile(cert, 'utf8') } })
    onTestFinished(() => server.close())
    const proxy = await startProxy()
    stub({ https_proxy: proxy.url })
    // The certificate is refused through the tunnel as it is without.
    const refused: unknown = await openAt(server).validate().catch((error: unknown) => error)
    equal(isHoldfastError(refused) && refused.details['reason'], 'tls')
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0')
    await publish(openAt(server), bytesOf(100))
    ok(proxy.asked.length > 1)
  })

  test.each([
    ['that refuses', (url: string) => `http://user:hunter2@${url}`, 'It answered 407'],
    ['that is not there', () => 'http://127.0.0.1:1', 'ECONNREFUSED'],
    ['that is not a URL', () => 'http://user:hunter2@[', 'HTTP_PROXY is not a URL'],
  ])('tells a proxy %s, without its password', async (_, urlOf, words) => {
    const own = await ownServer()
    const proxy = await startProxy('other')
    stub({ HTTP_PROXY: urlOf(proxy.url) })
    const thrown: unknown = await own.open({ attempts: 1 }).validate().catch((error: unknown) => error)
    ok(isHoldfastError(thrown))
    equal(thrown.details['reason'], 'proxy')
    ok(thrown.message.includes(words) && thrown.hint.includes('HTTPS_PROXY') && !thrown.message.includes('hunter2'), thrown.message)
  })

  test('is asked for the host in the region of the profile where AWS_REGION is empty, and so AWS_REGION stays', async () => {
    const config = join(await tempDir(), 'config')
    await writeFile(config, '[default]\nregion = eu-west-3\n')
    const proxy = await startProxy('other')
    stub({ HTTPS_PROXY: proxy.url })
    for (const [name, value] of Object.entries({ AWS_REGION: '', AWS_PROFILE: '', AWS_CONFIG_FILE: config })) vi.stubEnv(name, value)
    const before = { ...process.env }
    const destination = s3Destination({ bucket: 'backups', credentials: { accessKeyId: 'SOMEKEY', secretAccessKey: 'hunter2' }, attempts: 1 })
    for (let tries = 0; tries < 2; tries++) await rejects(destination.validate(), { code: 'destination_unreachable' })
    deepEqual(proxy.asked, Array(2).fill('backups.s3.eu-west-3.amazonaws.com:443'))
    deepEqual({ ...process.env }, before)
  })
})
