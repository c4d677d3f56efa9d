/**
 * The S3 servers that tests can speak to: one that is named by the environment, real ones found on the machine, the tests' own.
 *
 * HOLDFAST_TEST_S3_ENDPOINT, with HOLDFAST_TEST_S3_ACCESS_KEY_ID, HOLDFAST_TEST_S3_SECRET_ACCESS_KEY and HOLDFAST_TEST_S3_REGION
 * (`us-east-1` by default), names a server on which the tests may make buckets and remove them; HOLDFAST_TEST_S3_KIND (`versitygw`, `minio`
 * or `moto_server`) says what it is where it is not like AWS.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, readFileSync, realpathSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { S3Access } from './client.ts'
import { startS3Server } from './server.ts'
import { AWS, MINIO, MOTO, type S3Supports, VERSITYGW } from './supports.ts'
import { freePort } from '../free-port.ts'

/** A server that runs. */
export interface RunningS3 extends S3Access {
  /** Stops it and removes what it kept, if it was started here. */
  readonly stop: () => Promise<void>
}

/** A server that can be had. */
export interface AvailableS3 {
  readonly name: string
  readonly supports: S3Supports
  /** Why it cannot be had on this machine. */
  readonly missing?: string | undefined
  readonly start: () => Promise<RunningS3>
}

const ACCESS = { region: 'us-east-1', accessKeyId: 'HOLDFASTTESTKEY00001', secretAccessKey: 'holdfasttestsecret000000000000000000001' } as const
const READY_MS = 30_000
/** Where `.ci/s3-server` installs what it can get. */
const INSTALLED = join(process.cwd(), '.cache', 's3', 'bin')

/** All that the protocol suite runs against, the missing ones too: those are to be skipped visibly. */
export function s3Servers(): readonly AvailableS3[] {
  return [ownServer, givenServer(), versitygw(), minio(), moto()]
}

/** The server to test a destination with: the one named, else a real one found here, else the tests' own. */
export function bestS3Server(): AvailableS3 {
  return [givenServer(), versitygw(), minio(), moto()].find(({ missing }) => missing === undefined) ?? ownServer
}

/** The tests' own, which can be had anywhere. */
export const ownServer: AvailableS3 = {
  name: 'own server',
  supports: AWS,
  async start() {
    const server = await startS3Server({ buckets: [] })
    const { endpoint, region, accessKeyId, secretAccessKey } = server
    return { endpoint, region, accessKeyId, secretAccessKey, stop: () => server.close() }
  },
}

function givenServer(): AvailableS3 {
  const variable = (name: string): string | undefined => process.env[`HOLDFAST_TEST_S3_${name}`]
  const endpoint = variable('ENDPOINT')
  const accessKeyId = variable('ACCESS_KEY_ID') ?? ''
  const secretAccessKey = variable('SECRET_ACCESS_KEY') ?? ''
  const kinds: Readonly<Record<string, S3Supports>> = { versitygw: VERSITYGW, minio: MINIO, moto_server: MOTO }
  return {
    name: 'HOLDFAST_TEST_S3_ENDPOINT',
    supports: kinds[variable('KIND') ?? ''] ?? AWS,
    missing: endpoint === undefined || endpoint === '' ? 'is not set' : undefined,
    start: async () => ({ endpoint: endpoint ?? '', region: variable('REGION') ?? 'us-east-1', accessKeyId, secretAccessKey, stop: async () => undefined }),
  }
}

function versitygw(): AvailableS3 {
  return program({ name: 'versitygw', supports: VERSITYGW }, async (path, directory, port) => {
    const [data, versions] = [join(directory, 'data'), join(directory, 'versions')]
    for (const folder of [data, versions]) await mkdir(folder)
    // Without --keep-alive: after a body with trailers it takes what is left of it for the connection's next request.
    const args = ['--port', `127.0.0.1:${port}`, '--quiet', '--region', ACCESS.region, 'posix', '--versioning-dir', versions, data]
    const env = { ROOT_ACCESS_KEY: ACCESS.accessKeyId, ROOT_SECRET_KEY: ACCESS.secretAccessKey }
    return { command: [path, ...args], env, ready: async () => ACCESS }
  })
}

function minio(): AvailableS3 {
  return program({ name: 'minio', supports: MINIO }, async (path, directory, port) => ({
    command: [path, 'server', '--quiet', '--address', `127.0.0.1:${port}`, join(directory, 'data')],
    env: { MINIO_ROOT_USER: ACCESS.accessKeyId, MINIO_ROOT_PASSWORD: ACCESS.secretAccessKey },
    ready: async (endpoint) => {
      await until(async () => {
        const { ok } = await fetch(`${endpoint}/minio/health/ready`)
        if (!ok) throw new Error('minio is not ready')
      })
      return ACCESS
    },
  }))
}

function moto(): AvailableS3 {
  return program({ name: 'moto_server', supports: MOTO, unfit: tooOldMoto }, async (path, _, port) => ({
    command: [path, '-H', '127.0.0.1', '-p', String(port)],
    // The first actions, which make a user, go unsigned; all after them are checked.
    env: { INITIAL_NO_AUTH_ACTION_COUNT: '3', PYTHONDONTWRITEBYTECODE: '1' },
    ready: async (endpoint) => await motoUser(endpoint),
  }))
}

/** Versions before 5.2.4 refuse right signatures of keys with special characters and of empty parameters. */
function tooOldMoto(path: string): string | undefined {
  const real = realpathSync(path)
  const python = /^#! *(\S*python\S*)/.exec(readFileSync(real, 'utf8'))?.[1] ?? join(dirname(real), 'python')
  const script = 'import importlib.metadata; print(importlib.metadata.version("moto"))'
  const { stdout, error } = spawnSync(python, ['-c', script], { encoding: 'utf8' })
  const version = error === undefined ? stdout.trim() : ''
  if (version === '') return 'does not tell its version'
  const [major = 0, minor = 0, patch = 0] = version.split('.').map(Number)
  return (major - 5 || minor - 2 || patch - 4) < 0 ? `is of version ${version}, which refuses right signatures; 5.2.4 does not` : undefined
}

/** Makes a user of moto's who may do everything; its keys are what makes moto check signatures. */
async function motoUser(endpoint: string): Promise<typeof ACCESS | { region: string, accessKeyId: string, secretAccessKey: string }> {
  const headers = { authorization: `AWS4-HMAC-SHA256 Credential=a/20260101/${ACCESS.region}/iam/aws4_request, SignedHeaders=host, Signature=${'0'.repeat(64)}` }
  const iam = async (parameters: Readonly<Record<string, string>>): Promise<string> => {
    const body = new URLSearchParams({ ...parameters, UserName: 'holdfast', Version: '2010-05-08' })
    const response = await fetch(endpoint, { method: 'POST', headers, body })
    const text = await response.text()
    if (!response.ok) throw new Error(`Cannot make a user of moto: ${text}`)
    return text
  }
  await iam({ Action: 'CreateUser' })
  const everything = { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: 's3:*', Resource: '*' }] }
  await iam({ Action: 'PutUserPolicy', PolicyName: 'everything', PolicyDocument: JSON.stringify(everything) })
  const key = await iam({ Action: 'CreateAccessKey' })
  const element = (name: string): string => new RegExp(`<${name}>([^<]+)</${name}>`).exec(key)?.[1] ?? ''
  return { region: ACCESS.region, accessKeyId: element('AccessKeyId'), secretAccessKey: element('SecretAccessKey') }
}

interface Recipe {
  readonly command: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** Called once it answers. */
  readonly ready: (endpoint: string) => Promise<Omit<S3Access, 'endpoint'>>
}

/** A server that is a program, if it is on PATH or was installed. */
function program(
  { name, supports, unfit = () => undefined }: {
    readonly name: string
    readonly supports: S3Supports
    /** Why the program found is of no use. */
    readonly unfit?: ((path: string) => string | undefined) | undefined
  },
  recipe: (path: string, directory: string, port: number) => Promise<Recipe>,
): AvailableS3 {
  const path = findProgram(name)
  return {
    name,
    supports,
    missing: path === undefined ? 'is not on PATH' : unfit(path),
    async start() {
      if (path === undefined) throw new Error(`Cannot start ${name}: it is not on PATH`)
      const directory = await mkdtemp(join(tmpdir(), `holdfast-${name}-`))
      const port = await freePort()
      const { command, env, ready } = await recipe(path, directory, port)
      const stop = launch(command, { env, directory })
      const endpoint = `http://127.0.0.1:${port}`
      try {
        await until(() => connectTo(port))
        return { endpoint, ...(await ready(endpoint)), stop }
      } catch (error) {
        const log = await readFile(join(directory, 'log'), 'utf8').catch(() => '')
        await stop()
        throw new Error(`Cannot start ${name}: ${log}`, { cause: error })
      }
    },
  }
}

/**
 * Runs a program under a shell that ends it, and removes its directory, when its standard input ends: with this process, however that ends.
 * Returns what stops it.
 */
function launch(command: readonly string[], { env, directory }: { readonly env: Readonly<Record<string, string>>, readonly directory: string }): () => Promise<void> {
  const script = 'directory=$1; shift; "$@" >"$directory/log" 2>&1 & server=$!; cat >/dev/null; kill -9 $server; wait; rm -rf "$directory"'
  // Without the mark of the run, whose keeper kills what has it: the shell ends its server first.
  const { HOLDFAST_TEST_RUN: _, ...outer } = process.env
  const child = spawn('sh', ['-c', script, 'sh', directory, ...command], {
    stdio: ['pipe', 'ignore', 'ignore'],
    env: { ...outer, ...env },
    cwd: directory,
    // Not of this process's group: Ctrl-C at a terminal must not end the shell before it has cleaned up.
    detached: true,
  })
  const ended = once(child, 'close')
  return async () => {
    child.stdin.end()
    await ended
    await rm(directory, { recursive: true, force: true })
  }
}

/** Tries until it succeeds. */
async function until(attempt: () => Promise<unknown>): Promise<void> {
  const deadline = performance.now() + READY_MS
  for (;;) {
    try {
      await attempt()
      return
    } catch (error) {
      if (performance.now() > deadline) throw error
      await delay(50)
    }
  }
}

/** Connects and says nothing: moto counts requests before it checks signatures. */
async function connectTo(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
  } finally {
    socket.destroy()
  }
}

function findProgram(name: string): string | undefined {
  const folders = [INSTALLED, ...(process.env['PATH'] ?? '').split(delimiter)]
  return folders.map((folder) => join(folder, name)).find((path) => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
