/** Tables with columns of every type there is, and rows of what is hard for each. */

export const EVERY_TYPE_TABLES = `
  CREATE TYPE mood AS ENUM ('sad', 'it''s "ok", \\', 'happy');
  CREATE TYPE pair AS (left_side text, right_side mood);
  CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 0 AND 100);
  CREATE DOMAIN short_list AS text[] CHECK (cardinality(VALUE) < 9);
  CREATE TYPE moods AS RANGE (subtype = mood);
  CREATE TABLE everything (
    b boolean, i2 smallint, i4 int, i8 bigint, n numeric, n2 numeric(38, 10), f4 real, f8 double precision, m money,
    t text, t_c text COLLATE "C", v varchar(20), c char(5), "char" "char", nm name, by bytea,
    d date, ts timestamp, tz timestamptz, ts0 timestamp(0), ti time, titz timetz, iv interval,
    u uuid, js json, jb jsonb, jp jsonpath, inet inet, cidr cidr, mac macaddr, mac8 macaddr8, bt bit(3), vb varbit,
    pt point, ln line, ls lseg, bx box, pth path, pg polygon, ci circle,
    tv tsvector, lsn pg_lsn, snap pg_snapshot, oid oid, xid xid8,
    r4 int4range, rn numrange, rt tstzrange, mr int8multirange, dr datemultirange,
    a2 int[], at text[], ab bytea[], ats timestamptz[], ajb jsonb[], an numeric[][], ar int4range[],
    mood mood, percent percent, list short_list, gen int GENERATED ALWAYS AS (i4 + 1) STORED
  );
  ALTER TABLE everything DROP COLUMN ln;
  CREATE TABLE of_its_own_types (id int, moods mood[], pair pair, pairs pair[], percents percent[], span moods);
  CREATE TABLE references_by_oid (tbl regclass, typ regtype, prc regprocedure, ns regnamespace);
  CREATE TABLE has_no_binary_form (tq tsquery, acl aclitem);
  CREATE TABLE no_columns ();`

export const EVERY_TYPE_PAYLOADS = `SELECT 'row-' || i4 FROM everything UNION ALL SELECT 'its-own-' || id FROM of_its_own_types`

export const EVERY_TYPE_ROWS = `
  INSERT INTO everything DEFAULT VALUES;
  INSERT INTO everything (b, i2, i4, i8, n, n2, f4, f8, m, t, t_c, v, c, "char", nm, by) VALUES
    (true, -32768, -2147483648, -9223372036854775808, 'NaN', 1234567890123456789012345678.0123456789, '-Infinity', 'NaN', '-92233720368547758.08',
     E'tab\\t line\\n return\\r \\\\ \\\\N \\\\. quote" '' 日本語 😀 é', '', 'x', 'y', 'z', 'na me', '\\x'),
    (false, 32767, 2147483646, 9223372036854775807, 'Infinity', -0.0000000001, 3.4028235e38, 5e-324, '92233720368547758.07', repeat('long ', 50000), E'\\u00ad', 'ééééé', '', '', '',
     (SELECT decode(string_agg(lpad(to_hex(i % 256), 2, '0'), ''), 'hex') FROM generate_series(0, 3000) i)),
    (NULL, 0, 0, 0, 1e130000, 0, '-0', 1.7976931348623157e308, '0', '\\N', '\\.', NULL, NULL, NULL, NULL, NULL);
  INSERT INTO everything (d, ts, tz, ts0, ti, titz, iv, u, js, jb, jp, inet, cidr, mac, mac8, bt, vb) VALUES
    ('4713-01-01 BC', '4713-01-01 00:00:00 BC', '4713-01-01 00:00:00+00 BC', '1999-12-31 23:59:60', '24:00:00', '24:00:00-15:59:59', '-178000000 years', '00000000-0000-0000-0000-000000000000',
     '{"a" : 1, "a":2 , "n": 1e400}', '{"b": [null, true, "\\u00e9", 1e100, {}]}', '$.a[*] ? (@ > 1)', '::1/64', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', B'101', B''),
    ('5874897-12-31', '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', 'infinity', '00:00:00.000001', '00:00:00+15:59', '178000000 years 11 mons 30 days 23:59:59.999999', 'ffffffff-ffff-ffff-ffff-ffffffffffff',
     'null', '"text"', 'lax $', '255.255.255.255', '::/0', 'ff:ff:ff:ff:ff:ff', 'ff:ff:ff:ff:ff:ff:ff:ff', B'000', B'1010101010101'),
    ('infinity', '-infinity', 'infinity', '2000-01-01', '12:00', '12:00+00', '-1 mon +1 day -00:00:01', '01234567-89ab-cdef-0123-456789abcdef', '[]', '[]', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
  INSERT INTO everything (pt, ls, bx, pth, pg, ci, tv, lsn, snap, oid, xid, r4, rn, rt, mr, dr) VALUES
    ('(1e-300,-Infinity)', '[(0,0),(1,1)]', '(2,2),(1,1)', '[(0,0),(1,1),(2,0)]', '((0,0),(1,1),(2,0))', '<(1,2),3>', to_tsvector('simple', 'a fat cat''s cat'), 
     'FFFFFFFF/FFFFFFFF', '10:20:10,14,15', 4294967295, '18446744073709551615', '[1,5)', '(,1e50]', '[2000-01-01,infinity]', '{[1,2),[5,)}', '{}'),
    (NULL, NULL, NULL, '((0,0))', NULL, NULL, '', '0/0', NULL, 0, '0', 'empty', '(,)', NULL, '{(,)}', '{[-infinity,2000-01-01)}');
  INSERT INTO everything (a2, at, ab, ats, ajb, an, ar, mood, percent, list) VALUES
    ('{}', '{NULL,"NULL","",",","\\\\"}', ARRAY['\\x00'::bytea, NULL], '{infinity,NULL,2000-01-01}', ARRAY['{"a":1}'::jsonb], '{{1,NaN},{NULL,2}}', '{empty,"[1,2)"}', 'it''s "ok", \\', 100, '{a,b}'),
    ('[-2:0]={1,2,3}', '{{a,b},{c,d}}', '{}', NULL, NULL, NULL, NULL, 'happy', 0, '{}');
  INSERT INTO of_its_own_types VALUES
    (1, '{sad,NULL,"it''s \\"ok\\", \\\\"}', ROW(E'tab\\t(",)', 'happy'), ARRAY[ROW(NULL, 'sad'), NULL]::pair[], '{0,100,NULL}', '[sad,happy]'), (2, NULL, NULL, '{}', '{}', 'empty');
  INSERT INTO references_by_oid VALUES ('everything', 'mood[]', 'lower(text)', 'pg_catalog'), (NULL, NULL, NULL, NULL);
  INSERT INTO has_no_binary_form VALUES ('fat & !(rat | cat:*)', NULL), ('', NULL), (NULL, NULL);
  INSERT INTO no_columns DEFAULT VALUES;
  INSERT INTO no_columns DEFAULT VALUES`
