import pg from 'pg'

let pool: pg.Pool | undefined

export async function testPool(): Promise<pg.Pool> {
  return (pool ??= new pg.Pool({ connectionString: process.env['HOLDFAST_TEST_POSTGRES_URL'], max: 12, allowExitOnIdle: true }))
}
