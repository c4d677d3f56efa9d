import { CreateBucketCommand, HeadBucketCommand } from '@aws-sdk/client-s3'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { describe, expect, it, onTestFinished } from 'vitest'
import { s3Client } from './client.ts'
import { startS3Process } from './server-process.ts'
import { s3Servers } from './servers.ts'

const isUp = async (endpoint: string): Promise<boolean> => {
  const socket = connect(Number(new URL(endpoint).port), '127.0.0.1')
  const up = await Promise.race([once(socket, 'connect').then(() => true), once(socket, 'error').then(() => false)]).catch(() => false)
  socket.destroy()
  return up
}

const isDownSoon = async (endpoint: string): Promise<boolean> => {
  for (let count = 0; count < 100; count++) {
    if (!(await isUp(endpoint))) return true
    await delay(50)
  }
  return false
}

describe('s3Servers', () => {
  for (const { name, missing } of s3Servers().slice(2)) {
    it.skipIf(missing !== undefined)(`${name} ends with the process that started it, even a killed one`, async () => {
      const module = pathToFileURL(`${process.cwd()}/dist/test/support/s3/servers.js`).href
      const script = `
        const { s3Servers } = await import(${JSON.stringify(module)})
        const { endpoint } = await s3Servers().find(({ name }) => name === ${JSON.stringify(name)}).start()
        console.log(endpoint)
        setInterval(() => undefined, 1000)`
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
      onTestFinished(() => void child.kill('SIGKILL'))
      const [endpoint] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
      expect(await isUp(endpoint)).toBe(true)
      child.kill('SIGKILL')
      expect(await isDownSoon(endpoint)).toBe(true)
    })
  }
})

describe('startS3Process', () => {
  it('serves from a process of its own until it is stopped', async () => {
    const server = await startS3Process({ region: 'eu-west-3' })
    onTestFinished(() => server.stop())
    const client = s3Client(server)
    await client.send(new CreateBucketCommand({ Bucket: 'made' }))
    await expect(client.send(new HeadBucketCommand({ Bucket: 'made' }))).resolves.toMatchObject({ BucketRegion: 'eu-west-3' })
    client.destroy()
    await server.stop()
    expect(await isUp(server.endpoint)).toBe(false)
  })
})
