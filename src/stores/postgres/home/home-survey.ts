/** What is in the schema where a store is to be, without changing anything. */
import type { Query } from './home-records.ts'

/** Whether the schema is free to be a store's: it does not exist, or nothing is in it. */
export async function surveyHome(query: Query, schema: string): Promise<'absent' | 'taken'> {
  const [row] = (await query(
    `SELECT EXISTS (
       SELECT FROM pg_catalog.pg_depend WHERE refclassid = 'pg_catalog.pg_namespace'::regclass AND refobjid = n.oid AND deptype <> 'e'
         AND classid <> 'pg_catalog.pg_default_acl'::regclass
     ) AS taken FROM pg_catalog.pg_namespace n WHERE nspname = $1`,
    [schema],
  )) as readonly { readonly taken: boolean }[]
  return row?.taken === true ? 'taken' : 'absent'
}
