/** Owners, grants and default privileges that follow from one schema to another which holds the same tables. */
import type { Connection } from '../connection/connection.ts'

/**
 * Gives the statements that make the schema `to`, and everything in it that `from` has too, owned by and granted to whom it is in `from`;
 * none where nothing differs. The grantor of a privilege may differ: the owner grants what others passed on.
 */
export async function followingGrants(session: Connection, { from, to }: { readonly from: string; readonly to: string }): Promise<readonly string[]> {
  const rows = await session.rows<{ statement: string }>(FOLLOWING, [from, to])
  return rows.map(({ statement }) => statement)
}

/**
 * What either schema has: the schema itself, relations, routines, types, and columns that have grants of their own. `path` is how it is
 * named in the target; grants are sets of grantee, privilege and whether it may be passed on.
 */
const OBJECTS = `
  space (side, oid, name) AS (
    SELECT CASE nspname WHEN $1 THEN 'from' ELSE 'to' END, oid, nspname FROM pg_namespace WHERE nspname IN ($1, $2)
  ),
  object (side, turn, kind, key, path, owner, granted, acl, follows) AS (
    SELECT side, 1, 'SCHEMA', '', format('%I', $2::text), nspowner, nspacl IS NOT NULL, coalesce(nspacl, acldefault('n', nspowner)), false
    FROM space JOIN pg_namespace n ON n.oid = space.oid
    UNION ALL
    SELECT side, 2, CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, relname::text, format('%I.%I', $2::text, relname), relowner, relacl IS NOT NULL,
      coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)),
      relkind = 'S' AND EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype IN ('a', 'i'))
    FROM space JOIN pg_class c ON relnamespace = space.oid WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL
    SELECT side, 3, 'ROUTINE', format('%s(%s)', proname, replace(oidvectortypes(proargtypes), format('%I.', space.name), '')),
      format('%I.%I(%s)', $2::text, proname, replace(oidvectortypes(proargtypes), format('%I.', $1::text), format('%I.', $2::text))),
      proowner, proacl IS NOT NULL, coalesce(proacl, acldefault('f', proowner)), false
    FROM space JOIN pg_proc p ON pronamespace = space.oid
    UNION ALL
    SELECT side, 4, 'TYPE', typname::text, format('%I.%I', $2::text, typname), typowner, typacl IS NOT NULL, coalesce(typacl, acldefault('T', typowner)), false
    FROM space JOIN pg_type t ON typnamespace = space.oid
    WHERE typtype IN ('d', 'e', 'r') OR typtype = 'c' AND (SELECT relkind FROM pg_class WHERE oid = typrelid) = 'c'
  ),
  pair AS (
    SELECT t.turn, t.kind, t.path, f.owner AS owner, f.owner <> t.owner AND NOT t.follows AS moves, f.acl AS wanted, t.acl AS given,
      (f.granted OR t.granted) AND (f.owner <> t.owner OR
        ARRAY(SELECT format('%s %s %s', grantee, privilege_type, is_grantable) FROM aclexplode(f.acl) ORDER BY 1)
          <> ARRAY(SELECT format('%s %s %s', grantee, privilege_type, is_grantable) FROM aclexplode(t.acl) ORDER BY 1)) AS differs
    FROM object t JOIN object f ON f.side = 'from' AND t.side = 'to' AND f.kind = t.kind AND f.key = t.key
  ),
  column_grant AS (
    SELECT side, relname, attname, attacl FROM space JOIN pg_class c ON relnamespace = space.oid JOIN pg_attribute ON attrelid = c.oid
    WHERE attnum > 0 AND NOT attisdropped AND attacl IS NOT NULL
  ),
  default_grant AS (
    SELECT side, defaclrole AS role, CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' ELSE 'TYPES' END AS kind, a.*
    FROM space JOIN pg_default_acl ON defaclnamespace = space.oid, LATERAL aclexplode(defaclacl) a
  )`

/** A role as it is written in SQL. */
const roleName = (oid: string): string => `CASE ${oid} WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(${oid})) END`
const option = (isGrantable: string): string => `CASE WHEN ${isGrantable} THEN ' WITH GRANT OPTION' ELSE '' END`

/**
 * The schema before what is in it, because only a role that may make something there can own it. Of each the owner first; then all is
 * revoked, and what is wanted is granted.
 */
const FOLLOWING = `
  WITH ${OBJECTS}
  SELECT statement FROM (
    SELECT 10 * turn AS turn, format('ALTER %s %s OWNER TO %s', kind, path, ${roleName('owner')}) AS statement FROM pair WHERE moves
    UNION ALL
    SELECT DISTINCT 10 * turn + 1, format('REVOKE ALL ON %s %s FROM %s CASCADE', kind, path, ${roleName('grantee')})
    FROM pair, LATERAL (SELECT grantee FROM aclexplode(given) UNION SELECT owner UNION SELECT 0::oid) g WHERE differs
    UNION ALL
    SELECT 10 * turn + 2, format('GRANT %s ON %s %s TO %s%s', privilege_type, kind, path, ${roleName('grantee')}, ${option('is_grantable')})
    FROM pair, LATERAL aclexplode(wanted) WHERE differs
    UNION ALL
    SELECT 60, format('REVOKE ALL (%I) ON TABLE %I.%I FROM %s CASCADE', attname, $2::text, relname, ${roleName('grantee')})
    FROM column_grant, LATERAL aclexplode(attacl) WHERE side = 'to'
    UNION ALL
    SELECT 61, format('GRANT %s (%I) ON TABLE %I.%I TO %s%s', privilege_type, attname, $2::text, relname, ${roleName('grantee')}, ${option('is_grantable')})
    FROM column_grant f, LATERAL aclexplode(attacl)
    WHERE side = 'from' AND EXISTS (SELECT FROM space JOIN pg_class c ON relnamespace = space.oid JOIN pg_attribute a ON attrelid = c.oid
      WHERE space.side = 'to' AND c.relname = f.relname AND a.attname = f.attname)
    UNION ALL
    SELECT 70, format('ALTER DEFAULT PRIVILEGES FOR ROLE %s IN SCHEMA %I REVOKE ALL ON %s FROM %s', ${roleName('role')}, $2::text, kind, ${roleName('grantee')})
    FROM default_grant t WHERE side = 'to' AND NOT EXISTS (SELECT FROM default_grant f WHERE f.side = 'from' AND f.role = t.role AND f.kind = t.kind
      AND (f.grantee, f.privilege_type, f.is_grantable) = (t.grantee, t.privilege_type, t.is_grantable))
    UNION ALL
    SELECT 71, format('ALTER DEFAULT PRIVILEGES FOR ROLE %s IN SCHEMA %I GRANT %s ON %s TO %s%s', ${roleName('role')}, $2::text, privilege_type, kind, ${roleName('grantee')}, ${option('is_grantable')})
    FROM default_grant WHERE side = 'from'
  ) AS ordered (turn, statement) ORDER BY turn, statement COLLATE "C"`
