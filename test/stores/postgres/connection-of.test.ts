import { Pool } from 'pg'
import { expect, test } from 'vitest'
import { connectionOf } from '../../../src/stores/postgres/snapshot/workers.ts'

test('connectionOf() gives a worker thread the password and the private key, which pg keeps from being enumerated', async () => {
  const pool = new Pool({ host: 'db.example', user: 'server', password: 'secret', ssl: { key: 'a key', cert: 'a certificate' } })
  const connection = structuredClone(await connectionOf(pool as never))
  expect(connection).toEqual({ host: 'db.example', user: 'server', password: 'secret', ssl: { key: 'a key', cert: 'a certificate' } })
})

test('connectionOf() gives nothing for a pool whose certificates are checked by a function', async () => {
  const pool = new Pool({ host: 'db.example', ssl: { checkServerIdentity: () => undefined } })
  expect(await connectionOf(pool as never)).toBeUndefined()
})
