-- Schemas, the record of migrations, and the helpers that every table uses.
--
-- Each migration begins by becoming natter_owner, so that what it makes belongs
-- to that role whoever runs it (natter_migrate, or a superuser by hand), and
-- may be run again: it brings the objects to this file's state and keeps the
-- rows. By hand, in the order of the numbers:
--
--     psql -1 -v ON_ERROR_STOP=1 -d natter -f 001_schemas.up.sql
--
-- `natterctl migrate up` afterwards runs them once more and records them.
--
-- A function that must look past row level security belongs to natter_auth (or
-- natter_search). It is made as that role; ALTER FUNCTION … OWNER TO would need
-- natter_owner to be its member:
--
--     SET ROLE natter_auth;
--     CREATE OR REPLACE FUNCTION auth.… SECURITY DEFINER
--         SET search_path = pg_catalog, pg_temp …;
--     REVOKE ALL ON FUNCTION auth.…(…) FROM PUBLIC;
--     GRANT EXECUTE ON FUNCTION auth.…(…) TO natter_app;
--     RESET ROLE;
--
-- and taken back as natter_owner, whose the schema is.
--
-- A later migration that changes rows of a table under row level security must
-- do so as natter_auth: forced row level security shows natter_owner no rows.

SET ROLE natter_owner;

-- Nobody may run a new function unless it is granted.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
SET ROLE natter_auth;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
SET ROLE natter_search;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
SET ROLE natter_owner;

CREATE SCHEMA IF NOT EXISTS natter;
COMMENT ON SCHEMA natter IS 'Natter''s housekeeping: which migrations are applied, and helpers shared by the other schemas';
GRANT USAGE ON SCHEMA natter TO natter_app, natter_jobs, natter_auth, natter_search;

CREATE SCHEMA IF NOT EXISTS auth;
COMMENT ON SCHEMA auth IS 'Who may do what: users, their sessions and refresh tokens, and the functions of login';
GRANT USAGE ON SCHEMA auth TO natter_app, natter_jobs, natter_auth, natter_search, natter_migrate;

CREATE SCHEMA IF NOT EXISTS chat;
COMMENT ON SCHEMA chat IS 'What users say and hear: conversations, messages, replies in flight, usage';
GRANT USAGE ON SCHEMA chat TO natter_app, natter_jobs, natter_auth, natter_search, natter_migrate;

-- Where those two make their functions.
GRANT CREATE ON SCHEMA auth, chat TO natter_auth;
GRANT CREATE ON SCHEMA chat TO natter_search;

CREATE TABLE IF NOT EXISTS natter.schema_migrations (
	version int NOT NULL CONSTRAINT schema_migrations_pkey PRIMARY KEY
	    CONSTRAINT schema_migrations_version CHECK (version > 0),
	name text NOT NULL,
	sha256 text NOT NULL
	    CONSTRAINT schema_migrations_sha256 CHECK (sha256 ~ '^[0-9a-f]{64}$'),
	applied_at timestamptz NOT NULL DEFAULT now(),
	duration_ms int NOT NULL DEFAULT 0,
	app_version text NOT NULL DEFAULT ''
);
COMMENT ON TABLE natter.schema_migrations IS 'One row per applied migration, written by natterctl migrate in the migration''s own transaction';
COMMENT ON COLUMN natter.schema_migrations.version IS 'The number at the front of the file''s name';
COMMENT ON COLUMN natter.schema_migrations.name IS 'The rest of the file''s name, without .up.sql';
COMMENT ON COLUMN natter.schema_migrations.sha256 IS 'SHA-256 of the up file as applied, in hex: an edited file is refused';
COMMENT ON COLUMN natter.schema_migrations.applied_at IS 'When it was applied';
COMMENT ON COLUMN natter.schema_migrations.duration_ms IS 'How long it took, in milliseconds';
COMMENT ON COLUMN natter.schema_migrations.app_version IS 'Version of the natterctl that applied it';
GRANT SELECT ON natter.schema_migrations TO natter_app;

CREATE OR REPLACE FUNCTION natter.uuid_floor(p_time timestamptz)
RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN (lpad(to_hex(least(greatest(floor(extract(epoch FROM p_time) * 1000), 0),
    281474976710655)::bigint), 12, '0') || '00000000000000000000')::uuid;
COMMENT ON FUNCTION natter.uuid_floor(timestamptz) IS 'The smallest UUID whose first 48 bits are the time''s milliseconds: every UUIDv7 made at or after p_time is greater, so that it bounds partitions and ranges of ids';
REVOKE ALL ON FUNCTION natter.uuid_floor(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION natter.uuid_floor(timestamptz)
    TO natter_app, natter_jobs, natter_auth, natter_search;

CREATE OR REPLACE FUNCTION natter.set_updated_at()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	NEW.updated_at := now();
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION natter.set_updated_at() IS 'Trigger: an update sets updated_at, unless it sets another value itself (imports keep old times; natter_app has no right to)';
REVOKE ALL ON FUNCTION natter.set_updated_at() FROM PUBLIC;

RESET ROLE;
