/** Reaches the store through the HTTP proxy that the environment names. */
import { type Agent, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { Duplex } from 'node:stream'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import { S3AnswerError } from './errors.ts'

type Connected = (error: Error | null, socket?: Duplex) => void

/**
 * The proxy for a host: `HTTPS_PROXY`, or `HTTP_PROXY` for plain HTTP, unless `NO_PROXY` has the host, a domain of it or `*`.
 * A name in small letters comes first. Throws for a proxy that is not a URL, without repeating it: it may have a password.
 */
export function proxyFor(scheme: 'http' | 'https', host: string): URL | undefined {
  const name = scheme === 'https' ? 'HTTPS_PROXY' : 'HTTP_PROXY'
  const direct = variable('NO_PROXY').split(/[\s,]+/).map((entry) => entry.toLowerCase().replace(/:\d+$/, '').replace(/^\*?\./, ''))
  const written = variable(name)
  if (written === '' || direct.some((entry) => entry === '*' || (entry !== '' && `.${host}`.endsWith(`.${entry}`)))) return undefined
  try {
    return new URL(/^https?:\/\//.test(written) ? written : `http://${written}`)
  } catch {
    throw new S3AnswerError('EPROXY', `${name} is not a URL`)
  }
}

function variable(name: string): string {
  return process.env[name.toLowerCase()] || process.env[name] || ''
}

/** Makes an agent connect through a tunnel (CONNECT) where there is a proxy for the host. */
export function throughProxy<T extends Agent>(agent: T, scheme: 'http' | 'https', timeoutMs: number): T {
  const connectDirectly = agent.createConnection.bind(agent)
  agent.createConnection = (options, callback) => {
    const { host = '', port } = options as ConnectionOptions
    const connected = callback as Connected
    try {
      const proxy = proxyFor(scheme, host)
      if (proxy === undefined) return connectDirectly(options, callback)
      openTunnel(proxy, { to: `${host}:${port}`, timeoutMs }, (error, socket) => {
        if (error !== null || scheme === 'http') connected(error, socket)
        else connected(null, connectTls({ ...(options as ConnectionOptions), socket }))
      })
    } catch (error) {
      process.nextTick(connected, error)
    }
    return undefined
  }
  return agent
}

function openTunnel(proxy: URL, { to, timeoutMs }: { readonly to: string; readonly timeoutMs: number }, connected: Connected): void {
  const login = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`
  const headers = { host: to, ...(proxy.username !== '' && { 'proxy-authorization': `Basic ${Buffer.from(login).toString('base64')}` }) }
  const request = proxy.protocol === 'https:' ? requestHttps : requestHttp
  const asking = request({ host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: to, headers, agent: false, timeout: timeoutMs })
  asking.once('connect', ({ statusCode }, socket) => {
    if (statusCode === 200) return connected(null, socket)
    socket.destroy()
    connected(new S3AnswerError('EPROXY', `It answered ${statusCode}`))
  })
  asking.once('timeout', () => asking.destroy(new Error(`No answer within ${timeoutMs} ms`)))
  asking.once('error', (error) => connected(new S3AnswerError('EPROXY', error.message)))
  asking.end()
}
