/**
 * The tables of a metadata store, as the first migration makes them in a schema that is its search path.
 *
 * What the contract calls impossible is refused by the server itself, also when it is written by hand: foreign keys and checks; triggers
 * that keep what is counted (links, blocks, used bytes) and refuse to have it written; and deferred ones that look at commit whether
 * every inode has a name and every directory is in one place below a share. They name tables by the schema they are found in, so that a
 * schema can be renamed.
 *
 * Names are `text` under the collation "C": valid UTF-8 without NUL, in the order of its bytes, as the contract has it. Times are
 * nanoseconds since 1970 in the 64 bits that the contract gives them.
 */

import type { SchemaDefinition } from '../snapshot/definition.ts'
import type { TableName } from './queries.ts'

const MAX_SAFE_INTEGER = Number.MAX_SAFE_INTEGER

const TREE = `
  CREATE SEQUENCE inode_numbers AS bigint MAXVALUE ${MAX_SAFE_INTEGER};

  CREATE TABLE inodes (
    inode bigint PRIMARY KEY CHECK (inode BETWEEN 1 AND ${MAX_SAFE_INTEGER}),
    type text COLLATE "C" NOT NULL CHECK (type IN ('file', 'directory', 'symlink', 'fifo', 'socket', 'block-device', 'character-device')),
    mode integer NOT NULL CHECK (mode BETWEEN 0 AND 4095),
    uid bigint NOT NULL CHECK (uid BETWEEN 0 AND 4294967295),
    gid bigint NOT NULL CHECK (gid BETWEEN 0 AND 4294967295),
    size bigint NOT NULL CHECK (size BETWEEN 0 AND ${MAX_SAFE_INTEGER}),
    accessed_at_ns bigint NOT NULL,
    modified_at_ns bigint NOT NULL,
    changed_at_ns bigint NOT NULL,
    created_at_ns bigint NOT NULL,
    links bigint NOT NULL,
    block_count bigint NOT NULL DEFAULT 0 CHECK (block_count >= 0),
    symlink_target text COLLATE "C" CHECK (octet_length(symlink_target) BETWEEN 1 AND 4096),
    payload_id text COLLATE "C" CHECK (octet_length(payload_id) BETWEEN 1 AND 255),
    xattr_names text[],
    xattr_values bytea[],
    CONSTRAINT links_of_type CHECK (links >= CASE type WHEN 'directory' THEN 2 ELSE 0 END),
    CONSTRAINT target_of_symlink CHECK ((type = 'symlink') = (symlink_target IS NOT NULL)),
    CONSTRAINT content_of_file CHECK (type = 'file' OR payload_id IS NULL AND block_count = 0),
    CONSTRAINT payload_or_blocks CHECK (payload_id IS NULL OR block_count = 0),
    CONSTRAINT xattrs_in_pairs CHECK (cardinality(xattr_names) IS NOT DISTINCT FROM cardinality(xattr_values))
  );
  CREATE INDEX inodes_payload_id ON inodes (payload_id) WHERE payload_id IS NOT NULL;

  CREATE TABLE shares (
    name text COLLATE "C" PRIMARY KEY CHECK (octet_length(name) BETWEEN 1 AND 255),
    root bigint NOT NULL UNIQUE REFERENCES inodes,
    created_at_ms bigint NOT NULL,
    options jsonb NOT NULL CHECK (jsonb_typeof(options) = 'object')
  );

  CREATE TABLE entries (
    parent bigint NOT NULL REFERENCES inodes,
    name text COLLATE "C" NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 255 AND name NOT IN ('.', '..') AND strpos(name, '/') = 0),
    inode bigint NOT NULL REFERENCES inodes,
    type text COLLATE "C" NOT NULL,
    PRIMARY KEY (parent, name)
  );
  CREATE INDEX entries_inode ON entries (inode);
  CREATE UNIQUE INDEX entries_directory ON entries (inode) WHERE type = 'directory';`

const CONTENT = `
${blockTable('blocks', 'inode bigint NOT NULL REFERENCES inodes')}

  CREATE TABLE uploads (
    upload_id text COLLATE "C" PRIMARY KEY CHECK (octet_length(upload_id) BETWEEN 1 AND 255),
    parent bigint NOT NULL,
    name text COLLATE "C" NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 255),
    started_at_ms bigint NOT NULL,
    block_count bigint NOT NULL DEFAULT 0 CHECK (block_count >= 0)
  );

${blockTable('upload_blocks', 'upload_id text COLLATE "C" NOT NULL REFERENCES uploads')}

  CREATE TABLE locks (
    inode bigint NOT NULL REFERENCES inodes ON DELETE CASCADE,
    owner text COLLATE "C" NOT NULL CHECK (octet_length(owner) BETWEEN 1 AND 1024),
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('shared', 'exclusive')),
    start_byte bigint NOT NULL CHECK (start_byte BETWEEN 0 AND ${MAX_SAFE_INTEGER}),
    end_byte bigint CHECK (end_byte > start_byte AND end_byte <= ${MAX_SAFE_INTEGER}),
    PRIMARY KEY (inode, start_byte, owner)
  );

  CREATE TABLE settings (
    name text COLLATE "C" PRIMARY KEY CHECK (octet_length(name) BETWEEN 1 AND 255),
    value text COLLATE "C" NOT NULL
  );

  -- What all files together have, in parts: writers that change different ones do not wait for each other.
  CREATE TABLE used_bytes (
    part integer PRIMARY KEY,
    bytes numeric NOT NULL
  );`

/** The blocks of something that the first column names. */
function blockTable(name: string, key: string): string {
  return `  CREATE TABLE ${name} (
    ${key},
    position bigint NOT NULL CHECK (position >= 0),
    payload_id text COLLATE "C" NOT NULL CHECK (octet_length(payload_id) BETWEEN 1 AND 255),
    payload_offset bigint NOT NULL CHECK (payload_offset BETWEEN 0 AND ${MAX_SAFE_INTEGER}),
    bytes bigint NOT NULL CHECK (bytes BETWEEN 0 AND ${MAX_SAFE_INTEGER}),
    PRIMARY KEY (${key.split(' ')[0]}, position)
  );
  CREATE INDEX ${name}_payload_id ON ${name} (payload_id);`
}

/** Which part of the used bytes a connection counts in. */
const USED_BYTES_PARTS = 16

const COUNTS = `
  CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    RAISE integrity_constraint_violation USING MESSAGE = format('%s of %I.%I is counted by the server, or never changes', TG_ARGV[0], TG_TABLE_SCHEMA, TG_TABLE_NAME);
  END $$;

  CREATE TRIGGER first_counts BEFORE INSERT ON inodes FOR EACH ROW
    WHEN (NEW.links <> CASE NEW.type WHEN 'directory' THEN 2 ELSE 0 END OR NEW.block_count <> 0) EXECUTE FUNCTION refuse('links or block_count');
  CREATE TRIGGER kept_counts BEFORE UPDATE OF inode, type, links, block_count ON inodes FOR EACH ROW
    WHEN (OLD.inode <> NEW.inode OR OLD.type <> NEW.type OR pg_trigger_depth() = 0 AND (OLD.links <> NEW.links OR OLD.block_count <> NEW.block_count))
    EXECUTE FUNCTION refuse('inode, type, links or block_count');
  CREATE TRIGGER first_counts BEFORE INSERT ON uploads FOR EACH ROW WHEN (NEW.block_count <> 0) EXECUTE FUNCTION refuse('block_count');
  CREATE TRIGGER kept_counts BEFORE UPDATE OF upload_id, block_count ON uploads FOR EACH ROW
    WHEN (OLD.upload_id <> NEW.upload_id OR pg_trigger_depth() = 0 AND OLD.block_count <> NEW.block_count) EXECUTE FUNCTION refuse('upload_id or block_count');
  CREATE TRIGGER kept_place BEFORE UPDATE OF inode, position ON blocks FOR EACH STATEMENT EXECUTE FUNCTION refuse('inode or position');
  CREATE TRIGGER kept_place BEFORE UPDATE OF upload_id, position ON upload_blocks FOR EACH STATEMENT EXECUTE FUNCTION refuse('upload_id or position');
  CREATE TRIGGER kept_counts BEFORE INSERT OR UPDATE OR DELETE ON used_bytes FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION refuse('bytes');

  -- An entry is a link of its inode, but that of a directory one of the directory it is in. Either must be of its type.
  CREATE FUNCTION count_links() RETURNS trigger LANGUAGE plpgsql AS $$
  DECLARE
    counted bigint;
  BEGIN
    IF TG_OP <> 'INSERT' THEN
      EXECUTE format('UPDATE %I.inodes SET links = links - 1 WHERE inode = $1', TG_TABLE_SCHEMA)
        USING CASE OLD.type WHEN 'directory' THEN OLD.parent ELSE OLD.inode END;
    END IF;
    IF TG_OP <> 'DELETE' THEN
      EXECUTE format('UPDATE %1$I.inodes SET links = links + 1 WHERE inode = $1 AND type = $2
          AND EXISTS (SELECT FROM %1$I.inodes WHERE inode = $3 AND type = ''directory'')', TG_TABLE_SCHEMA)
        USING CASE NEW.type WHEN 'directory' THEN NEW.parent ELSE NEW.inode END, NEW.type, CASE NEW.type WHEN 'directory' THEN NEW.inode ELSE NEW.parent END;
      GET DIAGNOSTICS counted = ROW_COUNT;
      IF counted = 0 THEN
        RAISE foreign_key_violation USING MESSAGE = format('entry %s in %s names no %s in a directory', quote_literal(NEW.name), NEW.parent, NEW.type);
      END IF;
    END IF;
    RETURN NULL;
  END $$;
  CREATE TRIGGER count_links AFTER INSERT OR DELETE ON entries FOR EACH ROW EXECUTE FUNCTION count_links();
  CREATE TRIGGER count_moved_links AFTER UPDATE ON entries FOR EACH ROW
    WHEN ((OLD.parent, OLD.inode, OLD.type) IS DISTINCT FROM (NEW.parent, NEW.inode, NEW.type)) EXECUTE FUNCTION count_links();

  -- Blocks are counted, and are numbered from 0 on without gaps.
  CREATE FUNCTION count_blocks() RETURNS trigger LANGUAGE plpgsql AS $$
  DECLARE
    owner_table text := TG_ARGV[0];
    key text := TG_ARGV[1];
    key_type text := TG_ARGV[2];
    owner text;
    change bigint;
    counted bigint;
    last_position bigint;
  BEGIN
    FOR owner, change IN EXECUTE format('SELECT %I, count(*) FROM changed GROUP BY 1', key) LOOP
      IF TG_OP = 'DELETE' THEN change := -change; END IF;
      EXECUTE format('UPDATE %I.%I SET block_count = block_count + $1 WHERE %I = $2::%s RETURNING block_count', TG_TABLE_SCHEMA, owner_table, key, key_type)
        INTO counted USING change, owner;
      EXECUTE format('SELECT max(position) FROM %I.%I WHERE %I = $1::%s', TG_TABLE_SCHEMA, TG_TABLE_NAME, key, key_type) INTO last_position USING owner;
      IF counted <> coalesce(last_position + 1, 0) THEN
        RAISE integrity_constraint_violation USING MESSAGE = format('blocks of %s in %I.%I would not follow each other', owner, TG_TABLE_SCHEMA, TG_TABLE_NAME);
      END IF;
    END LOOP;
    RETURN NULL;
  END $$;
  CREATE TRIGGER count_new_blocks AFTER INSERT ON blocks REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_blocks('inodes', 'inode', 'bigint');
  CREATE TRIGGER count_old_blocks AFTER DELETE ON blocks REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_blocks('inodes', 'inode', 'bigint');
  CREATE TRIGGER count_new_blocks AFTER INSERT ON upload_blocks REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_blocks('uploads', 'upload_id', 'text');
  CREATE TRIGGER count_old_blocks AFTER DELETE ON upload_blocks REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_blocks('uploads', 'upload_id', 'text');

  -- Summed up in a setting of the transaction and written once, at its end: the row of a part is locked for no longer than a commit takes.
  CREATE FUNCTION count_bytes() RETURNS trigger LANGUAGE plpgsql AS $$
  DECLARE
    setting text := 'holdfast.used_bytes_' || TG_RELID;
    change numeric := coalesce(nullif(current_setting(setting, true), ''), '0');
  BEGIN
    IF TG_OP <> 'INSERT' AND OLD.type = 'file' THEN change := change - OLD.size; END IF;
    IF TG_OP <> 'DELETE' AND NEW.type = 'file' THEN change := change + NEW.size; END IF;
    PERFORM set_config(setting, change::text, true);
    RETURN NULL;
  END $$;
  CREATE FUNCTION write_bytes() RETURNS trigger LANGUAGE plpgsql AS $$
  DECLARE
    setting text := 'holdfast.used_bytes_' || TG_RELID;
    change numeric := coalesce(nullif(current_setting(setting, true), ''), '0');
  BEGIN
    IF change <> 0 THEN
      EXECUTE format('INSERT INTO %I.used_bytes AS u VALUES ($1, $2) ON CONFLICT (part) DO UPDATE SET bytes = u.bytes + excluded.bytes', TG_TABLE_SCHEMA)
        USING pg_backend_pid() % ${USED_BYTES_PARTS}, change;
      PERFORM set_config(setting, '0', true);
    END IF;
    RETURN NULL;
  END $$;
${bytesTriggers('INSERT', "NEW.type = 'file' AND NEW.size > 0")}
${bytesTriggers('UPDATE OF size', "NEW.type = 'file' AND NEW.size <> OLD.size")}
${bytesTriggers('DELETE', "OLD.type = 'file' AND OLD.size > 0")}`

/** For rows that count, and no others. */
function bytesTriggers(event: string, counts: string): string {
  const name = event.slice(0, 6).toLowerCase()
  return `
  CREATE TRIGGER count_bytes_of_${name} AFTER ${event} ON inodes FOR EACH ROW WHEN (${counts}) EXECUTE FUNCTION count_bytes();
  CREATE CONSTRAINT TRIGGER write_bytes_of_${name} AFTER ${event} ON inodes DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (${counts}) EXECUTE FUNCTION write_bytes();`
}

const CHECKS = `
  -- An inode has an entry, or is the root of a share.
  CREATE FUNCTION check_named() RETURNS trigger LANGUAGE plpgsql AS $$
  DECLARE
    number bigint;
    is_nameless boolean;
  BEGIN
    IF TG_TABLE_NAME = 'inodes' THEN number := NEW.inode;
    ELSIF TG_TABLE_NAME = 'shares' THEN number := OLD.root;
    ELSE number := OLD.inode;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM %1$I.inodes WHERE inode = $1) AND NOT EXISTS (SELECT FROM %1$I.entries WHERE inode = $1)
        AND NOT EXISTS (SELECT FROM %1$I.shares WHERE root = $1)', TG_TABLE_SCHEMA) INTO is_nameless USING number;
    IF is_nameless THEN
      RAISE integrity_constraint_violation USING MESSAGE = format('inode %s would have no name', number);
    END IF;
    RETURN NULL;
  END $$;
  CREATE CONSTRAINT TRIGGER check_named AFTER INSERT ON inodes DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_named();
  CREATE CONSTRAINT TRIGGER check_named AFTER DELETE OR UPDATE OF inode ON entries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_named();
  CREATE CONSTRAINT TRIGGER check_named AFTER DELETE OR UPDATE OF root ON shares DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_named();

  -- A directory in an entry is not a root, and is not above itself. One without entries cannot be in a ring.
  CREATE FUNCTION check_place() RETURNS trigger LANGUAGE plpgsql AS $$
  DECLARE
    is_misplaced boolean;
  BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM %1$I.shares WHERE root = $1) OR $1 = $2 OR EXISTS (SELECT FROM %1$I.entries WHERE parent = $1) AND EXISTS (
        WITH RECURSIVE up (inode) AS (SELECT $2 UNION SELECT e.parent FROM up JOIN %1$I.entries e ON e.inode = up.inode AND e.type = ''directory'')
        SELECT FROM up WHERE inode = $1)', TG_TABLE_SCHEMA) INTO is_misplaced USING NEW.inode, NEW.parent;
    IF is_misplaced THEN
      RAISE integrity_constraint_violation USING MESSAGE = format('directory %s would be a root and in another, or within itself', NEW.inode);
    END IF;
    RETURN NULL;
  END $$;
  CREATE CONSTRAINT TRIGGER check_place AFTER INSERT OR UPDATE OF parent, inode, type ON entries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.type = 'directory') EXECUTE FUNCTION check_place();

  CREATE FUNCTION check_root() RETURNS trigger LANGUAGE plpgsql AS $$
  DECLARE
    is_root boolean;
  BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM %1$I.inodes WHERE inode = $1 AND type = ''directory'') AND NOT EXISTS (SELECT FROM %1$I.entries WHERE inode = $1)', TG_TABLE_SCHEMA)
      INTO is_root USING NEW.root;
    IF NOT is_root THEN
      RAISE integrity_constraint_violation USING MESSAGE = format('inode %s is no directory of its own, as the root of a share is', NEW.root);
    END IF;
    RETURN NULL;
  END $$;
  CREATE CONSTRAINT TRIGGER check_root AFTER INSERT OR UPDATE OF root ON shares DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_root();`

/** What says whose store it is, and which migrations it has had. No part of a snapshot. */
export const OWN_TABLES = ['holdfast_identity', 'holdfast_versions'] as const

const IDENTITY = `
  CREATE TABLE holdfast_identity (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    store_id text COLLATE "C" NOT NULL
  );`

/** The tables of a snapshot by name, and what the statements above make of each. */
const MADE: readonly (readonly [name: string, body: string])[] = [...`${TREE}${CONTENT}`.matchAll(/CREATE TABLE (\w+) \(\n([^;]*)\n  \);/g)].map(
  ([, name = '', body = '']) => [name, body],
)

/**
 * The tables of a snapshot as the statements above make them: a backup of others is refused. A migration that changes them changes this.
 */
export const DEFINITION: SchemaDefinition = {
  tables: MADE.map(([name, body]) => ({
    name,
    columns: [...body.matchAll(/^    ([a-z_]+) (\w+(?:\[\])?)/gm)].map(([, column = '', type = '']) => ({ name: column, type })),
  })),
  sequences: [...TREE.matchAll(/CREATE SEQUENCE (\w+)/g)].map(([, name = '']) => name),
}

/** How many constraints each of them has. */
export const CONSTRAINTS: readonly { readonly table: TableName; readonly count: number }[] = MADE.map(([name, body]) => ({
  table: name as TableName,
  count: [...body.matchAll(/\b(?:CHECK \(|REFERENCES\b|PRIMARY KEY\b|UNIQUE\b)/g)].length,
}))

/** The statements of the first migration. */
export const FIRST_TABLES: string = [IDENTITY, TREE, CONTENT, COUNTS, CHECKS].join('\n')
