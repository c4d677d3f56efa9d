/** Databases of a test file's own, made from one another. */
import { Pool } from 'pg'
import { afterAll } from 'vitest'
import { serverUrl } from './server.ts'

const made = new Set<string>()

afterAll(async () => {
  for (const name of made) await dropDatabase(name)
})

/** Makes a database, empty or a copy of another that no session is connected to; gives its name. */
export async function makeDatabase(template?: string): Promise<string> {
  const name = `holdfast_${Math.random().toString(36).slice(2, 12)}`
  made.add(name)
  await asAdmin((admin) => admin.query(template === undefined ? `CREATE DATABASE ${name} ENCODING UTF8 TEMPLATE template0` : `CREATE DATABASE ${name} TEMPLATE ${template}`))
  return name
}

export async function dropDatabase(name: string): Promise<void> {
  await asAdmin((admin) => admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`))
  made.delete(name)
}

export async function databaseUrl(name: string): Promise<string> {
  const url = new URL(await serverUrl())
  url.pathname = `/${name}`
  return url.href
}

/** Runs a task with a pool to the database, and waits until the server has ended its connections. */
export async function inDatabase<T>(name: string, task: (pool: Pool) => Promise<T>): Promise<T> {
  const pool = new Pool({ connectionString: await databaseUrl(name), max: 6 })
  pool.on('error', () => undefined)
  try {
    return await task(pool)
  } finally {
    await pool.end()
    await asAdmin((admin) => waitForNone(admin, name))
  }
}

async function asAdmin<T>(task: (admin: Pool) => Promise<T>): Promise<T> {
  const admin = new Pool({ connectionString: await serverUrl(), max: 1 })
  admin.on('error', () => undefined)
  try {
    return await task(admin)
  } finally {
    await admin.end()
  }
}

async function waitForNone(admin: Pool, name: string): Promise<void> {
  for (;;) {
    const { rows } = await admin.query('SELECT FROM pg_stat_activity WHERE datname = $1', [name])
    if (rows.length === 0) return
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
